"""What a table should hold, by the log, beside what it holds: pure arithmetic.

A *shadow* counts the records of a range anew, with the worker's own ledger. An hour can be compared when all its
records lie in the range. Records with a dead letter stay refused: the dead letter is their way back, and counting them
here would count them twice when they are redriven.

A *family* is a team's hour in one currency, under whatever org: a directory moves usage within a family, so a family is
compared as a whole or not at all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, NamedTuple

from streamapp.lane.ids import CompactSeen
from streamapp.meters.usage import codec
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.store.position import StoredPosition
from streamapp.store.rows import Store
from tables.admission import Admission
from tables.counters import EXACT, Counters, Numbers
from tables.outcome import Position
from tables.usage.hourly import EVERY, OTHER, HourKey, MonthKey, MonthRow, UsageRow
from tables.usage.ledger import Ledger
from tables.window import HOUR_MS, Rules

Family = tuple[int, str, str]
"""Hour, team, currency."""

Lines = dict[tuple[str, str], Numbers]


class ShadowRows:
    """The shadow's rows, in memory. Months are nobody's business here: what the shadow states goes nowhere."""

    def __init__(self) -> None:
        self.hours: dict[HourKey, UsageRow] = {}

    def hour(self, key: HourKey) -> UsageRow | None:
        return self.hours.get(key)

    def month(self, key: MonthKey) -> MonthRow:
        return MonthRow()

    def hours_ending(self, after_ms: int, until_ms: int) -> Iterable[UsageRow]:
        ending = (row for key, row in self.hours.items() if after_ms < key.start_ms + HOUR_MS <= until_ms)
        return sorted(ending, key=lambda row: row.key)

    def months_ending(self, until_ms: int) -> Iterable[MonthKey]:
        return ()


class Shadow:
    """Counts records anew. `refused` are the offsets that have a dead letter; `secret` is what ids are under."""

    def __init__(self, rules: Rules, admission: Admission, refused: frozenset[int], secret: bytes) -> None:
        self.rows = ShadowRows()
        self.contradicted: dict[str, list[int]] = defaultdict(list)  # team → offsets refused now, and not then
        self.unreadable: list[tuple[int, int]] = []  # batches without a dead letter: whatever they hold may be counted
        self._refused = refused
        every = replace(rules, names_max=EVERY)  # how many lines a row has is seen when it is compared
        self._ledger = Ledger(every, admission, self.rows, Position(), CompactSeen(secret))

    def count(self, records: Sequence[Any]) -> None:
        """The next records of the log."""
        fit = [record for record in records if record.offset not in self._refused] if self._refused else records
        if not fit:
            return
        outcome = self._ledger.apply(fit)
        self.rows.hours.update(outcome.hours)
        for key, _ in outcome.expired:
            self.rows.hours.pop(key, None)
        for refusal in outcome.refusals:
            batch = refusal.record.value
            if isinstance(batch, UnreadableBatch):
                self.unreadable.append((batch.first, batch.last))
                continue
            team = (refusal.record.key or b"").decode(errors="replace")
            self.contradicted[team].append(refusal.record.offset)


class Change(NamedTuple):
    """An hour whose row is not what the log says. None: there is no such row."""

    key: HourKey
    table: UsageRow | None
    shadow: UsageRow | None

    def cost(self) -> Decimal:
        """What the hour's cost changes by: against what was stated, if anything was, else against what was counted."""
        table = self.table
        before = table.stated if table is not None and table.revision is not None else _totals(table)
        return EXACT.subtract(_totals(self.shadow).cost, before.cost)


@dataclass
class Comparison:
    """One partition's table beside its shadow. Changes are in the order of their keys."""

    partition: int
    position: StoredPosition
    hours: int = 0  # compared
    out_of_reach: int = 0  # with records before the range, or of other partitions, or that were too late
    contradicted: int = 0  # with records that were counted, and would be refused now, or can no longer be read
    changes: list[Change] = field(default_factory=list)


def compare(
    number: int, store: Store, position: StoredPosition, shadow: Shadow, start: int, rules: Rules
) -> Comparison:
    """The table's rows beside the shadow of the records from offset `start` to the table's position."""
    found = Comparison(number, position)
    counted = shadow.rows.hours
    lost = {family_of(row.key) for row in counted.values() if row.first_offset < start}
    disputed: set[Family] = set()
    table: set[HourKey] = set()
    for row in stored_hours(store):
        table.add(row.key)
        if row.lines and row.first_offset < start:
            lost.add(family_of(row.key))
        if _within(shadow.contradicted.get(row.key.team, ()), row) or _meets(shadow.unreadable, row):
            disputed.add(family_of(row.key))
    oldest_ms = max(position.watermark_ms - rules.retention_ms, position.moved_ms + 1)
    for key in sorted({*table, *counted}):
        if key.start_ms < oldest_ms or family_of(key) in lost:
            found.out_of_reach += 1
        elif family_of(key) in disputed:
            found.contradicted += 1
        else:
            found.hours += 1
            stored = _stored(store, key)
            change = Change(key, stored, _shaped(counted.get(key), stored, rules.names_max))
            if _differs(change.table, change.shadow):
                found.changes.append(change)
    return found


def stored_hours(store: Store) -> Iterator[UsageRow]:
    """Every hour of a table, in the order of time."""
    return (codec.unpack_hour(key, value) for key, value in store.scan(b"h", b"i"))


def family_of(key: HourKey) -> Family:
    """The hours that a change of directory moves usage between."""
    return key.start_ms, key.team, key.currency


def lines_of(row: UsageRow | None) -> Lines:
    """A row's lines as numbers."""
    return {} if row is None else {names: line.numbers() for names, line in row.lines.items()}


def money(comparisons: Iterable[Comparison]) -> Mapping[str, Decimal]:
    """Currency → what all changes come to, exactly."""
    sums: dict[str, Decimal] = {}
    for change in (change for found in comparisons for change in found.changes):
        currency = change.key.currency
        sums[currency] = EXACT.add(sums.get(currency, Decimal(0)), change.cost())
    return dict(sorted(sums.items()))


def _stored(store: Store, key: HourKey) -> UsageRow | None:
    raw = codec.hour_key(key)
    value = store.get(raw)
    return None if value is None else codec.unpack_hour(raw, value)


def _shaped(shadow: UsageRow | None, table: UsageRow | None, names_max: int) -> UsageRow | None:
    """The shadow with as many lines of its own as the table's row has: the limit may have been another then."""
    own = 0 if table is None else len(table.lines) - (OTHER in table.lines)
    most = own if table is not None and OTHER in table.lines else max(own, names_max)
    if shadow is None or len(shadow.lines) <= most:
        return shadow
    row = UsageRow(shadow.key)
    row.first_offset, row.last_offset = shadow.first_offset, shadow.last_offset
    for names, line in shadow.lines.items():
        row.line(*row.counted_as(names, most)).add(line.numbers())
    return row


def _differs(table: UsageRow | None, shadow: UsageRow | None) -> bool:
    """Whether the counted lines differ, or what was stated of a row that says it is settled."""
    if lines_of(table) != lines_of(shadow):
        return True
    return table is not None and table.settled and table.stated != table.totals()


def _within(offsets: Sequence[int], row: UsageRow) -> bool:
    at = bisect_left(offsets, row.first_offset)
    return at < len(offsets) and offsets[at] <= row.last_offset


def _meets(batches: Iterable[tuple[int, int]], row: UsageRow) -> bool:
    return any(first <= row.last_offset and row.first_offset <= last for first, last in batches)


def _totals(row: UsageRow | None) -> Counters:
    return Counters() if row is None else row.totals()
