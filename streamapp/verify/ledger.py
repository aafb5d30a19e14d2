"""The pair bills=ledger: every statement on `billing_events` against its row in the ledger, column by column.

The rows are recomputed from the event's JSON with the check's own reading. Both sides are cut at one offset of each
partition, the higher one of what the ledger says it has and what its group has committed: the rows below it were there
before anything was read, so the check is exact while bills flow. What lies behind it is waiting. A ledger that is
behind its group, as an empty or a restored one is, has lost what lies between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields

from streamapp.kafka.log.reader import Record, Span
from streamapp.settings import Settings
from streamapp.sinks.ledger.database import Ledger, open_ledger
from streamapp.sinks.ledger.rows import Bill
from streamapp.verify.ledger_row import expected, is_bill
from streamapp.verify.ledger_sums import Newest
from streamapp.verify.pair import PairReport
from streamapp.verify.reading import Cluster, LogReader

NAME = "bills=ledger"
GROUP = "billing-ledger"
TOPIC = "billing_events"
WINDOW = 1_000  # offsets whose rows are in memory, of each partition
COLUMNS = [column.name for column in fields(Bill)]


@dataclass
class _Rows:
    """The ledger's rows of one partition below `end`, window by window, as the log goes by."""

    ledger: Ledger | None
    partition: int
    fetched_to: int
    end: int
    waiting: deque[Bill] = field(default_factory=deque)

    async def upto(self, offset: int) -> list[Bill]:
        """The next rows, as far as that offset."""
        while self.ledger is not None and self.fetched_to <= offset and self.fetched_to < self.end:
            start, self.fetched_to = self.fetched_to, min(self.fetched_to + WINDOW, self.end)
            self.waiting.extend(await self.ledger.rows(TOPIC, self.partition, start, self.fetched_to))
        found = []
        while self.waiting and self.waiting[0].offset <= offset:
            found.append(self.waiting.popleft())
        return found


class Comparison:
    """Both sides, statement by statement. `ledger` None: the group has kept nothing yet."""

    def __init__(self, ledger: Ledger | None, spans: Mapping[int, Span], done: Mapping[int, int]) -> None:
        self.report = PairReport(NAME, TOPIC, "the ledger")
        self._ledger, self._done = ledger, done
        self._rows = {
            number: _Rows(ledger, number, span.start, min(span.end, done.get(number, 0)))
            for number, span in spans.items()
        }
        self._missing: dict[str, Bill] = {}  # id → the row it must have
        self._left, self._right = Newest(), Newest()

    async def compare(self, records: Iterator[Record]) -> PairReport:
        """Read the log to its end; in offset order within a partition."""
        for record in records:
            if record.offset >= self._done.get(record.partition, 0):
                self.report.waiting += is_bill(record)
                self.report.events += is_bill(record)
            else:
                await self._judge(record)
            if len(self._missing) >= WINDOW:
                await self._ask_for_missing()
        await self._ask_for_missing()
        for rows in self._rows.values():
            self._strays(await rows.upto(rows.end))
        self.report.hours = self._left.beside(self._right)
        self.report.compare_hours()
        return self.report

    async def _judge(self, record: Record) -> None:
        rows = await self._rows[record.partition].upto(record.offset)
        here = [row for row in rows if row.offset == record.offset]
        self._strays(row for row in rows if row.offset < record.offset)
        must = expected(record)
        if must is None:  # refused: it has a letter instead, unless the ledger's own reading is laxer than this one
            self._strays(row for row in here if row.event.encode() != record.value)
            return
        mine = next((row for row in here if row.id == must.id), None)
        self._strays(row for row in here if row is not mine)
        if mine is None:
            self._missing[must.id] = must
            return
        self.report.events += 1
        self._left.add(must)
        self._right.add(mine)
        self._differences(must, mine)

    def _differences(self, must: Bill, row: Bill) -> None:
        differing = [name for name in COLUMNS if getattr(row, name) != getattr(must, name)]
        if differing:
            said = "; ".join(f"{name} is {_short(row, name)}, must be {_short(must, name)}" for name in differing)
            self.report.wrong.add(_at(must), f"{must.id} in the ledger: {said}")

    def _strays(self, rows: Iterator[Bill] | list[Bill]) -> None:
        for row in rows:
            self.report.doubled.add(_at(row), f"the ledger has {row.id} from here; the log has not")

    async def _ask_for_missing(self) -> None:
        """Statements without a row of their place: repeats of one that was kept before, or lost."""
        kept = await self._ledger.kept([*self._missing]) if self._ledger is not None and self._missing else {}
        for must in self._missing.values():
            row = kept.get(must.id)
            if row is None:
                self.report.events += 1
                self._left.add(must)
                self.report.lost.add(_at(must), f"{must.id} is not in the ledger")
            elif row.event != must.event:
                self.report.wrong.add(_at(must), f"{must.id} is in the ledger with other bytes, from {_at(row)}")
        self._missing.clear()


def check(settings: Settings, cluster: Cluster | None = None, ledger: Ledger | None = None) -> PairReport:
    """The pair. `ledger`: by default the one of the settings. Raises `Unavailable` when Kafka or the database does not
    answer, `Misconfigured` for a missing topic or a ledger that is not there."""
    return asyncio.run(_check(settings, cluster, ledger))


async def _check(settings: Settings, cluster: Cluster | None, ledger: Ledger | None) -> PairReport:
    logs = LogReader(settings.kafka, TOPIC, cluster=cluster)
    committed = logs.committed(GROUP, TOPIC)
    async with to_read(settings, committed, ledger) as kept:
        done = {} if kept is None else behind(await kept.offsets(TOPIC), committed)
        refused = logs.refused(GROUP, TOPIC)
        spans = logs.spans(TOPIC)
        return await Comparison(kept, spans, done).compare(logs.records(TOPIC, spans, refused=refused))


@asynccontextmanager
async def to_read(
    settings: Settings, committed: Mapping[int, int], ledger: Ledger | None = None
) -> AsyncIterator[Ledger | None]:
    """The ledger, opened for a check, which makes none: by default the one of the settings. None while its group has
    kept nothing: there may be no ledger yet. Raises as `Ledger.open` does."""
    if not any(committed.values()):
        yield None
        return
    ledger = open_ledger(settings.ledger) if ledger is None else ledger
    await ledger.open(create=False)
    try:
        yield ledger
    finally:
        await ledger.close()


def behind(has: Mapping[int, int], committed: Mapping[int, int]) -> dict[int, int]:
    """partition → the offset below which every row must be there. The ledger may be ahead of what its group has
    committed, never behind it: one that is, as an empty or a restored one, has lost what lies between."""
    return {number: max(has.get(number, 0), committed.get(number, 0)) for number in {*has, *committed}}


def _at(row: Bill) -> str:
    return f"{row.topic}[{row.partition}]@{row.offset}"


def _short(row: Bill, name: str) -> str:
    return "another text" if name == "event" else repr(getattr(row, name))
