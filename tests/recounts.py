"""A table in memory, recomputed as `streamapp replay --recompute` does it: what tests of corrections speak in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from memory_store import MemoryStore
from usage_log import now

from streamapp.exact.correction import Comparison, Correction, Kept, Shadow
from streamapp.exact.declaration import Making, Nobody
from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.task import Parts, TableTask
from streamapp.replay.offsets import Move
from streamapp.replay.recompute import Beginning
from streamapp.settings import Settings
from streamapp.store.rows import Store, Unsettled, always_settled, stored_position
from tables.window import Rules

WALL_MS = 1_737_331_200_000  # 2025-01-20T00:00Z


def compared(
    correction: Correction,
    task: TableTask[Any, Any],
    rules: Rules,
    log: Sequence[Any],
    start: int = 0,
    *,
    upto: int | None = None,
    refused: frozenset[int] = frozenset(),
    parts: Parts[Any, Any] | None = None,
    unsettled: Unsettled = always_settled,
    admission: Any = None,
) -> Comparison:
    """The table beside a shadow of the log from `start` on, but for the refused. `parts`: of a table whose shadow
    counts as it does; `upto`: the log has lost all records before."""
    position = stored_position(task.store)
    assert position is not None
    kept = Kept(task.place, task.store, position, rules)
    if parts is None:
        assert correction.counts is not None
        parts = correction.counts(Making(Settings(), lambda: WALL_MS, rules, admission), kept)
    place = replace(task.place, outputs={name: 1 for name in task.place.outputs if name != "dead_letter"})
    shadow = Shadow(TableTask(parts, place, MemoryStore(unsettled), Nobody(), None), refused)
    begins = Beginning(Move(0, upto or 0, None, start), rules.future_ms)
    first = max(upto or 0, start - correction.lead)
    records = [record for record in log if first <= record.offset < position.next_offset]
    for at in range(0, len(records), 7):
        begins.note(records[at : at + 7])
        now(shadow.count(records[at : at + 7]))
    return correction.compare(kept, shadow, begins.range)


def land(store: Store, transaction: Transaction) -> None:
    """What was committed is in the store."""
    store.write(transaction.writes, store.checkpoint() + len(transaction.writes))


def published(correction: Correction, found: Comparison, at_ms: int = WALL_MS) -> Transaction:
    """Put the table right in one transaction."""
    transaction = correction.correct(found.changes, found.kept, at_ms)
    land(found.kept.store, transaction)
    return transaction
