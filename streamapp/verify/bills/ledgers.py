"""The pairs bills=ledger and settlements=ledger: what `billing_events` says against the rows of the ledger.

The rows are made anew from the event's JSON with the check's own readers. A ledger may be ahead of what its group has
committed, never behind it: one that is, as an empty or a restored one, has lost the rows between the two.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from decimal import Decimal
from functools import partial

from streamapp.kafka.log.reader import Record, Span
from streamapp.settings import Settings
from streamapp.sinks.ledger.database import Ledger, open_ledger
from streamapp.sinks.ledger.rows import Bill, Settlement
from streamapp.verify.copies.records import Copy, Item, compare, place
from streamapp.verify.engine import Offsets, Pair, Sides
from streamapp.verify.read.event import HOUR_MS, Poison, hour_of, parse
from streamapp.verify.read.letters import LETTERS
from streamapp.verify.read.settlement import settled
from streamapp.verify.read.statement import HOURLY, REVISED, statement
from streamapp.verify.report import PairReport, Side

GROUP = "billing-ledger"
TOPIC = "billing_events"
WINDOW = 1_000  # offsets whose rows are in memory, of each partition
EVERY = 2**62
COLUMNS = [column.name for column in fields(Bill)]


class Kept:
    """The rows of a ledger (`copies.Destination`). `ledger` None: the group has kept nothing yet."""

    def __init__(self, ledger: Ledger | None, runner: asyncio.Runner) -> None:
        self._ledger, self._runner = ledger, runner

    def done(self, committed: Offsets) -> Offsets:
        if self._ledger is None:
            return {}
        has = self._runner.run(self._ledger.offsets(TOPIC))
        return {number: max(has.get(number, 0), committed.get(number, 0)) for number in {*has, *committed}}

    def rows(self, partition: int, span: Span) -> Iterator[Item]:
        if self._ledger is None:
            return
        for start in range(span.start, span.end, WINDOW):
            for row in self._runner.run(self._ledger.rows(TOPIC, partition, start, min(start + WINDOW, span.end))):
                yield _bill(row, row.event.encode())

    def elsewhere(self, missing: Sequence[Item]) -> Sequence[str | None]:
        """A bill that is in the log more than once is one row."""
        kept = {} if self._ledger is None else self._runner.run(self._ledger.kept([str(must.id) for must in missing]))
        return [_repeated(must, kept.get(str(must.id))) for must in missing]


class KeptSettlements(Kept):
    """Settlements are few: all of them are read at once."""

    def done(self, committed: Offsets) -> Offsets:
        done = super().done(committed)
        rows = [] if self._ledger is None else self._runner.run(self._ledger.settlements(limit=EVERY))
        self.all = sorted(rows, key=lambda row: row.offset)
        return done

    def rows(self, partition: int, span: Span) -> Iterator[Item]:
        return (_settlement(row) for row in self.all if row.partition == partition)

    def elsewhere(self, missing: Sequence[Item]) -> Sequence[str | None]:
        kept = {row.id: row for row in self.all}
        return [_repeated(must, kept.get(str(must.id))) for must in missing]


@contextmanager
def _open(settings: Settings, committed: Offsets, ledger: Ledger | None, kind: type[Kept] = Kept) -> Iterator[Kept]:
    """The ledger, opened to be read: by default the one of the settings. While its group has kept nothing, there may be
    none yet, and none is made. Raises as `Ledger.open` does."""
    with asyncio.Runner() as runner:
        if not any(committed.values()):
            yield kind(None, runner)
            return
        ledger = open_ledger(settings.ledger) if ledger is None else ledger
        runner.run(ledger.open(create=False))
        try:
            yield kind(ledger, runner)
        finally:
            runner.run(ledger.close())


class Newest:
    """What bills come to, hour by hour: the newest revision of each bucket. Statements may come in any order."""

    def __init__(self) -> None:
        self._newest: dict[tuple[Side, str, str | None, str, int], tuple[int, int, int, Decimal]] = {}
        self._stated: Counter[tuple[Side, int]] = Counter()  # of an hour

    def note(self, side: Side, item: Item) -> None:
        """One statement. Its text is not kept: there may be very many."""
        row: Bill = item.row
        self._stated[side, hour_of(row.period_start_ms)] += 1
        key = (side, row.org_id, row.team_id, row.currency, row.period_start_ms)
        if key not in self._newest or self._newest[key][0] < row.revision:
            self._newest[key] = (row.revision, row.requests, row.total_tokens, row.cost)

    def tell(self, report: PairReport) -> None:
        """Both sides' hours."""
        for (side, start_ms), count in self._stated.items():
            report.sums(start_ms, side).events = count
        for (side, _, _, currency, start_ms), (_, requests, tokens, cost) in self._newest.items():
            amounts: dict[str, Decimal | int] = {"requests": requests, "total_tokens": tokens, f"cost {currency}": cost}
            report.sums(start_ms, side).add(0, amounts)


