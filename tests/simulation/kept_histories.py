"""Histories worth keeping: what Hypothesis shrank, and those that people think of first.

`PLANTED` names the bug that a history was found with; it must go on finding it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from arrivals import HOMES, ON_MARK
from fake_kafka import Entry
from group import FatedProducer, Group

from streamapp.exact.partition.chunk import Transaction
from streamapp.meters.usage.parts import UsageTask
from tables.window import DAY_MS, HOUR_MS

History = list[tuple[str, dict[str, Any]]]


class StoredBeforeTheCommit(Group):
    """Rows go to the disk first, and to Kafka then."""

    class task_class(UsageTask):
        async def commit(self, transaction: Transaction) -> None:
            self.store.write(transaction.writes, self.store.checkpoint())
            await super().commit(transaction)


class OffsetOutsideTheTransaction(Group):
    """The group's offset is committed by itself, when the records are folded."""

    class task_class(UsageTask):
        def fold(self, records: Sequence[Any], now_ms: int) -> Transaction:
            assert isinstance(self.producer, FatedProducer)
            self.producer.group.kafka.offsets[self.place.partition] = records[-1].offset + 1
            return super().fold(records, now_ms)


class DedupOff(Group):
    """No id is ever seen twice."""

    class task_class(UsageTask):
        def fold(self, records: Sequence[Any], now_ms: int) -> Transaction:
            def other(record: Any) -> Any:
                new_id = b'"id":"%d-' % record.offset
                return replace(record, value=(record.value or b"").replace(b'"id":"', new_id))

            return super().fold([other(record) for record in records], now_ms)


class NoFence(Group):
    """A frozen owner writes on when it wakes up."""

    fencing = False


class RestoredShortOfTheEnd(Group):
    """A takeover stops before the changelog's last record."""

    def to_restore(self, entries: list[tuple[int, Entry]]) -> list[tuple[int, Entry]]:
        return entries[:-1]


HISTORIES: dict[str, History] = {
    "dies after the rows were sent": [
        ("odd", {"team": 2, "kind": "future"}),
        ("work", {"partition": 0, "records": 1, "fate": "dies half-way"}),
        ("work", {"partition": 0}),
        ("work", {"partition": 1}),
    ],
    "a chunk is folded and forgotten": [
        ("produce", {"team": 0}),
        ("produce", {"team": 1}),
        ("work", {"partition": 0, "ahead": True}),
        ("work", {"partition": 1, "ahead": True}),
        ("restart", {}),
        ("work", {"partition": 0}),
        ("work", {"partition": 1}),
    ],
    "twice in a chunk": [
        ("produce", {"team": 0}),
        ("again", {"which": 0}),
        ("work", {"partition": 0}),
        ("work", {"partition": 1}),
    ],
    "a frozen owner wakes up": [
        ("produce", {"team": 0, "ago_ms": [3 * HOUR_MS]}),
        ("work", {"partition": HOMES["team_a"]}),
        ("sleep", {"ms": HOUR_MS}),
        ("move", {"partition": HOMES["team_a"], "frozen": True}),
        ("produce", {"team": 0}),
        ("thaw", {"which": 0}),
        ("work", {"partition": HOMES["team_a"]}),
    ],
    "the disk is lost": [
        ("odd", {"team": 0, "kind": "future"}),
        ("work", {"partition": 0}),
        ("work", {"partition": 1}),
        ("wipe", {"process": 0}),
        ("work", {"partition": 0}),
        ("work", {"partition": 1}),
    ],
    "an idle close that nobody heard of, then late usage and a move": [
        ("produce", {"team": 0, "ago_ms": [HOUR_MS, 2 * HOUR_MS]}),
        ("work", {"partition": HOMES["team_a"]}),
        ("sleep", {"ms": 2 * HOUR_MS}),
        ("tick", {"partition": HOMES["team_a"], "fate": "commits unheard"}),
        ("produce", {"team": 0, "ago_ms": [4 * HOUR_MS]}),
        ("move", {"partition": HOMES["team_a"]}),
        ("work", {"partition": HOMES["team_a"], "fate": "dies half-way"}),
        ("tick", {"partition": HOMES["team_a"], "skew_ms": -2 * HOUR_MS}),
    ],
    "a clock two hours ahead closes the present hour, which goes on": [
        ("produce", {"team": 0, "ago_ms": [0]}),
        ("tick", {"partition": HOMES["team_a"], "skew_ms": 2 * HOUR_MS}),
        ("work", {"partition": HOMES["team_a"]}),
        ("tick", {"partition": HOMES["team_a"], "skew_ms": 2 * HOUR_MS}),
        ("produce", {"team": 0, "ago_ms": [0, 1, ON_MARK]}),
        ("work", {"partition": HOMES["team_a"]}),
        ("tick", {"partition": HOMES["team_a"]}),
    ],
    "set back to the beginning, with a repetition hours later and other bytes": [
        ("produce", {"team": 0, "ago_ms": [0, 1, 2]}),
        ("work", {"partition": HOMES["team_a"], "records": 2}),
        ("sleep", {"ms": 5 * HOUR_MS}),
        ("produce", {"team": 0}),
        ("work", {"partition": HOMES["team_a"]}),
        ("again", {"which": 3}),
        ("again", {"which": 2, "conflicting": True}),
        ("wipe", {"process": 0}),
        ("reset", {"partition": HOMES["team_a"], "back": 20}),
        ("work", {"partition": HOMES["team_a"], "records": 3}),
        ("work", {"partition": HOMES["team_a"]}),
    ],
    "a month and all its hours expire while a disk sleeps": [
        ("produce", {"team": 0, "ago_ms": [HOUR_MS]}),
        ("work", {"partition": HOMES["team_a"]}),
        ("move", {"partition": HOMES["team_a"]}),
        ("sleep", {"ms": 15 * DAY_MS}),
        ("sleep", {"ms": 15 * DAY_MS}),
        ("produce", {"team": 0}),
        ("work", {"partition": HOMES["team_a"]}),
        ("odd", {"team": 0, "kind": "too old"}),
        ("move", {"partition": HOMES["team_a"]}),
        ("work", {"partition": HOMES["team_a"]}),
    ],
    "everybody's commits are under way when the broker dies": [
        ("produce", {"team": 0, "ago_ms": [0, HOUR_MS]}),
        ("produce", {"team": 1, "ago_ms": [0, HOUR_MS]}),
        ("work", {"partition": 0, "ahead": True}),
        ("work", {"partition": 1, "ahead": True}),
        ("bounce", {"fate": "commits unheard"}),
        ("poisoned", {"team": 0, "why": "malformed_json"}),
        ("again", {"which": 0}),
        ("work", {"partition": 0}),
        ("work", {"partition": 1}),
    ],
}
PLANTED: dict[str, type[Group]] = {
    "dies after the rows were sent": StoredBeforeTheCommit,
    "a chunk is folded and forgotten": OffsetOutsideTheTransaction,
    "twice in a chunk": DedupOff,
    "a frozen owner wakes up": NoFence,
    "the disk is lost": RestoredShortOfTheEnd,
}
