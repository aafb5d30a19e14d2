"""Offsets and topics changed behind the worker's back: nothing is billed twice, and what is wrong is refused."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka.admin import NewPartitions, NewTopic
from workers import CHANGELOG, GROUP, USAGE, Cluster, Sent, cluster, refused_to_start

from streamapp.broker.broker import Broker
from streamapp.clock import wall_ms
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.simulate.usage import HOUR_MS, UsageSpec, usage_stream


def usage(count: int, seed: int) -> list[Sent]:
    now_ms = wall_ms()
    spec = UsageSpec(now_ms - 6 * HOUR_MS, now_ms, count, teams=40, seed=seed)
    return [Sent(record.key, record.value) for record in usage_stream(spec)]


def reset(stack: Cluster, *how: str) -> None:
    """What an operator does with Kafka's own tool, once the group is empty."""
    stack.wait(lambda: stack.admin.group(GROUP).state == "Empty")
    stack.group_tool("--reset-offsets", "--topic", USAGE, *how, "--execute")


def test_a_group_set_back_counts_nothing_twice_and_set_ahead_is_refused(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        stack.send(usage(3000, seed=1))
        worker = stack.start()
        stack.drain(worker)
        worker.stop()
        before = stack.bills(), stack.letters()

        reset(stack, "--to-earliest")
        worker = stack.start()
        stack.drain(worker)
        assert "was put back to" in worker.said()
        assert "they are read again and skipped" in worker.said()
        worker.stop()
        assert (stack.bills(), stack.letters()) == before

        stack.send(usage(500, seed=2))
        reset(stack, "--to-latest")
        refused_to_start(stack.start(), "was set ahead", "put it back with", "--to-offset")
        reset(stack, "--to-earliest")
        worker = stack.start()
        stack.drain(worker)
        stack.verify()


def test_a_topic_that_is_not_the_one_that_was_counted_is_refused(ready_broker: Broker, tmp_path: Path) -> None:
    client = AdminClient({"bootstrap.servers": ready_broker.bootstrap, "log_level": 0})
    with cluster(ready_broker, tmp_path) as stack:
        stack.send(usage(500, seed=1))
        worker = stack.start()
        stack.drain(worker)
        worker.stop()

        client.create_partitions([NewPartitions(USAGE, 9)])[USAGE].result(30)
        refused_to_start(stack.start(), "9 partitions", "has 8", "streamapp repartition")
        client.create_partitions([NewPartitions(CHANGELOG, 9)])[CHANGELOG].result(30)
        refused_to_start(stack.start(), "9 partitions", "built with 8", "streamapp repartition")

        client.delete_topics([USAGE])[USAGE].result(30)
        stack.wait(lambda: USAGE not in stack.admin.topics())
        client.create_topics([NewTopic(USAGE, 9, 1)])[USAGE].result(30)
        refused_to_start(stack.start(), "deleted and created again", "restore the topic, or begin a new table")
