"""What a table brings along, so that the runtime can keep, restore, move and show its rows without knowing them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamapp.store.position import POSITION_KEY
from streamapp.store.rows import CHANGELOG, CHECKPOINT, INDEX, Unsettled

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
    """`kinds` are the letters that the keys of its rows begin with; the position row's is one of them.

    `home` and `moved` say how rows follow their topic to more partitions; remembered ids, as `codec` keeps them, go
    wherever their keys may have gone. Without a home a table cannot follow.
    """

    name: str
    kinds: bytes
    unsettled: Unsettled
    readable: Callable[[bytes, bytes], tuple[RowKey, Any]]  # row → key parts, a value for JSON
    readable_key: Callable[[RowKey], bytes]  # key parts → key; raises ValueError for anything else
    keyed: bool = True  # records belong to keys: when the topic gets more partitions, the table must be moved
    home: Home | None = None
    moved: Callable[[bytes, bytes], bytes] = as_it_is  # row → its value on another partition

    def __post_init__(self) -> None:
        assert POSITION_KEY in self.kinds, "every table has a position"
        assert not set(self.kinds) & set(CHECKPOINT + CHANGELOG + INDEX), "these keys are the store's own"
        assert bytes(sorted(self.kinds)) == self.kinds, "in the order of keys"

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
