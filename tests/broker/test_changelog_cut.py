"""A changelog that lost rows: a worker refuses to go on with half a table."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka import TopicPartition
from usage_log import value
from workers import CHANGELOG, Sent, cluster, refused_to_start

from streamapp.broker.broker import Broker
from streamapp.clock import wall_ms
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.topics.partitioner import partition_for

HOUR_MS = 3_600_000


def test_a_changelog_whose_start_was_cut_or_that_is_not_compacted_is_refused(
    ready_broker: Broker, tmp_path: Path
) -> None:
    hour_ms = wall_ms() // HOUR_MS * HOUR_MS
    where = partition_for(b"team_1", 8)
    with cluster(ready_broker, tmp_path) as stack:
        stack.send([Sent(b"team_1", value(f"event-{number}", hour_ms, "team_1"), where) for number in range(3)])
        worker = stack.start_ready()
        stack.drain(worker)
        worker.stop()
        end = stack.admin.end_offsets([(CHANGELOG, where)])[CHANGELOG, where]
        stack.admin.set_configs(CHANGELOG, {"cleanup.policy": "compact,delete"})  # without it Kafka deletes nothing
        client = AdminClient({"bootstrap.servers": ready_broker.bootstrap, "log_level": 0})
        for done in client.delete_records([TopicPartition(CHANGELOG, where, end)]).values():
            done.result(timeout=30)
        refused_to_start(stack.start(), f"the changelog {CHANGELOG} has cleanup.policy=compact,delete")
        stack.admin.set_configs(CHANGELOG, {"cleanup.policy": "compact"})
        stack.start_ready().stop()  # its own rows are whole
        refused_to_start(stack.start("elsewhere"), f"the changelog {CHANGELOG}-{where} begins at {end}", "were deleted")
