"""A record that a consumer group refused, as a record of the chunk's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from streamapp.exact.partition.chunk import Send
from streamapp.exact.partition.place import Place
from streamapp.schemas.judging import letter as letters
from streamapp.schemas.judging.rejected import UnreadableBatch
from tables.outcome import Refusal

TOPIC = letters.TOPIC


def letters_of(refusals: Iterable[Refusal], place: Place, now_ms: int) -> list[Send]:
    """The dead letters of records that a partition's task refused."""
    return [letter(record, reason, error, place, now_ms) for record, reason, error in refusals]


def letter(record: Any, reason: str, error: str, place: Place, now_ms: int) -> Send:
    """The dead letter about a record, or about a batch that cannot be read: then its first record is the letter's."""
    batch = record.value if isinstance(record.value, UnreadableBatch) else None
    refused = letters.Refused(
        topic=place.topic,
        partition=place.partition,
        offset=batch.first if batch else record.offset,
        last_offset=batch.last if batch else None,
        group=place.group,
        reason=reason,
        error=error,
        key=record.key,
        value=record.value,
        headers=record.headers,
        timestamp_ms=record.timestamp,
    )
    made = letters.letter(refused, now_ms)
    return place.record(TOPIC, made.key, made.value)
