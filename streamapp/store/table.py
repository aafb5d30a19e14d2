"""What a table brings along, so that the runtime can keep, restore, move and show its rows without knowing them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from streamapp.store.ids import KIND as IDS
from streamapp.store.ids import ids_key, readable_ids, unpack_ids_key
from streamapp.store.position import POSITION_KEY, readable_position
from streamapp.store.rows import CHANGELOG, CHECKPOINT, INDEX, Unsettled, always_settled

RowKey = tuple[Any, ...]
"""A row's key as parts to read: the kind's name, then strings and integers."""

Home = Callable[[bytes, bytes], str | None]
"""Row → the record key that it belongs to: the row lives where murmur2 puts that key, and nowhere else. None: it may be
on any partition, and adds up with its like."""


def anywhere(key: bytes, value: bytes) -> None:
    """For rows that count what their partition has read, and add up over all of them."""


def as_it_is(key: bytes, value: bytes) -> bytes:
    """For rows that say nothing of the partition they are on."""
    return value


@dataclass(frozen=True, slots=True)
class Table:
    """`kinds` are the letters that the keys of its rows begin with; the position row's is one of them. `row` and `key`
    are for all kinds but those that every table has alike: the position, and remembered ids unless `own_ids`.

    `home` and `moved` say how rows follow their topic to more partitions; remembered ids go wherever their keys may
    have gone. Without a home a table cannot follow.

    `windows`: kinds, by name, whose keys have the start of a window (ms) behind the name → how long it is (ms).
    """

    name: str
    kinds: bytes
    row: Callable[[bytes, bytes], tuple[RowKey, Any]]  # row → key parts, a value for JSON
    key: Callable[[RowKey], bytes]  # key parts → key; raises ValueError for anything else
    unsettled: Unsettled = always_settled
    keyed: bool = True  # records belong to keys: when the topic gets more partitions, the table must be moved
    home: Home | None = None
    moved: Callable[[bytes, bytes], bytes] = as_it_is  # row → its value on another partition
    own_ids: bool = False
    windows: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert POSITION_KEY in self.kinds, "every table has a position"
        assert not set(self.kinds) & set(CHECKPOINT + CHANGELOG + INDEX), "these keys are the store's own"
        assert bytes(sorted(self.kinds)) == self.kinds, "in the order of keys"

    def readable(self, key: bytes, value: bytes) -> tuple[RowKey, Any]:
        """A row as a person or a JSON document shows it: key parts, value."""
        if key == POSITION_KEY:
            return ("position",), readable_position(value)
        if key[:1] == IDS and not self.own_ids:
            return ("ids", unpack_ids_key(key)), readable_ids(value)
        return self.row(key, value)

    def readable_key(self, parts: RowKey) -> bytes:
        """The row key whose readable parts these are. Raises ValueError for anything else."""
        match parts:
            case ("position",):
                return POSITION_KEY
            case ("ids", int(chunk)):  # whatever stands in it, the key is the same
                return ids_key(chunk)
        return self.key(parts)

    @property
    def how_to_grow(self) -> str:
        """What a person does when the topic has got more partitions."""
        if not self.keyed:
            return "run `streamapp topics apply`"
        if self.home is None:
            return "its rows cannot follow; start a new table, as docs/runbook.md says"
        return f"move it with `streamapp repartition --table {self.name}`"

    @property
    def first(self) -> bytes:
        """No row sorts before this."""
        return self.kinds[:1]

    @property
    def last(self) -> bytes:
        """Every row sorts before this."""
        return bytes([self.kinds[-1] + 1])
