"""Where an id was counted: the rows of remembered ids are an index by chunk (docs/adr/0049).

A chunk's row has the digests of the ids that it counted, under the offset of the chunk's first record. So the row that
has an id says to within a chunk where in the log the record is that counted; another record with the id is a
duplicate. It is read between the chunks, a few rows at a time, and never more than `ROWS_MAX`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from streamapp.facts.events import PlaceFacts
from streamapp.lane.ids import CompactSeen
from streamapp.store.ids import ids_key, unpack_ids
from streamapp.store.rows import Store
from tables.seen import DIGEST_BYTES, Known, Seen

ROWS_MAX = 4_096  # of a partition, in one question: some hundred milliseconds, and minutes of a busy stream
SLICE = 16  # rows read between two turns of the event loop
CHUNK_RECORDS = 5_000  # a chunk that holds an offset begins at most so many before it

Digest = Callable[[bytes], bytes]


async def place(partition: int, task: Any, event_id: str, start: int | None) -> PlaceFacts | None:
    """What a partition's table remembers of an id. `start`: the first offset at which it may have been counted; None:
    not known, then the newest chunks are looked through. None for a table that remembers no ids."""
    seen = getattr(task.memory, "seen", None)
    if not isinstance(seen, Seen):
        return None
    position: int = task.memory.position.next_offset
    if seen.look(event_id, b"") is Known.NEW:
        return PlaceFacts(partition, False, None, 0, position, position)
    chunks = seen.chunks(None if start is None else max(0, start - CHUNK_RECORDS), ROWS_MAX)
    digest = _digest(seen, event_id)
    for number, (chunk, found) in enumerate(_looked_at(task.store, chunks, digest)):
        if found:
            return PlaceFacts(partition, True, chunk, min(chunks), max(chunks), position)
        if number % SLICE == SLICE - 1:
            await asyncio.sleep(0)
    return PlaceFacts(partition, True, None, min(chunks, default=0), max(chunks, default=0), position)


def _looked_at(store: Store, chunks: list[int], digest: Digest) -> Iterator[tuple[int, bool]]:
    for chunk in chunks:
        value = store.get(ids_key(chunk))
        if value is None:  # not committed yet, or forgotten just now
            yield chunk, False
            continue
        stored = unpack_ids(value)
        wanted = digest(stored.secret) if stored.secret else b""
        digests = (part for part, _ in stored.by_expiry.values())
        yield chunk, bool(wanted) and any(_has(part, wanted) for part in digests)


def _has(digests: bytes, wanted: bytes) -> bool:
    """Whether it is one of them, and not the end of one and the beginning of the next."""
    at = digests.find(wanted)
    while at % DIGEST_BYTES and at >= 0:
        at = digests.find(wanted, at + 1)
    return at >= 0


def _digest(seen: Seen, event_id: str) -> Digest:
    """Secret → the digest of the id under it."""
    known = {seen.secret: seen.digest(event_id)}

    def digest(secret: bytes) -> bytes:
        if secret not in known:  # rows that came from another partition
            known[secret] = CompactSeen(secret, in_memory=1).digest(event_id)
        return known[secret]

    return digest
