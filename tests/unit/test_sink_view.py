"""What a worker that gathers batches tells of them: lag that is as it should be, and lag that is trouble."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from memory_store import MemoryStore

from streamapp.errors import Unavailable
from streamapp.exact.consumer import ChunkConsumerThread
from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.owned import LetGo, Partition
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.poison import PoisonLimit
from streamapp.facts.worker import PartitionFacts
from streamapp.metrics import GroupMetrics
from streamapp.sinks.destination import Destination, Sealed
from streamapp.sinks.marks import BATCH_KEY, INTENT_KEY, Extent, Mark, marks, pack_mark
from streamapp.sinks.task import Bounds, SinkTask
from streamapp.sinks.view import SinkView
from streamapp.store.rows import always_settled
from streamapp.web.workers.fleet import Answer
from streamapp.web.workers.group import STUCK_MS, findings, gather, stuck
from tables.outcome import Folded, Refusal

PLACE = Place("audit-archive", "audit_log", 2, "id", 4, {"dead_letter": 1})
OLD_MS = 10_000_000


def every_one(place: Place, records: Any) -> tuple[list[Any], list[Refusal]]:
    """Every record is a row."""
    return list(records), []


KEEPS: Destination[Any] = Destination()


def record(offset: int) -> Any:
    return SimpleNamespace(offset=offset, value=b"x")


def dead(offset: int) -> Any:
    return SimpleNamespace(offset=offset, value=b"{", key=b"org", headers=(), timestamp=1_000)


def view(
    metrics: GroupMetrics, sink: Any = KEEPS, producer: Any = None, read: Any = every_one
) -> tuple[SinkView, SinkTask[Any]]:
    bounds = Bounds(records=100, size_bytes=1000, age_ms=60_000)
    limit = PoisonLimit(1.0, 100)
    task = SinkTask(PLACE, MemoryStore(always_settled), producer, None, sink, read, bounds, limit)
    partition = Partition(2, task, fetch_from=0, silent_since_ms=0, idle_ms=0, clock=lambda: 0)
    partition.high_water, partition.at_end = 10, True
    app = SimpleNamespace(
        conf=SimpleNamespace(id="audit-archive", canonical_url="http://127.0.0.1:6086"),
        slot=SimpleNamespace(instance_id="audit-archive-host-0"),
        consumer=SimpleNamespace(topic_partitions=lambda topic: 4),
        assignor=SimpleNamespace(external_topics_metadata=dict),
        needs=SimpleNamespace(missing=()),
        ownership=SimpleNamespace(topic="audit_log", partitions={2: partition}, taking=()),
    )
    return SinkView(app, metrics, lambda: 0, marks("archive")), task


def test_a_worker_is_shown_while_its_consumer_connects() -> None:
    """The web server is asked before aiokafka's consumer has a coordinator, which it makes when Kafka has answered."""
    shown, _ = view(GroupMetrics("audit-archive"))
    thread = object.__new__(ChunkConsumerThread)
    thread._consumer = SimpleNamespace(_coordinator=None)
    shown.app.consumer = thread
    worker = shown.worker()
    assert (worker.partition_count, worker.joined) == (None, False)


def facts(shown: SinkView) -> PartitionFacts:
    (only,) = shown.worker().partitions
    return only


def test_what_is_gathered_is_lag_and_not_stuck() -> None:
    metrics = GroupMetrics("audit-archive")
    shown, task = view(metrics)
    assert facts(shown).lag == 0
    task.fold([record(7), record(8), record(9)], 0)
    now = facts(shown)
    assert (now.position, now.lag, now.gathered, now.trouble) == (7, 3, 3, None)
    assert not stuck(now, OLD_MS)
    assert stuck(replace(now, gathered=0, last_record_ms=0), OLD_MS)
    said = shown.metrics().decode()
    assert 'stream_batch_records{group="audit-archive",partition="2",topic="audit_log"} 3.0' in said
    assert 'stream_sink_failing{group="audit-archive",partition="2",topic="audit_log"} 0.0' in said


