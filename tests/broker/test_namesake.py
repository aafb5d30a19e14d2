"""Two workers with one group instance id, as on two hosts of one name: one goes on, the other says what to change."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path

from conftest import wait_until
from workers import PARTITIONS, cluster

from streamapp.broker.broker import Broker
from streamapp.exact.slot import instance_id
from streamapp.processes.child import Child

PROGRAM = """
import asyncio, logging, sys
from streamapp.exact.faust.leave import LeavingConsumer

logging.basicConfig()

async def main():
    where, topic, group, name = sys.argv[1:]
    consumer = LeavingConsumer(
        bootstrap_servers=where, group_id=group, group_instance_id=name, enable_auto_commit=False,
        heartbeat_interval_ms=200, session_timeout_ms=30_000,
    )
    await consumer.start()
    consumer.subscribe([topic])
    while not consumer.assignment():
        await asyncio.sleep(0.05)
    print("joined", flush=True)
    await consumer.getmany(timeout_ms=60_000)

asyncio.run(main())
"""
NAME = "billing-agg-host-0.0.0.0-6066"


def test_the_older_of_two_members_with_one_instance_id_ends_and_says_why(
    broker: Broker, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = make_topic(partitions=2)
    command = ["-c", PROGRAM, broker.bootstrap, topic, f"group-of-{topic}", NAME]

    def joins(name: str) -> tuple[Child, Path]:
        log = tmp_path / name
        child = Child(sys.executable, command, log)
        made.append(child)
        wait_until(lambda: child.exited.is_set() or (log.exists() and "joined" in log.read_text()), 60)
        assert not child.exited.is_set(), log.read_text()
        return child, log

    made: list[Child] = []
    try:
        older, log = joins("older.log")
        newer, _ = joins("newer.log")
        wait_until(older.exited.is_set, 30)
        said = log.read_text()
        assert older._process.returncode == 78, said
        assert f"another worker of group-of-{topic} uses the group instance id {NAME}" in said
        assert "STREAM_WEB__PORT" in said
        assert "Traceback" not in said
        assert not newer.exited.is_set()
    finally:
        for child in made:
            child.end(signal.SIGKILL, 10)


def test_workers_on_hosts_of_one_name_are_two_members(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        first = stack.start_ready("one")
        # The same port at another address, and another folder: another host, as far as the worker can tell.
        second = stack.start_ready("two", web__host="127.0.0.2")
        stack.wait(
            lambda: all(len(one.takeovers()[-1][0]) == PARTITIONS // 2 for one in (first, second)), 60, first, second
        )


def test_an_instance_id_tells_addresses_apart_and_is_one_that_kafka_takes() -> None:
    assert instance_id("g", "host", "0.0.0.0", 1) != instance_id("g", "host", "10.0.0.1", 1)
    assert instance_id("g", "hôst", "fe80::1%eth0", 6066) == "g-h-st-fe80--1-eth0-6066"
