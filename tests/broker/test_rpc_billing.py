"""rpc-billing on a real broker: killed in the middle while a second worker joins, every call is settled once."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from confluent_kafka import Producer
from rpc_log import value
from rpc_oracle import Expected, stated
from workers import Cluster, cluster

from streamapp.broker.broker import Broker
from streamapp.clock import wall_ms
from streamapp.settings import Settings
from streamapp.topics import registry
from streamapp.topics.partitioner import partition_for
from streamapp.verify.bills import metering_settlements
from streamapp.verify.bills.ledgers import SETTLED

GROUP = "rpc-billing"
AGENT = "streamapp.agents.rpc_billing"
TOPIC = "agent_rpc_metering"
PARTITIONS = 8
CALLS = 6_000
HOUR_MS = 3_600_000


def calls(now_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """Key and value: five hours of calls, some late, repeated, free, failed or broken; then one that closes each
    partition's hours."""
    rng = random.Random(25)
    begin_ms, before = now_ms - 6 * HOUR_MS, [(b"", b"")]
    for number in range(CALLS):
        agent = f"agent_{int(rng.paretovariate(0.7)) % 50}"
        at_ms = begin_ms + number * 5 * HOUR_MS // CALLS - (rng.random() < 0.05) * rng.randrange(2 * HOUR_MS)
        content = value(
            f"call_{number}",
            at_ms,
            agent,
            rng.choice(["org_a", "org_b"]),
            consumer=f"consumer_{rng.randrange(3)}",
            method=rng.choice(["chat.send", "memory.search", "tools.call"]),
            quantity=rng.randrange(1, 4),
            price=rng.choice(["0.02", "0.004", "0.000000000001"]),
            status=rng.choice(["success"] * 9 + ["error"]),
            free_tier=rng.random() < 0.1,
        )
        record = (agent.encode(), content[:-9] if rng.random() < 0.01 else content)
        before.append(record)
        yield record
        if rng.random() < 0.05:
            yield before[-rng.randrange(1, min(200, len(before)))]
    for partition in range(PARTITIONS):
        closing = next(f"closing_{n}" for n in range(1000) if partition_for(f"closing_{n}".encode(), 8) == partition)
        yield closing.encode(), value(closing, now_ms, closing)


@pytest.mark.long
def test_kill_9_in_the_middle_while_a_second_worker_joins(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        log = calls(wall_ms())
        begun = send(stack, islice(log, CALLS // 2))
        slow = {"worker__chunk_records": 20, "settlement__idle_seconds": 100_000}
        first = stack.start_agent(AGENT, None, "first", **slow)
        stack.wait(lambda: done(stack) > begun // 3, 60, first)
        second = stack.start_agent(AGENT, None, "second", **slow)
        stack.wait(lambda: second.takeovers(), 60, first, second)
        stack.wait(lambda: done(stack) == begun, 60, first, second)
        send(stack, islice(log, CALLS // 4))
        stack.wait(lambda: done(stack) > begun, 60, first, second)
        first.kill()
        send(stack, log)
        stack.wait(lambda: done(stack) >= sum(ends(stack).values()), 60, second)
        check(stack)
        reads_right_for_everybody(stack, tmp_path / "ledger.db")


def check(stack: Cluster) -> None:
    """Settlements and dead letters are those of one walk over the log."""
    expected = [
        Expected(partition).read(record for record in stack.read(TOPIC) if record.partition == partition)
        for partition in range(PARTITIONS)
    ]
    due = [one for partition in expected for one in partition.settled]
    events = [json.loads(record.value or b"") for record in stack.read("billing_events")]
    assert sorted(map(str, map(stated, events))) == sorted(map(str, due))
    assert len(due) > 200
    assert sum(partition.duplicates for partition in expected) > 200
    letters = [json.loads(record.value or b"")["data"] for record in stack.read("dead_letter")]
    refused = [(one.partition, offset) for one in expected for offset in one.refused]
    assert sorted((one["source_partition"], one["source_offset"]) for one in letters) == sorted(refused)
    assert {one["group"] for one in letters} == {GROUP}


def reads_right_for_everybody(stack: Cluster, database: Path) -> None:
    """The independent check, the ledger and the pages agree with the log."""
    settings = Settings(kafka=stack.kafka, ledger_url=f"sqlite:///{database}")
    report = metering_settlements.PAIR.check(settings)
    assert report.difference == 0, report.as_json()
    assert report.events > CALLS * 0.9
    keeper = stack.start_agent("streamapp.agents.billing_ledger", None, "ledger", ledger_url=settings.ledger)
    stack.wait(lambda: database.exists() and SETTLED.check(settings).waiting == 0, 60, keeper)
    kept = SETTLED.check(settings)
    assert (kept.difference, kept.events) == (0, len(stack.read("billing_events"))), kept.as_json()
    pages = f"http://127.0.0.1:{stack.web_port + registry.port_offset(GROUP)}"
    urls = [pages, f"http://127.0.0.1:{stack.web_port + registry.port_offset(GROUP) + 1}"]
    shown = next(filter(None, map(agents, urls)))
    amounts = sum(Decimal(json.loads(one.value or b"")["data"]["amount"]) for one in stack.read("billing_events"))
    assert sum(Decimal(row["settled"]) for row in shown) == amounts


def agents(pages: str) -> list[dict[str, Any]]:
    """The rows of a worker's page /agents, if it answers."""
    try:
        with urlopen(f"{pages}/agents.json?limit=500", timeout=10) as answer:
            rows: list[dict[str, Any]] = json.load(answer)["agents"]
            return rows
    except OSError:
        return []


def send(stack: Cluster, records: Iterator[tuple[bytes, bytes]]) -> int:
    """Write records in order and wait until the broker has them. Returns how many."""
    producer = Producer(
        {
            "bootstrap.servers": stack.broker.bootstrap,
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "log_level": 0,
        }
    )
    count = 0
    for key, content in records:
        producer.produce(TOPIC, content, key)
        producer.poll(0)
        count += 1
    assert producer.flush(60) == 0
    return count


def ends(stack: Cluster) -> dict[tuple[str, int], int]:
    return stack.admin.end_offsets([(TOPIC, number) for number in range(PARTITIONS)])


def done(stack: Cluster) -> int:
    return sum(offset for (topic, _), offset in stack.admin.committed(GROUP).items() if topic == TOPIC)
