"""A partition's rows on this machine: at most behind the changelog, never ahead of it.

The store is written after a transaction has committed, in one batch with the changelog position the rows came from. It
keeps one thing more than the changelog: an index of the rows that are not settled, derived from them by a function that
the table brings along, so that a takeover reads what is open and not a fortnight of what is closed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from streamapp.errors import Unavailable
from streamapp.runtime.position import POSITION_KEY, StoredPosition, unpack_position

Writes = dict[bytes, bytes | None]
"""Row key → row value; None deletes the row."""

Unsettled = Callable[[bytes, bytes], bool]
"""Whether a row, by key and value, is not settled yet. It need not look at rows whose kind is always settled."""

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


def always_settled(key: bytes, value: bytes) -> bool:
    """For a table that needs no index."""
    return False


def _indexed(writes: Writes, unsettled: Unsettled) -> Writes:
    """These rows, and what the index must change along with them."""
    if unsettled is always_settled:
        return writes
    changes: Writes = {}
    for key, value in writes.items():
        changes[INDEX + key] = b"" if value is not None and unsettled(key, value) else None
    return writes | changes


class MemoryStore:
    """The in-memory twin."""

    def __init__(self, unsettled: Unsettled) -> None:
        self.rows: dict[bytes, bytes] = {}
        self._unsettled = unsettled
        self._checkpoint = 0

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(key for key in self.rows if start <= key < stop):
            yield key, self.rows[key]

    def write(self, writes: Writes, checkpoint: int) -> None:
        for key, value in _indexed(writes, self._unsettled).items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        self._checkpoint = checkpoint

    def checkpoint(self) -> int:
        return self._checkpoint

    def close(self) -> None:
        pass


class RocksStore:
    """One RocksDB per partition. No fsync: a killed process loses nothing, a power cut is caught up from the changelog
    or, if the files are broken, rebuilt from it.

    Raises `Unavailable` when the folder cannot be opened; `wipe` starts over.
    """

    def __init__(self, path: Path, unsettled: Unsettled) -> None:
        self._unsettled = unsettled
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = Rdict(str(path), _options())
        except Exception as error:
            raise Unavailable(f"the table's folder {path} cannot be opened: {error}") from error
        self._no_sync = WriteOptions()

    @staticmethod
    def wipe(path: Path) -> None:
        """Remove a partition's folder; its rows come back from the changelog."""
        shutil.rmtree(path, ignore_errors=True)

    def belongs_to(self, changelog_id: str) -> bool:
        """Whether the rows are of this changelog, by its topic id. An empty store belongs to the first that asks."""
        known = self.get(CHANGELOG)
        if known is None and self.checkpoint() == 0:
            self._db.put(CHANGELOG, changelog_id.encode())
            return True
        return known == changelog_id.encode()

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._db.get(key)
        return value

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        options = ReadOptions()
        options.set_iterate_upper_bound(stop)
        yield from self._db.items(from_key=start, read_opt=options)

    def write(self, writes: Writes, checkpoint: int) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in _indexed(writes, self._unsettled).items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(CHECKPOINT, checkpoint.to_bytes(8, "big"))
        self._db.write(batch, self._no_sync)

    def checkpoint(self) -> int:
        value = self.get(CHECKPOINT)
        return 0 if value is None else int.from_bytes(value, "big")

    def close(self) -> None:
        self._db.close()


@lru_cache(maxsize=1)
def _cache() -> Cache:
    """Blocks of all partitions of this process."""
    return Cache(16 << 20)


def _options() -> Options:
    """Small buffers and one cache: a worker holds many partitions, and RocksDB's defaults are 192 MB and a 2 GiB cache
    for each."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(3 << 20)
    options.set_max_write_buffer_number(2)
    options.set_target_file_size_base(16 << 20)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(2)
    table = BlockBasedOptions()
    table.set_block_cache(_cache())
    table.set_bloom_filter(10, False)
    options.set_block_based_table_factory(table)
    return options


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


def unsettled_rows(store: Store) -> Iterator[tuple[bytes, bytes]]:
    """The rows that the index names, in the order of their keys."""
    for key, _ in store.scan(INDEX, INDEX + b"\xff"):
        value = store.get(key[1:])
        assert value is not None, "the index names a row that is not there"
        yield key[1:], value


def stored_position(store: Store) -> StoredPosition | None:
    """The position row; None for a table that never applied a chunk."""
    value = store.get(POSITION_KEY)
    return None if value is None else unpack_position(value)
