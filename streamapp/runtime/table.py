"""What a table brings along, so that the runtime can keep, restore, move and show its rows without knowing them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from streamapp.runtime.position import POSITION_KEY
from streamapp.runtime.rows import CHANGELOG, CHECKPOINT, INDEX, Unsettled

RowKey = tuple[Any, ...]
"""A row's key as parts to read: the kind's name, then strings and integers."""


@dataclass(frozen=True, slots=True)
class Table:
    """`kinds` are the letters that the keys of its rows begin with; the position row's is one of them."""

    name: str
    kinds: bytes
    unsettled: Unsettled
    readable: Callable[[bytes, bytes], tuple[RowKey, Any]]  # row → key parts, a value for JSON
    readable_key: Callable[[RowKey], bytes]  # key parts → key; raises ValueError for anything else
    keyed: bool = True  # rows belong to keys: when a topic gets more partitions, they must move along

    def __post_init__(self) -> None:
        assert POSITION_KEY in self.kinds, "every table has a position"
        assert not set(self.kinds) & set(CHECKPOINT + CHANGELOG + INDEX), "these keys are the store's own"
        assert bytes(sorted(self.kinds)) == self.kinds, "in the order of keys"

    @property
    def first(self) -> bytes:
        """No row sorts before this."""
        return self.kinds[:1]

    @property
    def last(self) -> bytes:
        """Every row sorts before this."""
        return bytes([self.kinds[-1] + 1])
