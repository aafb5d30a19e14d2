"""`streamapp simulate` on a real broker: every topic gets its share, where murmur2 puts it, and once."""

from __future__ import annotations

import json
from typing import Any

import forked

from streamapp.broker.broker import Broker
from streamapp.clock import wall_ms
from streamapp.kafka.admin import Admin
from streamapp.kafka.log.reader import read
from streamapp.kafka.provision import apply
from streamapp.schemas.values.timestamp import format_ms
from streamapp.settings import KafkaSettings
from streamapp.simulate.topics import STREAMS
from streamapp.topics.partitioner import partition_for
from streamapp.topics.registry import TOPICS, topic

EVENTS = 2_000


def simulate(broker: Broker, *options: str) -> dict[str, Any]:
    """The summary. A process of its own, because it takes the signals."""
    done = forked.command("simulate", "--json", *options, STREAM_KAFKA__BOOTSTRAP_SERVERS=broker.bootstrap)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def test_every_topic_gets_its_share_and_goes_on_where_it_ended(ready_broker: Broker) -> None:
    apply(Admin(KafkaSettings(bootstrap_servers=ready_broker.bootstrap)), TOPICS, 1)
    end = format_ms(wall_ms())
    shape = "--events", str(EVENTS), "--end", end, "--hours", "6"
    alone = simulate(ready_broker, *shape, "--topic", "audit_log")
    assert set(alone["topics"]) == {"audit_log"}
    assert alone["acknowledged"] == alone["topics"]["audit_log"]["sent"] == EVENTS
    rest = simulate(ready_broker, *shape, "--continue")
    assert rest["topics"].get("audit_log", {"sent": 0})["sent"] <= 1, "its history is there already"
    for one in STREAMS:
        records = read({"bootstrap.servers": ready_broker.bootstrap}, one.topic)
        found = [
            (record.partition, partition_for(record.key or b"", topic(one.topic).partitions)) for record in records
        ]
        assert all(partition == home for partition, home in found)
        if one.topic != "audit_log":
            assert len(found) == rest["topics"][one.topic]["sent"] == EVENTS * one.share // 100
