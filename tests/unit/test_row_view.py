"""The newest rows of a table of rows by key and hour, as its worker chooses them for the pages."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from memory_store import MemoryStore
from test_keyed_task import TABLE, Key, Row

from streamapp.meters.hourly.view import RowView
from streamapp.store.rows import always_settled
from tables.keyed import KeyedRow
from tables.window import HOUR_MS

NAMES = [f"org-{number}" for number in range(40)]
NEWEST = 500_000 * HOUR_MS


def view(*partitions: list[Key]) -> RowView:
    """A worker that has these rows; nothing but the stores is asked of its tasks."""
    found = {}
    for number, keys in enumerate(partitions):
        store = MemoryStore(always_settled)
        store.write({TABLE.pack_key(key): TABLE.pack(KeyedRow(key, Row(3))) for key in keys}, 1)
        kept: dict[str, Any] = {"duplicates": 0, "rejected": 0, "watermark_ms": -1, "landed": print}
        found[number] = SimpleNamespace(task=SimpleNamespace(store=store, letters=False, **kept))
    app: Any = SimpleNamespace(ownership=SimpleNamespace(partitions=found))
    metrics: Any = None
    return RowView(app, metrics, lambda: NEWEST, TABLE.table, TABLE)


def order(key: Key) -> tuple[int, str]:
    return -key.start_ms, key.org_id


@pytest.mark.parametrize("limit", [1, 5, 39, 40, 41, 55, 60, 1_000])
def test_the_newest_hours_come_first_and_within_an_hour_the_first_names(limit: int) -> None:
    keys = [Key(NEWEST - ago * HOUR_MS, name) for ago in range(3) for name in NAMES[: 40 - 15 * ago]]
    keys += [Key(NEWEST - HOUR_MS, "a name that is longer than others, so that its key sorts behind them")]
    here, there = keys[::2], keys[1::2]
    found = view(here, there, []).since(NEWEST - HOUR_MS, limit)
    wanted = sorted((key for key in keys if key.start_ms >= NEWEST - HOUR_MS), key=order)[:limit]
    assert [(row.start_ms, row.names["org_id"]) for row in found] == [tuple(key) for key in wanted]
    assert {row.partition for row in found} <= {0, 1}
    assert all((Key(row.start_ms, row.names["org_id"]) in here) == (row.partition == 0) for row in found)


def test_no_rows() -> None:
    assert view().since(0, 50) == view([], []).since(0, 50) == []
    assert view([Key(NEWEST, "org")]).since(NEWEST + HOUR_MS, 50) == []