def bills(newest: Newest) -> Copy:
    """How bills are compared: column by column."""
    return Copy(_must_bill, _bill_differs, strays="doubled", waits=_is_bill, note=newest.note)


def _is_bill(record: Record) -> bool:
    """Whether the ledger will keep it as a bill, by its type alone."""
    event = parse(record.value)
    return not isinstance(event, Poison) and event.get("type") in (HOURLY, REVISED)


def _must_bill(record: Record) -> Item | str:
    """The row that a record must have."""
    event = parse(record.value)
    if isinstance(event, Poison) or event.get("type") not in (HOURLY, REVISED):
        return "the record there is no bill"
    stated = statement(record, event)
    if isinstance(stated, str):  # it has a dead letter instead, unless the ledger's reader is laxer than this one
        return f"the record there {stated}"
    bucket = stated.bucket
    row = Bill(
        id=stated.id,
        kind=stated.kind,
        revision=stated.data.revision,
        supersedes=stated.data.supersedes,
        org_id=bucket.org,
        team_id=bucket.team,
        currency=bucket.currency,
        period_start_ms=bucket.start_ms,
        period_end_ms=bucket.start_ms + HOUR_MS,
        cost=stated.data.totals.cost,
        delta_cost=stated.data.delta.cost,
        requests=stated.data.totals.requests,
        total_tokens=stated.data.totals.total_tokens,
        event=(record.value or b"").decode(),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
    )
    return _bill(row, record.value)


def _bill_differs(_: Record, must: Item, kept: Item) -> Iterator[str]:
    differing = [name for name in COLUMNS if getattr(kept.row, name) != getattr(must.row, name)]
    if differing:
        said = "; ".join(f"{name} is {_short(kept, name)}, must be {_short(must, name)}" for name in differing)
        yield f"{must.id} in the ledger: {said}"


def _must_settlement(record: Record) -> Item | str:
    stated = settled(record)
    if stated is None or isinstance(stated, str):  # what cannot be read is a finding of metering=settlements
        return "the record there is no settlement"
    said = (*stated.who, stated.start_ms, stated.end_ms, stated.data.amount, stated.data.request_count)
    event = (record.value or b"").decode()
    amounts = {f"cost {stated.who.currency}": stated.data.amount}
    return place(record, (event, said), stated.end_ms, stated.id, amounts=amounts)


def _settlement_differs(_: Record, must: Item, kept: Item) -> Iterator[str]:
    for mine, other, what in zip(must.row, kept.row, ("bytes", "columns"), strict=True):
        if mine != other:
            yield f"settlement {must.id} is in the ledger with other {what}"


def _bill(row: Bill, value: bytes | None) -> Item:
    where = f"{row.topic}[{row.partition}]@{row.offset}"
    return Item(row.partition, row.offset, where, row, row.period_start_ms, row.id, value=value)


def _settlement(row: Settlement) -> Item:
    said = (row.org_id, row.agent, row.consumer, row.currency, row.period_start_ms, row.period_end_ms)
    where, amounts = f"{row.topic}[{row.partition}]@{row.offset}", {f"cost {row.currency}": row.amount}
    content = (row.event, (*said, row.amount, row.request_count))
    return Item(row.partition, row.offset, where, content, row.period_end_ms, row.id, amounts)


def _repeated(must: Item, row: Bill | Settlement | None) -> str | None:
    """Of an item without a row of its place: whether the ledger has it from another one."""
    if row is None:
        return None
    event = must.row.event if isinstance(must.row, Bill) else must.row[0]
    where = f"{row.topic}[{row.partition}]@{row.offset}"
    return "" if row.event == event else f"{must.id} is in the ledger with other bytes, from {where}"


def _short(item: Item, name: str) -> str:
    return "another text" if name == "event" else repr(getattr(item.row, name))


SETTLEMENTS = Copy(_must_settlement, _settlement_differs, waits=lambda record: settled(record) is not None)


def _judge_bills(sides: Sides) -> None:
    newest = Newest()
    compare(sides, bills(newest))
    newest.tell(sides.report)
    sides.report.compare_hours()


BILLS = Pair(
    name="bills=ledger",
    group=GROUP,
    source=TOPIC,
    topics=(LETTERS,),
    judge=_judge_bills,
    right="the ledger",
    destination=_open,
)
SETTLED = Pair(
    name="settlements=ledger",
    group=GROUP,
    source=TOPIC,
    topics=(LETTERS,),
    judge=lambda sides: compare(sides, SETTLEMENTS),
    left="the settlements",
    right="the ledger",
    destination=partial(_open, kind=KeptSettlements),
)
