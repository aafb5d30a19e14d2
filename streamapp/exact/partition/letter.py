"""A record that a consumer group refused, as a record of the chunk's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from streamapp.exact.partition.chunk import Send
from streamapp.exact.partition.place import Place
from streamapp.schemas.judging import letter as letters
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.topics.partitioner import partition_for
from tables.outcome import Refusal

TOPIC = letters.TOPIC


class Origin(NamedTuple):
    """Who refused records, of which topic and partition."""

    group: str
    topic: str
    partition: int


def letters_of(refusals: Iterable[Refusal], place: Place, now_ms: int) -> list[Send]:
    """The dead letters of records that a partition's task refused."""
    origin, partitions = Origin(place.group, place.topic, place.partition), place.outputs[TOPIC]
    return [letter(record, reason, error, origin, now_ms, partitions) for record, reason, error in refusals]


def letter(record: Any, reason: str, error: str, origin: Origin, now_ms: int, partitions: int) -> Send:
    """The dead letter about a record, or about a batch that cannot be read: then its first record is the letter's.
    `partitions` is how many `dead_letter` has."""
    batch = record.value if isinstance(record.value, UnreadableBatch) else None
    refused = letters.Refused(
        topic=origin.topic,
        partition=origin.partition,
        offset=batch.first if batch else record.offset,
        last_offset=batch.last if batch else None,
        group=origin.group,
        reason=reason,
        error=error,
        key=record.key,
        value=record.value,
        headers=record.headers,
        timestamp_ms=record.timestamp,
    )
    made = letters.letter(refused, now_ms)
    return Send(TOPIC, partition_for(made.key, partitions), made.key, made.value)
