"""Record batches that a group refused as a whole: what such a letter covers is refused, whoever could read it.

The check reads with another client than the workers, whose limit may also have been another at the time. So not the
check's own reading decides what a batch is, but the group's letter: the records it covers become one, as the worker saw
them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

from streamapp.dead_letters.read import Letter, parse
from streamapp.kafka.log.reader import Record
from streamapp.schemas.judging.rejected import Reason, UnreadableBatch

Refused = Mapping[int, Sequence[UnreadableBatch]]
"""Partition → its batches with a letter, in the order of offsets."""


def refused_batches(letters: Iterable[Record], group: str, topic: str) -> Refused:
    """The batches of `topic` that the group has written `unreadable_batch` letters about."""
    found: dict[int, dict[int, UnreadableBatch]] = {}
    for record in letters:
        letter = parse(record)
        if not isinstance(letter, Letter) or letter.reason != Reason.UNREADABLE_BATCH:
            continue
        first, last = letter.offset, letter.last_offset
        if letter.topic == topic and letter.by == group and letter.partition is not None and first is not None:
            batch = UnreadableBatch.of(letter.value or b"", first, first if last is None else last, "is refused")
            found.setdefault(letter.partition, {})[first] = batch
    return {number: [batches[first] for first in sorted(batches)] for number, batches in found.items()}


def as_refused(records: Iterable[Record], refused: Refused) -> Iterator[Record]:
    """The records, with one in place of those that a letter covers: at its first offset, with the batch as its value.
    In offset order within a partition, as they came."""
    told: set[tuple[int, int]] = set()
    for record in records:
        batch = _covering(refused.get(record.partition, ()), record.offset)
        if batch is None:
            yield record
        elif (record.partition, batch.first) not in told:
            told.add((record.partition, batch.first))
            yield record._replace(offset=batch.first, key=None, value=batch, headers=())


def _covering(batches: Sequence[UnreadableBatch], offset: int) -> UnreadableBatch | None:
    at = bisect_right(batches, offset, key=lambda batch: batch.first) - 1
    return batches[at] if at >= 0 and offset <= batches[at].last else None
