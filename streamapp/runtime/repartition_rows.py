"""Which row of a table belongs where, when its topic has got more partitions. Pure.

Hours, months and statements go with their team. Ids are of records, not of teams, so every partition that a team may
have moved to gets a copy of them; a copy's key says whose it is and cannot be one of the partition's own, which are
offsets:

    own      chunk = offset of the chunk's first record, 0 or more
    copy     chunk = -2^62 + (partition << 44) + offset      2^44 records a partition, 2^17 partitions

A copy that is copied again keeps its key. Copies expire as their originals do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import gcd

import msgspec

from streamapp.runtime import codec
from streamapp.runtime.position import StoredPosition
from streamapp.runtime.rows import Store
from streamapp.topics.partitioner import partition_for

IDS = b"i"
OF_TEAMS = frozenset({b"b", b"h", b"m"})
KINDS = OF_TEAMS | {IDS}
_COPIES = -(1 << 62)
_OFFSET_BITS = 44
_home = lru_cache(maxsize=100_000)(partition_for)


def rows_of(store: Store) -> Iterator[tuple[bytes, bytes]]:
    """Every row of a table but its position."""
    return ((key, value) for key, value in store.scan(b"b", b"n") if key[:1] in KINDS)


def home_of(key: bytes, value: bytes, partitions: int) -> int:
    """Where a team's row belongs."""
    if key[:1] == b"h":
        team = codec.unpack_hour_key(key).team
    elif key[:1] == b"m":
        team = codec.unpack_month_key(key).team
    else:
        team = codec.bucket_of(value).team
    return _home(team.encode(), partitions)


def is_foreign(key: bytes, value: bytes, partition: int, partitions: int) -> bool:
    """Whether a row of this partition belongs to a team of another one."""
    return key[:1] in OF_TEAMS and home_of(key, value, partitions) != partition


def copies(key: bytes, value: bytes, partition: int, old: int, new: int) -> Iterator[tuple[int, bytes]]:
    """Which other partitions need a row of `partition`, and its key there, when `old` partitions become `new`."""
    if key[:1] in OF_TEAMS:
        home = home_of(key, value, new)
        if home != partition:
            yield home, key
        return
    owner, copy = _owned(partition, codec.unpack_ids_key(key))
    for target in _relatives(partition, old, new):
        if target not in (partition, owner):
            yield target, codec.ids_key(copy)


def settles(key: bytes | None, partition: int, old: int, new: int) -> bool:
    """Whether a record has come to a partition because of the new number of partitions, and not before."""
    return key is not None and _home(key, new) == partition != _home(key, old)


def position_after(
    number: int, positions: Mapping[int, StoredPosition], topic_id: str, old: int, new: int
) -> StoredPosition:
    """The position row of a partition when the rows are where they belong; `partitions` is `new`.

    An old partition goes on where it is. A new one starts at its first record, with the lowest watermark of those
    whose teams it has got, so that no hour closes early; its rows expire from where the slowest of them has come to.
    """
    own = positions.get(number) if number < old else None
    others = [positions[p] for p in range(number % gcd(old, new), old, gcd(old, new)) if p != number and p in positions]
    known = [position for position in [own, *others] if position is not None and position.watermark_ms >= 0]
    if own is None:
        watermark_ms = min((position.watermark_ms for position in known), default=-1)
        active_ms = max((position.active_ms for position in others), default=0)
        own = StoredPosition(0, watermark_ms, -1, topic_id, new, active_ms)
    return msgspec.structs.replace(
        own,
        partitions=new,
        expired_ms=min((position.expired_ms for position in known), default=-1),
        # Every record counted elsewhere was at or below a watermark there.
        moved_ms=max(own.moved_ms, *(max(one.watermark_ms, one.moved_ms) for one in others), -1),
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
