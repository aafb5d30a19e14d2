"""A table of rows by key and hour, declared by what a group brings along: everything else follows from it here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from operator import attrgetter
from typing import Any

from streamapp.exact.declaration import EventSource, Late, TableDeclaration
from streamapp.exact.partition.chunk import Send
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.task import Opening, Parts, TableTask
from streamapp.meters.hourly.codec import RowTable, StoredRows, unsettled
from streamapp.meters.hourly.correction import correction_of
from streamapp.meters.hourly.statements import Statements
from streamapp.meters.hourly.view import RowView
from streamapp.meters.sources import closing_as_bills
from streamapp.store.ids import remembered
from streamapp.store.rows import Writes
from tables.admission import Admission
from tables.keyed import Keyed, KeyedOutcome, Recipe
from tables.window import Rules

KeyedTask = TableTask[Keyed, KeyedOutcome]


def keyed_parts(table: RowTable, recipe: Recipe, rules: Rules, admission: Admission) -> Parts[Keyed, KeyedOutcome]:
    """A partition of rows that `recipe` makes of records that pass `admission`."""

    def memory(at: Opening) -> Keyed:
        keyed = Keyed(recipe, rules, admission, StoredRows(table, at.rows), at.position, at.seen)
        keyed.restore(unsettled(table, at.rows.store), remembered(at.rows.store))
        return keyed

    def changed(outcome: KeyedOutcome) -> Writes:
        return {table.pack_key(key): None if row is None else table.pack(row) for key, row in outcome.rows.items()}

    def stated(outcome: KeyedOutcome, place: Place) -> Iterable[tuple[Send, Writes]]:
        for one in outcome.statements:
            assert table.statements is not None, "only a table with statements states"
            yield table.statements.send(one, place), {}

    return Parts(memory, changed, stated=stated)


def rows_by_hour(
    group: str,
    name: str,
    source: EventSource,
    *,
    key: type,
    of: Callable[[int, str, Any], Any],
    row: type,
    count: Callable[[Any, Any], None],
    help: str,
    states: Statements | None = None,
    home: Callable[[Any], str] = attrgetter("team_id"),
) -> TableDeclaration:
    """A table of rows by key and hour. `key` is the type that `of` makes (`tables.keyed.Recipe.key`), `home` says which
    part of it is the record key; `count` changes a `row`. `states`: what closing a row states, if it does. Grace and
    idle are those of bills: STREAM_BILLING__GRACE_SECONDS, STREAM_BILLING__IDLE_SECONDS."""
    table, recipe = RowTable(name, key, row, home, states), Recipe(of, row, count, states is not None)
    return TableDeclaration(
        group=group,
        rows=table.table,
        source=source,
        late=Late.KEPT if states is None else Late.REVISED,
        correction=correction_of(table, recipe),
        to=() if states is None else (states.to,),
        parts=lambda made: keyed_parts(table, recipe, made.rules, made.admission()),
        window=closing_as_bills,
        idle_ms=lambda settings: int(settings.billing.idle_seconds * 1000),
        view=partial(RowView, kept=table),
        help=help,
    )
