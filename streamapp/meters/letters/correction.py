"""Putting the table of dead letters right: its counts become what the log says. What people were told stays told.

Windows are compared where all their dead letters lie in the range, causes where the range holds their first one, and
tallies, which are for ever, where it holds every record that there ever was. A table that is full tells causes and
tallies apart by what it held before: then they are left alone.
"""

from __future__ import annotations

from dataclasses import replace

from streamapp.exact.correction import Comparison, Kept, Range, Reach, Shadow, compare_rows
from streamapp.meters.letters import codec
from streamapp.store.rows import Store
from tables.letters.fold import LIMITS, Limits
from tables.letters.incident import CauseRow


def compare(kept: Kept, shadow: Shadow, range_: Range, limits: Limits = LIMITS) -> Comparison:
    """Causes, tallies and windows beside the shadow's."""
    counted, reach_ms = shadow.task.store, kept.reach_ms(range_)
    sides = kept.store, counted
    full = any(_count(side, b"k") >= limits.causes for side in sides)
    tallied = range_.whole and all(_count(side, b"t") < limits.tallies for side in sides)
    gone_ms = kept.position.watermark_ms - limits.cause_ms

    def reach(key: bytes) -> Reach:
        kind = key[:1]
        if kind == b"t":
            return Reach.IN if tallied else Reach.OUT
        if full:  # windows are of causes
            return Reach.OUT
        if kind == b"w":
            return Reach.IN if codec.unpack_window_key(key)[0] > reach_ms else Reach.OUT
        rows = [row for row in (_cause(side, key) for side in sides) if row is not None]
        known = len({row.first_ms for row in rows}) == 1 and all(row.last_ms > gone_ms for row in rows)
        return Reach.IN if known and all(row.first_ms > reach_ms for row in rows) else Reach.OUT

    return compare_rows(kept, counted, (b"k", b"t", b"w"), reach, _right)


def _right(key: bytes, table: bytes | None, shadow: bytes | None) -> bytes | None:
    if key[:1] != b"k" or table is None:
        return shadow
    row = codec.unpack_cause(table)
    if shadow is None:  # nobody knows of it
        return None if row.settled else codec.pack_cause(replace(row, letters=0, letters_before=0))
    must = codec.unpack_cause(shadow)
    if (row.letters, row.last_ms) == (must.letters, must.last_ms):
        return table
    before = must.letters_before if row.incidents == must.incidents else min(row.letters_before, must.letters)
    return codec.pack_cause(
        replace(row, letters=must.letters, last_ms=must.last_ms, samples=must.samples, letters_before=before)
    )


def _cause(store: Store, key: bytes) -> CauseRow | None:
    value = store.get(key)
    return None if value is None else codec.unpack_cause(value)


def _count(store: Store, kind: bytes) -> int:
    return sum(1 for _ in store.scan(kind, bytes([kind[0] + 1])))