def test_a_sink_that_does_not_answer_is_the_first_thing_to_be_seen() -> None:
    metrics = GroupMetrics("audit-archive")
    shown, task = view(metrics)
    task.fold([record(9)], 0)
    task.patience.trouble = "the store does not answer"
    assert facts(shown).trouble == "the store does not answer"
    assert b'stream_sink_trouble{group="audit-archive",partition="2",topic="audit_log"} 1.0' in shown.metrics()
    found = findings(gather([Answer("w", "http://w", shown.worker(), None)]), 0)
    assert [str(finding.text) for finding in found if "stands still" in finding.text] == [
        "Partition 2 stands still: the store does not answer"
    ]


def test_a_sink_that_does_not_answer_is_stuck_although_everything_is_read() -> None:
    """The offset stands, and lag is what was gathered: that is how a table that was dropped looks."""

    asked = asyncio.Event()

    class Away(Destination[Any]):
        async def write(self, place: Place, extent: Extent, sealed: Sealed) -> None:
            asked.set()
            raise Unavailable("the table is gone")

    class Answers:
        async def commit(self, transaction: Transaction) -> int:
            return 1

    shown, task = view(GroupMetrics("audit-archive"), Away(), Answers())

    async def run() -> None:
        transaction = task.fold([record(9)], 0) or task.tick(60_000)
        assert transaction is not None
        committing = asyncio.ensure_future(task.commit(transaction))
        await asked.wait()
        await asyncio.sleep(0.05)  # the commit hears the answer; it asks again in half a second
        task.fold([record(10)], 0)
        now = replace(facts(shown), caught_up_ms=OLD_MS, last_commit_ms=OLD_MS, gathered=2)
        assert now.lag <= now.gathered
        assert now.trouble_since_ms is not None
        assert not stuck(now, now.trouble_since_ms + STUCK_MS)
        assert stuck(now, now.trouble_since_ms + STUCK_MS + 1)
        task.stop_waiting()
        with pytest.raises(LetGo):
            await committing

    asyncio.run(run())


def test_what_was_kept_and_refused_is_counted() -> None:
    metrics = GroupMetrics("audit-archive")
    shown, task = view(metrics)
    shown.taken(shown.app.ownership.partitions)
    task.landed(Folded(accepted=9, refusals=[Refusal(record(3), "malformed_json", "bad")]))
    said = shown.metrics().decode()
    assert 'stream_events_accepted_total{group="audit-archive"} 9.0' in said
    assert 'stream_events_rejected_total{group="audit-archive",reason="malformed_json"} 1.0' in said


def test_a_page_says_how_many_records_were_rejected() -> None:
    """Its pages said 0, whatever happened: only tables counted."""

    class Answers:
        async def commit(self, transaction: Transaction) -> int:
            return 1

    def none_of_them(place: Place, records: Any) -> tuple[list[Any], list[Refusal]]:
        return [], [Refusal(one, "malformed_json", "bad") for one in records]

    shown, task = view(GroupMetrics("audit-archive"), producer=Answers(), read=none_of_them)
    transaction = task.fold([dead(3), dead(4)], 0) or task.tick(60_000)
    assert transaction is not None
    assert facts(shown).rejected == 0
    asyncio.run(task.commit(transaction))
    assert facts(shown).rejected == 2


def test_a_row_that_nobody_can_read_is_shown_with_its_bytes() -> None:
    shown, task = view(GroupMetrics("audit-archive"))
    task.store.write({BATCH_KEY: b"\xc1 no row", INTENT_KEY: pack_mark(Mark(Extent(3, 9, 7), b""))}, 1)
    first, second = shown.rows("archive", None, 10, None)
    assert first.key == ("unreadable", BATCH_KEY.hex())
    assert first.row["value_hex"] == b"\xc1 no row".hex()
    assert first.row["why"]
    assert second.key == ("intent",)
    assert shown.rows("archive", first.key, 10, 2) == [second]
    with pytest.raises(ValueError, match="non-hexadecimal"):
        shown.rows("archive", ("unreadable", "no hex"), 10, 2)
