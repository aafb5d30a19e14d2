"""How a check reads `dead_letter`: which records were refused, by whom, why, and with which bytes.

A group can also refuse a whole batch that it cannot read. The check reads with another client, whose limits may differ.
So the group's dead letter decides what such a batch is: the records that it covers become one, as the worker saw them.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from streamapp.kafka.log.reader import Record
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.verify.read.event import at
from streamapp.verify.report import Findings

LETTERS = "dead_letter"


class _Data(msgspec.Struct):
    source_topic: str | None = None
    source_partition: int | None = None
    source_offset: int | None = None
    source_last_offset: int | None = None
    group: str | None = None
    reason: str | None = None
    key_b64: str | None = None
    value_b64: str | None = None
    truncated: bool = False


class _Envelope(msgspec.Struct):
    type: str
    data: _Data


_decode = msgspec.json.Decoder(_Envelope).decode


class Letter(NamedTuple):
    """One refusal of one record by one group; of a whole batch, up to `last_offset`."""

    where: str
    group: str
    reason: str
    key: bytes | None
    value: bytes | None
    truncated: bool
    last_offset: int


Letters = dict[tuple[int, int], list[Letter]]
"""(source partition, source offset) → its dead letters."""

Batches = Mapping[int, Sequence[UnreadableBatch]]
"""Partition → its batches that a dead letter is about, in the order of offsets."""


def gather(records: Iterable[Record], topic: str, wrong: Findings | None = None) -> Letters:
    """The dead letters about records of `topic`. `wrong`: takes what cannot be read."""
    letters: Letters = {}
    for record in records:
        found = _read(record, topic)
        if isinstance(found, str):
            if wrong is not None:
                wrong.add(at(record), found)
        elif found is not None:
            letters.setdefault(found[0], []).append(found[1])
    return letters


def _read(record: Record, topic: str) -> tuple[tuple[int, int], Letter] | str | None:
    """Where the refused record is, and the dead letter; None: it is about something else; or what is wrong with it."""
    try:
        event = _decode(record.value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "is not a dead letter that can be read"
    data = event.data
    if event.type != "stream.event.rejected":
        return "is not a dead letter that can be read"
    if data.source_topic != topic or data.source_offset is None:
        return None  # about another topic, or refused before it had an offset
    if data.source_partition is None or data.group is None or data.reason is None:
        return "lacks source_partition, source_offset, group or reason"
    try:
        key, value = (
            None if text is None else b64decode(text, validate=True) for text in (data.key_b64, data.value_b64)
        )
    except (ValueError, binascii.Error):
        return "key_b64 or value_b64 is not base64"
    last = data.source_offset if data.source_last_offset is None else data.source_last_offset
    letter = Letter(at(record), data.group, data.reason, key, value, data.truncated, last)
    return (data.source_partition, data.source_offset), letter


def problem(letter: Letter, record: Record, conflicting: bool | None, plausible: Callable[[str, Record], bool]) -> str:
    """What is wrong with a letter about this record: its bytes, or a reason that cannot be true; "" if nothing is.

    `conflicting`: the record's id was accepted before with other bytes; None when that cannot be known any more.
    """
    same = (
        (record.value or b"").startswith(letter.value or b"") and (record.key or b"").startswith(letter.key or b"")
        if letter.truncated
        else (letter.key, letter.value) == (record.key, record.value)
    )
    if not same:
        return f"does not carry the bytes of {at(record)}"
    if letter.reason == "conflicting_duplicate":
        return "the id was not accepted before with other bytes" if conflicting is False else ""
    return "" if plausible(letter.reason, record) else f"{at(record)} is not refusable as {letter.reason}"


def refused_batches(letters: Iterable[Record], group: str, topic: str) -> Batches:
    """The batches of `topic` that the group has written `unreadable_batch` dead letters about."""
    found: dict[int, list[UnreadableBatch]] = {}
    for (partition, first), about in sorted(gather(letters, topic).items()):
        for letter in about:
            if letter.group == group and letter.reason == "unreadable_batch":
                batch = UnreadableBatch.of(letter.value or b"", first, letter.last_offset, "is refused")
                found.setdefault(partition, []).append(batch)
                break
    return found


def as_refused(records: Iterable[Record], refused: Batches) -> Iterator[Record]:
    """The records, with one in place of those that a dead letter covers: at its first offset, with the batch as its
    value. In offset order within a partition, as they came."""
    told: set[tuple[int, int]] = set()
    for record in records:
        batch = _covering(refused.get(record.partition, ()), record.offset)
        if batch is None:
            yield record
        elif (record.partition, batch.first) not in told:
            told.add((record.partition, batch.first))
            yield record._replace(offset=batch.first, key=None, value=batch, headers=())


def _covering(batches: Sequence[UnreadableBatch], offset: int) -> UnreadableBatch | None:
    at_ = bisect_right(batches, offset, key=lambda batch: batch.first) - 1
    return batches[at_] if at_ >= 0 and offset <= batches[at_].last else None
