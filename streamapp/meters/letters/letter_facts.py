"""What the monitor counts of a letter, read without its payload.

A dead letter that cannot be read is counted as a cause of its own and never refused: a dead letter about a dead letter
would have no end. The same holds for a whole record batch of dead letters, which counts as one.
"""

from __future__ import annotations

import msgspec

from streamapp.schemas.dead_letter import EVENT_REJECTED
from streamapp.schemas.judging.cause import cause_of
from streamapp.schemas.judging.rejected import Reason, UnreadableBatch
from streamapp.topics.registry import topic
from tables.letters.fold import LetterFacts

UNREADABLE = LetterFacts(None, topic("dead_letter").name, "dead-letter-monitor", "unreadable_letter", "")


class _Data(msgspec.Struct):
    source_topic: str
    reason: str
    error: str
    group: str | None = None
    producer: str | None = None


class _Letter(msgspec.Struct):
    type: str
    id: str
    data: _Data


_decode = msgspec.json.Decoder(_Letter).decode


def letter_facts(value: bytes | None) -> LetterFacts:
    """Never raises."""
    if isinstance(value, UnreadableBatch):
        cause = cause_of(UNREADABLE.topic, UNREADABLE.by, Reason.UNREADABLE_BATCH, value.error)
        return LetterFacts(None, *cause)
    try:
        letter = _decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return UNREADABLE
    data = letter.data
    by = data.group or data.producer
    if letter.type != EVENT_REJECTED or by is None:
        return UNREADABLE
    return LetterFacts(letter.id, *cause_of(data.source_topic, by, data.reason, data.error))
