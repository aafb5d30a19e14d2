"""Rows of a partition in memory: the twin of RocksDB, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from streamapp.meters.usage.store import is_unsettled
from streamapp.store.rows import Unsettled, Writes, always_settled, indexed


class MemoryStore:
    """A table's rows in memory, with its index. `unsettled`: as the table has it."""

    def __init__(self, unsettled: Unsettled = always_settled) -> None:
        self.rows: dict[bytes, bytes] = {}
        self._unsettled = unsettled
        self._in_index: set[bytes] = set()
        self._checkpoint = 0

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(key for key in self.rows if start <= key < stop):
            yield key, self.rows[key]

    def write(self, writes: Writes, checkpoint: int) -> None:
        for key, value in chain(writes.items(), indexed(writes, self._unsettled, self._in_index).items()):
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        self._checkpoint = checkpoint

    def checkpoint(self) -> int:
        return self._checkpoint

    def close(self) -> None:
        pass


class UsageStore(MemoryStore):
    """Those of the hourly table."""

    def __init__(self) -> None:
        super().__init__(is_unsettled)
