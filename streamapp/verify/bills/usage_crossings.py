"""The pair usage=crossings: every limit of a month that was crossed, recomputed from the raw events (docs/adr/0050).

A crossing must say what the month had come to at its event. It is *lost* when a limit that the directory has now was
reached, an event came after the directory was last changed, and no crossing of that amount is stated. A month of which
events may lie before the log is out of reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

import msgspec

from streamapp.kafka.log.reader import Record
from streamapp.verify.bills.usage_bills import BILLS_TOPIC, GROUP, USAGE_TOPIC, covered, usage_again
from streamapp.verify.engine import Pair, Sides
from streamapp.verify.intake import Taken
from streamapp.verify.read.event import EXACT, FUTURE_MS, ZERO, Poison, at, parse, time_ms, time_text
from streamapp.verify.read.letters import LETTERS
from streamapp.verify.read.statement import id_of
from streamapp.verify.read.totals import Money, money
from streamapp.verify.read.usage import Usage
from streamapp.verify.reading import Limits
from streamapp.verify.report import PairReport

TYPE = "billing.budget.crossed"


class Month(NamedTuple):
    """Whose month it is, like `2025-01`."""

    org: str
    team: str
    currency: str
    month: str

    def __str__(self) -> str:
        return f"{self.org}/{self.team} {self.currency} {self.month}"


class _Limit(msgspec.Struct):
    kind: str
    amount: Money


class _Event(msgspec.Struct):
    id: str
    partition: int
    offset: int


class _Data(msgspec.Struct):
    crossing_id: str
    team_id: str
    month: str
    period_end: str
    currency: str
    limit: _Limit
    cost: Money
    event: _Event


class _Crossed(msgspec.Struct):
    id: str
    org_id: str
    data: _Data


class Crossing(NamedTuple):
    where: str
    month: Month
    limit: _Limit
    cost: Decimal
    event: _Event


@dataclass
class _Audit:
    """What has been read."""

    sides: Sides
    limits: Limits
    crossings: dict[tuple[Month, str, Decimal], Crossing] = field(default_factory=dict)
    by_event: dict[tuple[int, int], list[Crossing]] = field(default_factory=dict)
    spent: dict[Month, Decimal] = field(default_factory=dict)
    reached: dict[tuple[Month, str, Decimal], str] = field(default_factory=dict)  # limits of now: by which event
    begun: set[int] = field(default_factory=set)  # partitions
    complete_from_ms: int = -1  # no event before the log has a later time

    def state(self, records: Iterable[Record]) -> Iterator[tuple[str, int]]:
        """Read what is stated. Returns team and partition of each bill and crossing, for `Homes`."""
        report: PairReport = self.sides.report
        for record in records:
            event = parse(record.value)
            if isinstance(event, Poison):
                continue  # found by usage=bills
            if event.get("type") != TYPE:
                yield from covered(event)
                continue
            crossing = _crossing(record, event)
            if isinstance(crossing, str):
                report.wrong.add(at(record), crossing)
                continue
            key = crossing.month, crossing.limit.kind, crossing.limit.amount
            if key in self.crossings:
                report.doubled.add(
                    crossing.where, f"{crossing.month}: the {crossing.limit.kind} limit was crossed before"
                )
            self.crossings[key] = crossing
            self.by_event.setdefault((crossing.event.partition, crossing.event.offset), []).append(crossing)
            yield crossing.month.team, crossing.event.partition

    def count(self, record: Record, taken: Taken[Usage] | None, is_read: bool) -> None:
        """One usage record, in log order."""
        if record.partition not in self.begun:
            self.begun.add(record.partition)
            if self.sides.start(USAGE_TOPIC, record.partition) > 0:
                self.complete_from_ms = max(self.complete_from_ms, record.timestamp_ms + FUTURE_MS)
        stated = self.by_event.pop((record.partition, record.offset), [])
        if taken is None or not taken.is_new:
            for one in stated:
                self.sides.report.wrong.add(one.where, f"{one.month}: its event {at(record)} does not count")
            return
        usage, report = taken.event, self.sides.report
        report.events += 1
        month = Month(taken.org, usage.team, usage.currency, time_text(usage.time_ms)[:7])
        spent = self.spent[month] = EXACT.add(self.spent.get(month, ZERO), usage.counted.cost)
        if _month_start(month.month) < self.complete_from_ms:
            report.out_of_reach += len(stated)
            return
        for one in stated:
            for sentence in _problems(one, month, spent, usage.id):
                report.wrong.add(one.where, f"{one.month}: {sentence}")
        if not is_read:
            report.waiting += 1
        elif record.timestamp_ms >= self.limits.since_ms:
            for limit in self.limits.of(usage.team):
                key = month, limit.kind, limit.amount
                if limit.currency == usage.currency and spent >= limit.amount and key not in self.crossings:
                    self.reached.setdefault(key, at(record))

    def finish(self) -> None:
        """What no event stands for, and what is not stated."""
        report = self.sides.report
        for (partition, offset), stated in self.by_event.items():
            for one in stated:
                if offset < self.sides.start(USAGE_TOPIC, partition):
                    report.out_of_reach += 1
                else:
                    report.wrong.add(one.where, f"{one.month}: there is no record {USAGE_TOPIC}[{partition}]@{offset}")
        for (month, kind, amount), where in self.reached.items():
            report.lost.add(where, f"{month}: crossed the {kind} limit of {amount:f}, which is not stated")


def _crossing(record: Record, event: dict[str, Any]) -> Crossing | str:
    """What a statement says, or in one sentence what does not hold within it."""
    try:
        read_ = msgspec.convert(event, _Crossed, dec_hook=money)
        data = read_.data
        end_ms = time_ms(data.period_end)
    except (msgspec.ValidationError, ValueError) as error:
        return f"cannot be read: {error}"
    month, limit = Month(read_.org_id, data.team_id, data.currency, data.month), data.limit
    facts = (TYPE, *month[:3], month.month, limit.kind, f"{limit.amount:.12f}")
    if record.key != month.org.encode():
        return "the record key is not the org_id"
    if read_.id != data.crossing_id or read_.id != id_of(end_ms, facts):
        return "id is not the one this statement must have"
    if time_text(end_ms - 1)[:7] != month.month:
        return "period_end is not that of its month"
    return Crossing(at(record), month, limit, data.cost, data.event)


@cache
def _month_start(month: str) -> int:
    return time_ms(f"{month}-01T00:00:00.000Z")


def _problems(one: Crossing, month: Month, spent: Decimal, event_id: str) -> Iterator[str]:
    if one.month != month:
        yield f"its event is of {month}"
    elif one.cost != spent:
        yield f"cost is {one.cost}, must be {spent}"
    if one.event.id != event_id:
        yield f"its event is {event_id}"
    if one.cost < one.limit.amount:
        yield "the limit is not reached"


def audit(sides: Sides) -> None:
    """Check crossings against usage; each is read once, in the order statements, dead letters, usage."""
    made = _Audit(sides, sides.limits())
    for record, taken, is_read in usage_again(sides, made.state(sides.records(BILLS_TOPIC))):
        made.count(record, taken, is_read)
    made.finish()


PAIR = Pair(
    name="usage=crossings",
    group=GROUP,
    source=USAGE_TOPIC,
    topics=(BILLS_TOPIC, LETTERS),
    judge=audit,
    right="crossings",
    bounded=True,
)
