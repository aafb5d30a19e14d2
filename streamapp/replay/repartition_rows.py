"""Which row of a table belongs where, when its topic has got more partitions. Pure.

A row goes with its record key, if the table says that it has one (`table.Home`); others stay and add up. Ids are of
records, not of keys, so every partition that a key may have moved to gets a copy of them; a copy's key says whose it is
and cannot be one of the partition's own, which are offsets:

    own      chunk = offset of the chunk's first record, 0 or more
    copy     chunk = -2^62 + (partition << 44) + offset      2^44 records a partition, 2^17 partitions

A copy that is copied again keeps its key. Copies expire as their originals do. A row of ids names the secret that they
are under, so a copy is understood wherever it is; a new partition goes on with the secret of one that it has rows from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import gcd

import msgspec

from streamapp.store.ids import ids_key, unpack_ids_key
from streamapp.store.position import POSITION_KEY, StoredPosition
from streamapp.store.rows import Store
from streamapp.store.table import Table
from streamapp.topics.partitioner import partition_for
from tables.seen import merged
from tables.window import HOUR_MS, hour_of

IDS = b"i"
_COPIES = -(1 << 62)
_OFFSET_BITS = 44
_home = lru_cache(maxsize=100_000)(partition_for)


def rows_of(table: Table, store: Store) -> Iterator[tuple[bytes, bytes]]:
    """Every row of a table but its position."""
    kinds = table.kinds.replace(POSITION_KEY, b"")
    return ((key, value) for key, value in store.scan(table.first, table.last) if key[:1] in kinds)


def home_of(table: Table, key: bytes, value: bytes, partitions: int) -> int | None:
    """Where a row belongs; None: where it is."""
    assert table.home is not None, "a table without homes does not move"
    owner = None if key[:1] == IDS else table.home(key, value)
    return None if owner is None else _home(owner.encode(), partitions)


def is_foreign(table: Table, key: bytes, value: bytes, partition: int, partitions: int) -> bool:
    """Whether a row of this partition belongs to another one."""
    return home_of(table, key, value, partitions) not in (None, partition)


def copies(
    table: Table, key: bytes, value: bytes, partition: int, old: int, new: int
) -> Iterator[tuple[int, bytes, bytes]]:
    """Which other partitions need a row of `partition`, with its key and value there, when `old` become `new`."""
    if key[:1] != IDS:
        home = home_of(table, key, value, new)
        if home not in (None, partition):
            yield home, key, table.moved(key, value)
        return
    owner, copy = _owned(partition, unpack_ids_key(key))
    for target in _relatives(partition, old, new):
        if target not in (partition, owner):
            yield target, ids_key(copy), value


def settles(key: bytes | None, partition: int, old: int, new: int) -> bool:
    """Whether a record has come to a partition because of the new number of partitions, and not before."""
    return key is not None and _home(key, new) == partition != _home(key, old)


def position_after(
    number: int, positions: Mapping[int, StoredPosition], topic_id: str, old: int, new: int
) -> StoredPosition:
    """The position row of a partition when the rows are where they belong; `partitions` is `new`.

    An old partition goes on where it is. A new one starts at its first record, with the lowest watermark of those
    whose rows it has got, so that no hour closes early; its rows expire from where the slowest of them has come to.
    Where hours close all at once, those that anybody has closed or begun are: nothing is stated twice for one of them.
    """
    own = positions.get(number) if number < old else None
    others = [positions[p] for p in range(number % gcd(old, new), old, gcd(old, new)) if p != number and p in positions]
    known = [position for position in [own, *others] if position is not None and position.watermark_ms >= 0]
    if own is None:
        watermark_ms = min((position.watermark_ms for position in known), default=-1)
        active_ms = max((position.active_ms for position in others), default=0)
        secret = next((one.secret for one in others if one.secret), b"")  # most of its ids are under it, then
        own = StoredPosition(0, watermark_ms, -1, topic_id, new, active_ms, secret=secret)
    # Every record counted elsewhere was at or below a watermark there.
    moved_ms = max(own.moved_ms, *(max(one.watermark_ms, one.moved_ms) for one in others), -1)
    begun_ms = -1 if moved_ms < 0 else hour_of(moved_ms) + HOUR_MS
    return msgspec.structs.replace(
        own,
        partitions=new,
        expired_ms=min((position.expired_ms for position in known), default=-1),
        moved_ms=moved_ms,
        held=merged((*own.held, *(held for one in others for held in one.held))),
        closed_ms=max(own.closed_ms, *(one.closed_ms for one in others), begun_ms),
    )


def _owned(partition: int, chunk: int) -> tuple[int, int]:
    """Whose ids a chunk's row of a partition holds, and the chunk as a copy."""
    if chunk < 0:
        return (chunk - _COPIES) >> _OFFSET_BITS, chunk
    assert chunk < 1 << _OFFSET_BITS, chunk
    return partition, _COPIES + (partition << _OFFSET_BITS) + chunk


def _relatives(partition: int, old: int, new: int) -> range:
    """The partitions that a team of this one may have moved to."""
    step = gcd(old, new)
    return range(partition % step, new, step)
