"""Where is my event, for those that are settled, copied to ClickHouse or archived: on real workers, ClickHouse's engine
and an S3 server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ingests
import pytest
import rpc_log
from archives import AGENT as ARCHIVING
from archives import audit_event, where
from confluent_kafka import TopicPartition
from ingests import Ingest
from real_s3 import S3
from test_events_found import asked, found
from test_rpc_billing import AGENT as SETTLING
from workers import Cluster, Sent, cluster

from streamapp.broker.broker import Broker
from streamapp.clock import wall_ms
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.schemas.values.ulid import event_id
from streamapp.topics.partitioner import partition_for
from streamapp.topics.registry import port_offset

HOUR_MS = 3_600_000
METERING, CAPTURED, TRAIL = "agent_rpc_metering", "events_plugin_ingestion", "audit_log"
SELLER = "agent_seller"
HOME = partition_for(SELLER.encode(), 8)
TEAM_HOME = partition_for(b"team_1", ingests.PARTITIONS)


@pytest.fixture
def engine(ready_broker: Broker, tmp_path: Path) -> Iterator[Ingest]:
    made = Ingest(ready_broker, tmp_path)
    yield made
    made.end()


@pytest.mark.long
def test_settled_captured_and_archived_events_are_found(
    ready_broker: Broker, tmp_path: Path, s3: S3, engine: Ingest
) -> None:
    settings = {
        "clickhouse__url": f"http://127.0.0.1:{engine.port}",
        "clickhouse__flush_seconds": "0.2",
        "archive__flush_seconds": "0.5",
        "settlement__idle_seconds": 100_000,
        **where(s3.settings()),
    }
    now_ms = wall_ms()
    with cluster(ready_broker, tmp_path) as stack:
        audit = sent(stack, now_ms)
        workers = [stack.start_agent(agent, None, agent, **settings) for agent in (SETTLING, ingests.AGENT, ARCHIVING)]
        ends = {topic: len(stack.read(topic)) for topic in (METERING, CAPTURED, TRAIL)}

        def done() -> bool:
            groups = ("rpc-billing", "analytics-ingest", "audit-archive")
            return all(
                sum(stack.admin.committed(group).values()) == end
                for group, end in zip(groups, ends.values(), strict=True)
            )

        stack.wait(done, 60, *workers)
        base = f"http://127.0.0.1:{stack.web_port + port_offset('rpc-billing')}"
        settled(stack, base, now_ms)
        captured(stack, base)
        archived(base, audit, s3)


def name(at_ms: int, word: str) -> str:
    return event_id(at_ms, word.encode().ljust(10, b"-"))


def sent(stack: Cluster, now_ms: int) -> str:
    """Everything that is on the log; the id of the audit event."""
    hour_ms = now_ms // HOUR_MS * HOUR_MS - 6 * HOUR_MS

    def call(word: str, at_ms: int, **more: Any) -> Sent:
        return Sent(SELLER.encode(), rpc_log.value(name(now_ms, word), at_ms, SELLER, **more))

    first = call("first", hour_ms, price="0.06")
    stack.send(
        [
            first,  # offset 0
            call("little", hour_ms, consumer="consumer_little", price="0.01"),
            first,
            call("second", hour_ms + 5_000, price="0.07"),
            call("next", hour_ms + HOUR_MS, price="0.5"),
            call("late", hour_ms + 1, price="0.25"),  # the hour is open still: its closing needs five minutes more
            call("close", hour_ms + 3 * HOUR_MS, price="9"),
            call("later", hour_ms + 2, price="0.2"),  # settled by nobody yet
        ],
        METERING,
    )
    events = [json.loads(ingests.event(number)) for number in (1, 1, 41, 0)]
    for one in events:
        one["team_id"] = "team_1"
        one["id"] = name(now_ms, "captured")
    stack.send([Sent(b"team_1", json.dumps(one).encode()) for one in events], CAPTURED)
    audit = json.loads(audit_event(7))
    audit["id"] = name(now_ms, "audit")
    stack.send([Sent(b"org_7", audit_event(number)) for number in range(3)], TRAIL)
    stack.send([Sent(b"org_7", json.dumps(audit).encode())], TRAIL)
    return str(audit["id"])


def settled(stack: Cluster, base: str, now_ms: int) -> None:
    """Each call is found with its settlement, and behind each settlement are its calls, to the last decimal."""
    stack.wait(lambda: found(base, name(now_ms, "close")) == [("counted", 6)], 30)
    assert found(base, name(now_ms, "first")) == [("settled", 0), ("duplicate", 2)]
    assert found(base, name(now_ms, "little")) == [("pending", 1)]
    assert found(base, name(now_ms, "later")) == [("pending", 7)]
    links = {}
    for word in ("first", "second", "late", "next"):
        (one, *_) = asked(base, f"/events/{name(now_ms, word)}.json")["found"]
        assert one["state"] == "settled", one
        links[word] = one["links"][0]["id"]
    assert links["first"] == links["second"] == links["late"] != links["next"]
    behind = {
        links["first"]: (["settled", "duplicate", "settled", "settled"], 3, "0.380000000000"),
        links["next"]: (["settled"], 1, "0.500000000000"),
    }
    for settlement, (states, events, cost) in behind.items():
        calls = asked(base, f"/settlements/{settlement}/calls.json")
        assert [one["state"] for one in calls["events"]] == states, calls
        assert (calls["counted"], calls["events_stated"], calls["whole"]) == (events, events, True)
        assert calls["cost"] == {"AI": cost}
    assert found(base, f"{METERING}[{HOME}]@3") == [("settled", 3)]


def captured(stack: Cluster, base: str) -> None:
    """By the uuid that the client made, from ClickHouse, also when the topic no longer has it."""
    uuid = json.loads(ingests.event(1))["data"]["uuid"]
    facts = asked(base, f"/events/{uuid}.json")
    assert [(one["state"], one["offset"]) for one in facts["found"]][-1:] == [("kept", 1)], facts
    one = facts["found"][-1]
    assert (one["details"]["event"], one["details"]["uuid"]) == ("$pageview", uuid)
    assert found(base, f"{CAPTURED}[{TEAM_HOME}]@3") == [("refused", 3)]
    tail = asked(base, f"/events.json?topic={CAPTURED}&team=team_1")
    assert [one["state"] for one in tail["events"]] == ["refused", "kept", "kept", "kept"]
    cut = AdminClient({"bootstrap.servers": stack.kafka.bootstrap_servers})
    for future in cut.delete_records([TopicPartition(CAPTURED, TEAM_HOME, 3)]).values():
        future.result(30)
    (gone, *_) = asked(base, f"/events/{uuid}.json")["found"]
    assert (gone["state"], "the topic no longer does" in gone["sentence"]) == ("kept", True), gone


def archived(base: str, audit: str, s3: S3) -> None:
    """An audit event names the object that has it, which is there."""
    for wanted in (audit, f"{TRAIL}[{partition_for(b'org_7', 4)}]@3"):
        (one,) = asked(base, f"/events/{quote(wanted, safe='')}.json")["found"]
        assert one["state"] == "kept", one
        shown = one["sentence"].partition("Its object is ")[2].rstrip(".")
        assert (s3.bucket / "trail" / shown).is_file(), one
