"""Wires a group that folds one topic into one table: everything between its functions and a running worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamapp.agents.pages import serve
from streamapp.exact.app import StreamApp
from streamapp.exact.letter import TOPIC as DEAD_LETTER
from streamapp.exact.place import Place
from streamapp.exact.poison import poison_limit
from streamapp.exact.takeover import Source, TableTakeover
from streamapp.exact.transaction import PartitionProducer
from streamapp.meters.row_table import KeyedTask, RowTable, keyed_parts
from streamapp.meters.view import TableView
from streamapp.metrics import GroupMetrics
from streamapp.schemas.judging.rejected import Rejected
from streamapp.store.position import StoredPosition
from streamapp.store.rows import Store
from streamapp.topics import registry
from tables.keyed import Recipe, Rows, never
from tables.window import Rules


def fold_into(
    app: StreamApp,
    topic: str,
    table: RowTable,
    *,
    read: Callable[[bytes | None], Any],
    count: Callable[[Rows, Any], None],
    over: Callable[[Any, int], bool] = never,
) -> None:
    """Fold `topic` into `table`, with pages, metrics and dead letters. Call once per app; the agent applies the chunks.

    `read`, `count` and `over` are those of `tables.keyed.Recipe`. The table's changelog must be in the registry.
    """
    group, settings = app.conf.id, app.settings
    recipe = Recipe(read, Rejected, count, over)
    retention_ms = registry.topic(topic).retention_ms
    assert retention_ms is not None, f"{topic} is no event topic"
    rules = Rules(retention_ms=retention_ms)
    metrics = GroupMetrics(group)
    view = TableView(app, metrics, app.clock, table.table)

    def task(place: Place, store: Store, producer: PartitionProducer, position: StoredPosition | None) -> KeyedTask:
        limit = poison_limit(settings.worker, position)
        parts = keyed_parts(table, recipe, rules)
        return KeyedTask(parts, place, store, producer, position, limit, settings.worker.ids_in_memory)

    name = table.table.name
    source = Source(group, topic, table.table, registry.changelog(group, name), (DEAD_LETTER,))
    app.own(topic, TableTakeover(source, settings, task, 0, app.clock, metrics.committed))
    app.ownership.taken = view.taken
    serve(app, view)
