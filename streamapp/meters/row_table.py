"""Rows of a table that is one mapping, as bytes: what stands in the changelog and, byte for byte, in RocksDB.

f  row       f + MessagePack of the key             MessagePack of the row
i  ids       i + offset (8 bytes, big endian)       as in `streamapp/store/ids.py`
p  position  p                                      StoredPosition

Keys are named tuples of strings and integers; rows are named tuples or structs that msgspec knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from streamapp.exact.correction import ALL_RECORDS, Comparison, Correction, Kept, Range, Reach, Shadow, compare_rows
from streamapp.exact.declaration import EventSource, Late, TableDeclaration
from streamapp.exact.task import Opening, Parts, TableTask
from streamapp.meters.view import TableView
from streamapp.schemas.judging.rejected import Rejected
from streamapp.store.ids import remembered
from streamapp.store.rows import Overlay, Writes
from streamapp.store.table import RowKey, Table, anywhere
from tables.keyed import Keyed, KeyedOutcome, Recipe, Rows, never
from tables.window import Rules

ROW = b"f"
_encode = msgspec.msgpack.Encoder().encode


class RowTable:
    """A table by the types of its keys and rows. `table` is what the runtime needs of it."""

    def __init__(self, name: str, key: type, row: type) -> None:
        # Nobody looks where a record's key puts it: a row may stand on several partitions, and adds up.
        self.table = Table(name, b"fip", self._readable, self._readable_key, home=anywhere)
        self._key = key
        self._decode_key: Callable[[bytes], Any] = msgspec.msgpack.Decoder(key).decode
        self._decode_row: Callable[[bytes], Any] = msgspec.msgpack.Decoder(row).decode

    def pack_key(self, key: Any) -> bytes:
        """A row's key."""
        return ROW + _encode(key)

    def unpack_key(self, key: bytes) -> Any:
        """Inverse of `pack_key`."""
        return self._decode_key(key[1:])

    def pack(self, row: Any) -> bytes:
        """A row's value."""
        return _encode(row)

    def unpack(self, value: bytes) -> Any:
        """Inverse of `pack`."""
        return self._decode_row(value)

    def compare(self, kept: Kept, shadow: Shadow, range_: Range) -> Comparison:
        """A row that is not what the log says is replaced. Rows say nothing of time: all are compared where the range
        holds every record that there ever was, and else none."""
        disputed = shadow.contradicted or shadow.unreadable
        within = Reach.DISPUTED if disputed else Reach.IN if kept.reach_ms(range_) < 0 else Reach.OUT

        def right(key: bytes, before: bytes | None, counted: bytes | None) -> bytes | None:
            if before is None or counted is None:
                return counted
            return before if self.unpack(before) == self.unpack(counted) else counted

        return compare_rows(kept, shadow.task.store, (ROW,), lambda key: within, right)

    def _readable(self, key: bytes, value: bytes) -> tuple[RowKey, Any]:
        row = self.unpack(value)
        facts = row._asdict() if hasattr(row, "_asdict") else row
        return ("row", *self.unpack_key(key)), msgspec.to_builtins(facts)

    def _readable_key(self, parts: RowKey) -> bytes:
        try:
            if parts[:1] != ("row",):
                raise msgspec.ValidationError
            return self.pack_key(msgspec.convert(parts[1:], self._key))
        except msgspec.ValidationError:
            raise ValueError(f"{parts!r} is not the key of a row") from None


class StoredRows(Mapping[Any, Any]):
    """The rows as of the last chunk, on their way to the store or there."""

    def __init__(self, table: RowTable, rows: Overlay) -> None:
        self._table = table
        self._rows = rows

    def __getitem__(self, key: Any) -> Any:
        value = self._rows.get(self._table.pack_key(key))
        if value is None:
            raise KeyError(key)
        return self._table.unpack(value)

    def __iter__(self) -> Iterator[Any]:
        return map(self._table.unpack_key, self._rows.scan(ROW, bytes([ROW[0] + 1])))

    def __len__(self) -> int:
        return sum(1 for _ in self)


KeyedTask = TableTask[Keyed, KeyedOutcome]


def keyed_parts(table: RowTable, recipe: Recipe, rules: Rules) -> Parts[Keyed, KeyedOutcome]:
    """A partition of rows by key that `recipe` makes."""

    def memory(at: Opening) -> Keyed:
        keyed = Keyed(recipe, rules, StoredRows(table, at.rows), at.position, at.seen)
        keyed.remember(remembered(at.rows.store))
        return keyed

    def changed(outcome: KeyedOutcome) -> Writes:
        return {table.pack_key(key): None if row is None else table.pack(row) for key, row in outcome.rows.items()}

    return Parts(memory, changed)


def rows_by_key(
    group: str,
    name: str,
    source: EventSource,
    *,
    key: type,
    row: type,
    read: Callable[[bytes | None], Any],
    count: Callable[[Rows, Any], None],
    help: str,
    over: Callable[[Any, int], bool] = never,
) -> TableDeclaration:
    """A table that is one mapping from `key` to `row`, changed by `count` and stated nowhere. `read`, `count` and
    `over` are those of `tables.keyed.Recipe`."""
    table, recipe = RowTable(name, key, row), Recipe(read, Rejected, count, over)
    return TableDeclaration(
        group=group,
        rows=table.table,
        source=source,
        late=Late.KEPT,
        correction=Correction("rows", table.compare, lead=ALL_RECORDS),
        parts=lambda made: keyed_parts(table, recipe, made.rules),
        view=TableView,
        help=help,
    )
