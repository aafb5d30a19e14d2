"""Pages of rows by their key, so that page 2,000 costs what page 1 costs.

A key ascends: the sorted column first, then names that make it unique. A page is the smallest keys behind a cursor, or
the biggest ahead of it. The pages of several workers merge by the same key.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from heapq import merge
from itertools import islice
from typing import Any, Protocol, TypeVar

import msgspec

Key = tuple[Any, ...]
R = TypeVar("R")

LIMIT_MAX = 500  # rows of a page: what a person can scroll and a browser lays out at once


class Down:
    """Turns an ascending order round for text, which has no minus."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __lt__(self, other: Down) -> bool:
        return other.text < self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Down) and other.text == self.text

    __hash__ = None  # type: ignore[assignment]


def limit_of(text: str) -> int:
    """Rows of a page. Raises ValueError with one sentence that says what is possible."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LIMIT_MAX):
        raise ValueError(f"limit is a number from 1 to {LIMIT_MAX}")
    return int(text)


def cursor(key: Key) -> str:
    """A key as text for a link."""
    return msgspec.json.encode([part.text if isinstance(part, Down) else part for part in key]).decode()


def parsed(text: str, shape: Any) -> Key | None:
    """Text of a link → key; None without one. Raises ValueError when it is not a cursor of this sort."""
    if not text:
        return None
    try:
        edge: Key = msgspec.json.decode(text.encode("utf-8", "replace"), type=shape)
    except msgspec.MsgspecError:
        raise ValueError("the place to go on from is not one of this sort; start from the first page") from None
    return edge


def ahead(run: Sequence[R], edge: Key | None, key: Callable[[R], Key], backwards: bool) -> int:
    """How many rows of a sorted run stand ahead of a page: up to the edge that it begins behind; or, backwards, before
    the edge that it ends at."""
    if edge is None:
        return 0
    return (bisect_left if backwards else bisect_right)(run, edge, key=key)


def nearest(
    runs: Iterable[tuple[Sequence[R], int]], size: int, key: Callable[[R], Key], backwards: bool = False
) -> list[R]:
    """Up to `size` rows next to the edge, in order. `runs`: each sorted, and how many of its rows stand ahead."""
    if backwards:
        parts = [run[max(0, at - size) : at][::-1] for run, at in runs]
        return list(islice(merge(*parts, key=key, reverse=True), size))[::-1]
    return list(islice(merge(*(run[at : at + size] for run, at in runs), key=key), size))


class Placed(Protocol):
    """A row of a partition."""

    @property
    def partition(self) -> int: ...


P = TypeVar("P", bound=Placed)


def together(
    parts: Iterable[tuple[str, bool, Iterable[P]]], owned: frozenset[int], key: Callable[[P], Key]
) -> list[tuple[P, str, bool]]:
    """Rows of several workers in order, each with its worker and whether it is last-known only.

    `parts`: (worker, stale, rows); `owned`: partitions of fresh workers. What a stale worker knew of one of these is
    dropped: it was taken over.
    """
    best: dict[Key, tuple[P, str, bool]] = {}
    for worker, stale, rows in sorted(parts, key=lambda part: part[1]):
        for row in rows:
            if not (stale and row.partition in owned):
                best.setdefault(key(row)[1:], (row, worker, stale))
    return sorted(best.values(), key=lambda item: key(item[0]))
