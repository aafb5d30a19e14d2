"""A partition's rows in RocksDB: a copy of the changelog, and never trusted further than its checksums.

A damaged file does not show when it is opened, but when the damaged block is read: by a takeover, by a chunk that needs
an old row, by a page, or by RocksDB itself when it compacts. Whoever finds it gets `Damaged`, and the folder a mark
beside it: with the mark it is not opened again, until it is wiped and read again from the changelog.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from pathlib import Path

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
from streamapp.store.rows import CHANGELOG, CHECKPOINT, Unsettled, Writes, indexed

log = logging.getLogger(__name__)


class Damaged(Unavailable):
    """The rows in folder `path` cannot be read as they were written. Nothing is lost: the changelog has them."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"the rows in {path} are damaged and come back from the changelog: {why}")
        self.path = path


class RocksStore:
    """One RocksDB per partition. No fsync: a killed process loses nothing, a power cut is caught up from the changelog
    or, if the files are broken, rebuilt from it.

    Raises `Unavailable` when the folder cannot be opened, and `Damaged` from any call when what it has is not what was
    written; `wipe` starts over.
    """

    def __init__(self, path: Path, unsettled: Unsettled) -> None:
        self._path = path
        self._unsettled = unsettled
        self._in_index: set[bytes] = set()  # rows that this process has put there: most are written often
        if _mark(path).exists():
            raise Damaged(path, "they were found to be so before")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = Rdict(str(path), _options())
        except Exception as error:
            raise Unavailable(f"the table's folder {path} cannot be opened: {error}") from error
        self._no_sync = WriteOptions()

    @staticmethod
    def wipe(path: Path) -> None:
        """Remove a partition's folder; its rows come back from the changelog."""
        with suppress(FileNotFoundError):
            shutil.rmtree(path)
        _mark(path).unlink(missing_ok=True)  # last: what is half removed must not be opened

    def belongs_to(self, changelog_id: str) -> bool:
        """Whether the rows are of this changelog, by its topic id. An empty store belongs to the first that asks."""
        known = self.get(CHANGELOG)
        if known is None and self.checkpoint() == 0:
            self._db.put(CHANGELOG, changelog_id.encode())
            return True
        return known == changelog_id.encode()

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            self._demand_sound(error, reading=True)
            raise
        return value

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        options = ReadOptions()
        options.set_iterate_upper_bound(stop)
        at = self._db.iter(options)
        at.seek(start)
        valid, key, value, step = at.valid, at.key, at.value, at.next
        while valid():
            yield key(), value()
            step()
        try:
            at.status()  # at a damaged block it ends as if there were no more rows; only this tells
        except Exception as error:
            self._demand_sound(error, reading=True)
            raise

    def write(self, writes: Writes, checkpoint: int) -> None:
        batch = WriteBatch(raw_mode=True)
        put, delete = batch.put, batch.delete
        for key, value in chain(writes.items(), indexed(writes, self._unsettled, self._in_index).items()):
            if value is None:
                delete(key)
            else:
                put(key, value)
        batch.put(CHECKPOINT, checkpoint.to_bytes(8, "big"))
        try:
            self._db.write(batch, self._no_sync)
        except Exception as error:
            self._demand_sound(error, reading=False)
            raise

    def checkpoint(self) -> int:
        value = self.get(CHECKPOINT)
        return 0 if value is None else int.from_bytes(value, "big")

    def close(self) -> None:
        """Let the folder go. Rows that are found to be damaged only now keep nobody from closing."""
        try:
            self._db.close()
        except Exception as error:
            try:
                self._demand_sound(error, reading=False)
            except Damaged as damaged:
                log.warning("%s", damaged)
            else:
                raise

    def _demand_sound(self, error: Exception, *, reading: bool) -> None:
        """Raises `Damaged`, and marks the folder, when this is what a call has met.

        Whatever cannot be read is damaged, be it a wrong checksum or a bad sector. A write meets what a compaction has
        read before; a full disk is another matter, and wiping would not help.
        """
        text = str(error)
        if type(error) is not Exception or not (reading or text.startswith("Corruption") or "While pread" in text):
            return  # RocksDB's errors have no class of their own; others are faults of the program
        with suppress(OSError):  # no room for the mark: the next start finds the damage as this one did
            _mark(self._path).touch()
        raise Damaged(self._path, text) from error


def _mark(path: Path) -> Path:
    """The file that says that a folder is damaged."""
    return path.with_name(f"{path.name}.damaged")


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
    options.set_level_zero_file_num_compaction_trigger(8)  # buffers are small: by default each fourth one is compacted
    options.set_target_file_size_base(16 << 20)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(2)
    table = BlockBasedOptions()
    table.set_block_cache(_cache())
    table.set_bloom_filter(10, False)
    options.set_block_based_table_factory(table)
    return options
