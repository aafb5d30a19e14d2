"""Putting hours of usage right: what was stated wrongly is stated again, as the next revision (decisions 10 and 14).

A family is a team's hour in one currency, under whatever org.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from streamapp.exact.correction import Comparison, Hours, Kept, Money, Range, Shadow, compare_hours
from streamapp.exact.declaration import Making
from streamapp.exact.partition.chunk import Send, Transaction
from streamapp.exact.partition.task import Parts
from streamapp.meters.usage import codec, statement
from streamapp.meters.usage.parts import BILLS, usage_parts
from streamapp.meters.usage.store import Overlay
from streamapp.store.rows import Store, Writes
from tables.counters import EXACT, Counters, Numbers
from tables.outcome import Outcome
from tables.usage.hourly import OTHER, HourKey, UsageRow, month_key, state
from tables.usage.ledger import Ledger
from tables.window import EVERY, HOUR_MS

Lines = dict[tuple[str, str], Numbers]


class HourChange(NamedTuple):
    """An hour whose row is not what the log says. None: there is no such row."""

    key: HourKey
    table: UsageRow | None
    shadow: UsageRow | None

    @property
    def money(self) -> Money:
        """What the hour's cost changes by: against what was stated, if anything was, else against what was counted."""
        table = self.table
        before = table.stated if table is not None and table.revision is not None else _totals(table)
        return self.key.currency, EXACT.subtract(_totals(self.shadow).cost, before.cost)


def counts(made: Making, kept: Kept) -> Parts[Ledger, Outcome]:
    """How many lines a row has is seen when it is compared."""
    return usage_parts(replace(made.rules, names_max=EVERY), made.admission())


def compare(kept: Kept, shadow: Shadow, range_: Range) -> Comparison:
    """The table's hours beside the shadow's."""
    return compare_hours(HOURS, kept, shadow, range_)


def _change(kept: Kept, key: HourKey, table: UsageRow | None, shadow: UsageRow | None) -> HourChange | None:
    shaped = _shaped(shadow, table, kept.rules.names_max)
    return HourChange(key, table, shaped) if _differs(table, shaped) else None


def correct(changes: Sequence[HourChange], kept: Kept, at_ms: int) -> Transaction:
    """The rows that are right, and a revision of each that was stated otherwise."""
    writes: Writes = {}
    sends: list[Send] = []
    for change in changes:
        row = _corrected_row(change)
        closes_ms = change.key.start_ms + HOUR_MS + kept.rules.grace_ms
        closed = row.revision is not None or closes_ms <= kept.position.watermark_ms
        if row.revision is None and not row.lines:  # never stated, and nothing to state: the row was a mistake
            writes[codec.hour_key(change.key)] = None
            continue
        if closed and not _stated_already(row, kept.store):
            sent, more = _revised(row, change, kept, writes, at_ms)
            sends.append(sent)
            writes |= more
        writes[codec.hour_key(change.key)] = codec.pack_hour(row)
    return Transaction(writes, sends, None)


def stored_hours(store: Store) -> Iterator[UsageRow]:
    """Every hour of a table, in the order of time."""
    return (codec.unpack_hour(key, value) for key, value in store.scan(b"h", b"i"))


def _revised(row: UsageRow, change: HourChange, kept: Kept, before: Writes, at_ms: int) -> tuple[Send, Writes]:
    """State the row's next revision, and add it to the month."""
    month = month_key(row.key)
    raw = codec.month_key(month)
    now = before.get(raw)
    month_row = Overlay(kept.store).month(month) if now is None else codec.unpack_month(now)
    stated, month_row = state(row, month_row, at_ms)
    sent, writes = statement.send(stated, kept.place, BILLS)
    writes[raw] = codec.pack_month(month_row)
    if change.shadow is None:  # the coverage says what was taken back; what comes later begins anew
        row.first_offset = row.last_offset = -1
    return sent, writes


def _corrected_row(change: HourChange) -> UsageRow:
    """What was counted by the log, with what was stated by the table."""
    row = UsageRow(change.key)
    counted = change.shadow or change.table
    assert counted is not None
    row.first_offset, row.last_offset = counted.first_offset, counted.last_offset
    if change.table is not None:
        row.revision, row.stated = change.table.revision, change.table.stated
    if change.shadow is not None:
        for names, line in change.shadow.lines.items():
            row.line(*names).add(line.numbers())
    return row


def _stated_already(row: UsageRow, store: Store) -> bool:
    """Whether the newest statement says what the row says: then only the row was wrong."""
    if row.revision is None or row.stated != row.totals():
        return False
    bill = store.get(codec.bill_key(statement.bill_id(row.key, row.revision)))
    if bill is None:
        return False
    return statement.has_lines(bill, tuple((*names, line) for names, line in row.lines.items()))


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
    if _lines_of(table) != _lines_of(shadow):
        return True
    return table is not None and table.settled and table.stated != table.totals()


def _lines_of(row: UsageRow | None) -> Lines:
    return {} if row is None else {names: line.numbers() for names, line in row.lines.items()}


def _totals(row: UsageRow | None) -> Counters:
    return Counters() if row is None else row.totals()


HOURS = Hours(
    rows=stored_hours,
    get=_stored,
    family=lambda key: (key.start_ms, key.team, key.currency),
    home=lambda key: key.team,
    change=_change,
)
