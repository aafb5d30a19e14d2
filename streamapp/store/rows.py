"""A partition's rows on this machine: at most behind the changelog, never ahead of it.

The store is written after a transaction has committed, in one batch with the changelog position the rows came from. It
keeps one thing more than the changelog: an index of the rows that are not settled, derived from them by a function that
the table brings along, so that a takeover reads what is open and not a fortnight of what is closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from streamapp.store.position import POSITION_KEY, StoredPosition, unpack_position

Writes = dict[bytes, bytes | None]
"""Row key → row value; None deletes the row."""

Unsettled = Callable[[bytes, bytes], bool | None]
"""Whether a row, by key and value, is not settled yet; None: no row of its kind is in the index."""

CHECKPOINT, CHANGELOG, INDEX = b"c", b"a", b"u"  # the store's own; no table may have rows of these kinds


class Store(Protocol):
    """Bytes by key, in key order, written in atomic batches."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows with `start <= key < stop`, in key order."""

    def write(self, writes: Writes, checkpoint: int) -> None:
        """Apply rows that are in the changelog below offset `checkpoint`, all or nothing."""

    def checkpoint(self) -> int:
        """The changelog offset up to which rows were applied; 0 for a new store."""

    def close(self) -> None: ...


def always_settled(key: bytes, value: bytes) -> None:
    """For a table that needs no index."""


def indexed(writes: Writes, unsettled: Unsettled, known: set[bytes]) -> Writes:
    """What the index must change along with these rows. `known` rows are in the index; it is kept up to date for the
    next writes."""
    changes: Writes = {}
    if unsettled is always_settled:
        return changes
    for key, value in writes.items():
        is_unsettled = False if value is None else unsettled(key, value)
        if is_unsettled is None or (is_unsettled and key in known):
            continue
        changes[INDEX + key] = b"" if is_unsettled else None
        if is_unsettled:
            known.add(key)
        else:
            known.discard(key)
    return changes


class Overlay:
    """A table's rows: writes that are on their way to the store, over the store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._on_the_way: list[Writes] = []

    def push(self, writes: Writes) -> None:
        """Rows of a chunk whose transaction begins now."""
        self._on_the_way.append(writes)

    def land(self, checkpoint: int) -> None:
        """The oldest chunk on its way has committed: its rows go to the store."""
        self.store.write(self._on_the_way[0], checkpoint)
        del self._on_the_way[0]

    def get(self, key: bytes) -> bytes | None:
        for writes in reversed(self._on_the_way):
            if key in writes:
                return writes[key]
        return self.store.get(key)

    def scan(self, start: bytes, stop: bytes) -> dict[bytes, bytes]:
        """Rows with `start <= key < stop`, in key order."""
        rows = dict(self.store.scan(start, stop))
        changed: Writes = {}
        for writes in self._on_the_way:
            changed.update((key, value) for key, value in writes.items() if start <= key < stop)
        for key, value in changed.items():
            rows.pop(key, None)
            if value is not None:
                rows[key] = value
        return dict(sorted(rows.items())) if changed else rows


def unsettled_rows(store: Store, kind: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The rows of a kind that the index names, in the order of their keys."""
    for key, _ in store.scan(INDEX + kind, INDEX + bytes([kind[0] + 1])):
        value = store.get(key[1:])
        assert value is not None, "the index names a row that is not there"
        yield key[1:], value


def stored_position(store: Store) -> StoredPosition | None:
    """The position row; None for a table that never applied a chunk."""
    value = store.get(POSITION_KEY)
    return None if value is None else unpack_position(value)
