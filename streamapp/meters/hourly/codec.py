"""Rows by key and hour as bytes: what stands in the changelog and, byte for byte, in RocksDB.

f  row       f + MessagePack of the key             1 when all is stated, else 0; then MessagePack of `_Stored`
i  ids       i + offset (8 bytes, big endian)       as in `streamapp/store/ids.py`
p  position  p                                      StoredPosition

A key is a named tuple of strings and integers that begins with `start_ms` and `org_id`; rows sort by their hour. A row
is a dataclass: a field that is added later needs a default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from streamapp.facts.worker import RowFacts
from streamapp.meters.hourly.statements import Statements
from streamapp.store.rows import Overlay, Store, unsettled_rows
from streamapp.store.table import RowKey, Table
from tables.keyed import KeyedRow
from tables.window import HOUR_MS

ROW, ROWS_END = b"f", b"g"
SETTLED, UNSETTLED = b"\1", b"\0"
_encode = msgspec.msgpack.Encoder().encode


def is_unsettled(key: bytes, value: bytes) -> bool | None:
    """Whether a row is of an open hour, or waits for a revision."""
    return value[:1] == UNSETTLED if key[:1] == ROW else None


class RowTable:
    """A table by the types of its keys and rows. `table` is what the runtime needs of it. `home`: key → the record key
    that its row belongs to."""

    def __init__(
        self, name: str, key: Any, row: Any, home: Callable[[Any], str], statements: Statements | None = None
    ) -> None:
        self.table = Table(name, b"fip", self._readable, self._readable_key, is_unsettled, home=self._home)
        self.home = home
        self.statements = statements
        fields = [("row", row), *((name, int) for name in ("events", "first_offset", "last_offset"))]
        more: list[Any] = [("revision", int | None), ("stated_events", int), ("before", row | None)]
        self._stored: Any = msgspec.defstruct("_Stored", [*fields, *more], array_like=True)
        self._key = key
        self._decode_key: Callable[[bytes], Any] = msgspec.msgpack.Decoder(key).decode
        self._decode_row: Callable[[bytes], Any] = msgspec.msgpack.Decoder(self._stored).decode
        self._parts = len(self._key._fields)

    def pack_key(self, key: Any) -> bytes:
        """A row's key."""
        return ROW + _encode(key)

    def unpack_key(self, key: bytes) -> Any:
        return self._decode_key(key[1:])

    def rows(self, store: Store) -> Iterator[KeyedRow]:
        """Every row of a store, in the order of time."""
        return (self.unpack(key, value) for key, value in store.scan(ROW, ROWS_END))

    def get(self, store: Store | Overlay, key: Any) -> KeyedRow | None:
        """The row of a key."""
        raw = self.pack_key(key)
        value = store.get(raw)
        return None if value is None else self.unpack(raw, value)

    def hours_from(self, start_ms: int) -> bytes:
        """No key of an hour from then on sorts before this."""
        head: bytes = _encode([start_ms] + [0] * (self._parts - 1))
        return ROW + head[: 1 - self._parts]

    def pack(self, kept: KeyedRow) -> bytes:
        """A row's value."""
        numbers = kept.events, kept.first_offset, kept.last_offset, kept.revision, kept.stated_events
        return (SETTLED if kept.settled else UNSETTLED) + _encode(self._stored(kept.row, *numbers, kept.before))

    def unpack(self, key: bytes, value: bytes) -> KeyedRow:
        return KeyedRow(self.unpack_key(key), *msgspec.structs.astuple(self._decode_row(value[1:])))

    def facts(self, key: bytes, value: bytes, partition: int) -> RowFacts:
        """A row as the pages show it."""
        kept = self.unpack(key, value)
        start_ms, *names = kept.key
        return RowFacts(
            start_ms=start_ms,
            names={name: str(part) for name, part in zip(self._key._fields[1:], names, strict=True)},
            counted=msgspec.to_builtins(kept.row),
            events=kept.events,
            waiting=kept.events - kept.stated_events,
            revision=kept.revision,
            statement_id=self._statement_id(kept),
            partition=partition,
        )

    def _statement_id(self, kept: KeyedRow) -> str | None:
        if self.statements is None or kept.revision is None:
            return None
        return self.statements.id(kept.key, kept.revision)

    def _home(self, key: bytes, value: bytes) -> str:
        return self.home(self.unpack_key(key))

    def _readable(self, key: bytes, value: bytes) -> tuple[RowKey, Any]:
        kept = self.unpack(key, value)
        facts = {
            **msgspec.to_builtins(kept.row),
            "events": kept.events,
            "waiting": kept.events - kept.stated_events,
            "revision": kept.revision,
            "last_offset": kept.last_offset,
        }
        if self.statements is not None:
            facts["stated_as"] = self._statement_id(kept)
        return ("row", *kept.key), facts

    def _readable_key(self, parts: RowKey) -> bytes:
        try:
            if parts[:1] != ("row",):
                raise msgspec.ValidationError
            return self.pack_key(msgspec.convert(parts[1:], self._key))
        except msgspec.ValidationError:
            raise ValueError(f"{parts!r} is not the key of a row") from None


class StoredRows:
    """The rows as of the last chunk, on their way to the store or there (`tables.keyed.Rows`)."""

    def __init__(self, table: RowTable, rows: Overlay) -> None:
        self._table = table
        self._rows = rows

    def get(self, key: Any) -> KeyedRow | None:
        return self._table.get(self._rows, key)

    def ending(self, after_ms: int, until_ms: int) -> Iterable[Any]:
        start, stop = max(after_ms - HOUR_MS + 1, 0), max(until_ms - HOUR_MS + 1, 0)
        found = self._rows.scan(self._table.hours_from(start), self._table.hours_from(stop))
        return map(self._table.unpack_key, found)


def unsettled(table: RowTable, store: Store) -> Iterator[KeyedRow]:
    """The rows of open hours, and those that wait for a revision."""
    return (table.unpack(key, value) for key, value in unsettled_rows(store, ROW))
