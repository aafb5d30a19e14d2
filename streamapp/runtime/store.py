"""A partition's rows on this machine: at most behind the changelog, never ahead of it.

The store is written after a transaction has committed, in one batch with the changelog position the rows came from. It
keeps one thing more than the changelog: an index of the hours that are not settled, derived from the rows, so that a
takeover reads what is open and not a fortnight of closed hours.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
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
from streamapp.runtime import codec
from tables.seen import StoredIds
from tables.usage_hourly import HourKey, MonthKey, MonthRow, UsageRow
from tables.window import HOUR_MS, month_end

Writes = dict[bytes, bytes | None]
"""Row key → row value; None deletes the row."""

_CHECKPOINT = b"c"
_CHANGELOG = b"a"
_UNSETTLED = b"u"  # + hour key


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


def index(writes: Writes) -> Writes:
    """What the index of unsettled hours must change along with these rows."""
    changes: Writes = {}
    for key, value in writes.items():
        if key[:1] == b"h":
            unsettled = value is not None and not codec.is_settled(value)
            changes[_UNSETTLED + key] = b"" if unsettled else None
    return changes


class MemoryStore:
    """The in-memory twin."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self._checkpoint = 0

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(key for key in self.rows if start <= key < stop):
            yield key, self.rows[key]

    def write(self, writes: Writes, checkpoint: int) -> None:
        for key, value in (writes | index(writes)).items():
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

    def __init__(self, path: Path) -> None:
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
        known = self.get(_CHANGELOG)
        if known is None and self.checkpoint() == 0:
            self._db.put(_CHANGELOG, changelog_id.encode())
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
        for key, value in (writes | index(writes)).items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        batch.put(_CHECKPOINT, checkpoint.to_bytes(8, "big"))
        self._db.write(batch, self._no_sync)

    def checkpoint(self) -> int:
        value = self.get(_CHECKPOINT)
        return 0 if value is None else int.from_bytes(value, "big")

    def close(self) -> None:
        self._db.close()


def _options() -> Options:
    """Small buffers: a worker holds many partitions, and RocksDB's defaults are 192 MB and a 2 GiB cache for each."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(8 << 20)
    options.set_max_write_buffer_number(2)
    options.set_target_file_size_base(16 << 20)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(2)
    table = BlockBasedOptions()
    table.set_block_cache(Cache(8 << 20))
    table.set_bloom_filter(10, False)
    options.set_block_based_table_factory(table)
    return options


class Overlay:
    """The ledger's rows: writes that are on their way to the store, over the store."""

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

    def hour(self, key: HourKey) -> UsageRow | None:
        raw = codec.hour_key(key)
        value = self.get(raw)
        return None if value is None else codec.unpack_hour(raw, value)

    def month(self, key: MonthKey) -> MonthRow:
        value = self.get(codec.month_key(key))
        return MonthRow() if value is None else codec.unpack_month(value)

    def hours_ending(self, after_ms: int, until_ms: int) -> Iterable[UsageRow]:
        start, stop = after_ms - HOUR_MS + 1, until_ms - HOUR_MS + 1
        rows = self.scan(codec.hour_prefix(start), codec.hour_prefix(stop))
        return [codec.unpack_hour(key, value) for key, value in rows.items()]

    def months_ending(self, until_ms: int) -> Iterable[MonthKey]:
        months = map(codec.unpack_month_key, self.scan(b"m", b"n"))
        return [key for key in months if month_end(key.month) <= until_ms]


def unsettled(store: Store) -> Iterator[UsageRow]:
    """The hours that are open or have usage not stated yet."""
    for key, _ in store.scan(_UNSETTLED, _UNSETTLED + b"\xff"):
        value = store.get(key[1:])
        assert value is not None, "the index names a row that is not there"
        yield codec.unpack_hour(key[1:], value)


def remembered(store: Store) -> Iterator[tuple[int, StoredIds]]:
    """Every stored chunk's ids."""
    for key, value in store.scan(b"i", b"j"):
        yield codec.unpack_ids_key(key), codec.unpack_ids(value)


def stored_position(store: Store) -> codec.StoredPosition | None:
    """The position row; None for a table that never applied a chunk."""
    value = store.get(codec.POSITION_KEY)
    return None if value is None else codec.unpack_position(value)
