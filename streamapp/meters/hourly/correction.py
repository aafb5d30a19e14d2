"""Putting rows by key and hour right: what was stated wrongly is stated again, as the next revision (decision 14).

A family is the rows of one hour whose keys differ in `org_id` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

from streamapp.exact.correction import Comparison, Correction, Hours, Kept, Money, Range, Shadow, compare_hours
from streamapp.exact.partition.chunk import Send, Transaction
from streamapp.meters.hourly.codec import RowTable
from streamapp.store.rows import Writes
from tables.keyed import KeyedRow, KeyedStatement, Recipe
from tables.window import HOUR_MS


class RowChange(NamedTuple):
    """A row that is not what the log says. None: there is no such row. What its numbers are is the group's own: `money`
    is not known."""

    key: Any
    table: KeyedRow | None
    shadow: KeyedRow | None
    money: Money | None = None


@dataclass(frozen=True)
class RowCorrection:
    """The correction of one table."""

    table: RowTable
    recipe: Recipe

    def compare(self, kept: Kept, shadow: Shadow, range_: Range) -> Comparison:
        """The table's rows beside the shadow's."""
        table = self.table
        hours = Hours(
            rows=table.rows,
            get=table.get,
            family=lambda key: (key.start_ms, *key[2:]),
            home=table.home,
            change=self._change,
        )
        return compare_hours(hours, kept, shadow, range_)

    def correct(self, changes: Sequence[RowChange], kept: Kept, at_ms: int) -> Transaction:
        """The rows that are right, and a revision of each that was stated otherwise."""
        writes: Writes = {}
        sends: list[Send] = []
        for change in changes:
            row, raw = self._right(change), self.table.pack_key(change.key)
            if row.revision is None and not row.events:  # never stated, and nothing to state: the row was a mistake
                writes[raw] = None
                continue
            closes_ms = change.key.start_ms + HOUR_MS + kept.rules.grace_ms
            if row.revision is not None or closes_ms <= kept.position.watermark_ms:
                sends += self._settled(row, kept, at_ms)
            if change.shadow is None:  # the coverage says what was taken back; what comes later begins anew
                row.first_offset = row.last_offset = -1
            writes[raw] = self.table.pack(row)
        return Transaction(writes, sends, None)

    def _change(self, kept: Kept, key: Any, table: KeyedRow | None, shadow: KeyedRow | None) -> RowChange | None:
        has, must = self._counts(table), self._counts(shadow)
        wrong = self.recipe.states and table is not None and table.settled and table.before != table.row
        return RowChange(key, table, shadow) if wrong or has != must else None

    def _counts(self, row: KeyedRow | None) -> tuple[Any, int]:
        return (self.recipe.row(), 0) if row is None else (row.row, row.events)

    def _right(self, change: RowChange) -> KeyedRow:
        """What was counted by the log, with what was stated by the table."""
        counted, table = change.shadow or change.table, change.table
        assert counted is not None, "a change has a row on one side"
        row, events = self._counts(change.shadow)
        right = KeyedRow(change.key, row, events, counted.first_offset, counted.last_offset)
        if table is not None:
            right.revision, right.before = table.revision, table.before
        return right

    def _settled(self, row: KeyedRow, kept: Kept, at_ms: int) -> list[Send]:
        """State what the newest revision does not say."""
        row.stated_events = row.events
        if row.revision is not None and self.recipe.states and row.before == row.row:
            return []
        row.revision = 0 if row.revision is None else row.revision + 1
        if self.table.statements is None:
            return []
        before, row.before = row.before, deepcopy(row.row)
        counted = row.events, row.first_offset, row.last_offset
        stated = KeyedStatement(row.key, row.revision, at_ms, row.before, before, *counted)
        return [self.table.statements.send(stated, kept.place)]


def correction_of(table: RowTable, recipe: Recipe) -> Correction:
    """How a table of rows by key and hour is put right."""
    its = RowCorrection(table, recipe)
    return Correction("rows", its.compare, its.correct)
