"""Dead letters as they stand in the log: read, never judged. What cannot be read is a value, too."""

from __future__ import annotations

import binascii
import json
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec

from streamapp.kafka.log.reader import Record, Span, read, spans
from streamapp.schemas.dead_letter import EVENT_REJECTED
from streamapp.schemas.judging.cause import cause_of
from streamapp.schemas.judging.letter import TOPIC, Header
from streamapp.schemas.values.timestamp import parse_ms
from streamapp.topics.registry import EVENT_TOPICS

Coordinates = tuple[str, int, int]
"""Topic, partition, offset."""

Made = TypeVar("Made")

_BY_TEAM = frozenset(topic.name for topic in EVENT_TOPICS if topic.key == "team_id")


class Unreadable(NamedTuple):
    """A record on `dead_letter` that is no dead letter: where, and why."""

    where: str
    problem: str


class Refusal(NamedTuple):
    """Which records were refused, and by whom: a dead letter without its bytes. To decode those takes the most time."""

    topic: str
    partition: int | None  # None: the record never reached its topic
    offsets: range
    by: str
    is_group: bool


@dataclass(frozen=True, slots=True)
class Letter:
    """One refusal of one record."""

    id: str
    at: Coordinates  # of the dead letter itself
    topic: str  # of the record, as are the next two
    partition: int | None
    offset: int | None
    by: str  # the consumer group or the producer that refused it
    is_group: bool
    reason: str
    error: str
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    failed_ms: int
    attempt: int
    truncated: bool
    last_offset: int | None = None  # of a letter about a whole batch

    @property
    def record(self) -> Coordinates | None:
        """Where the record is; None when it never reached its topic."""
        return None if self.partition is None or self.offset is None else (self.topic, self.partition, self.offset)

    @property
    def cause(self) -> str:
        """The fingerprint that it shares with dead letters of the same cause."""
        return cause_of(self.topic, self.by, self.reason, self.error).id

    @property
    def event(self) -> dict[str, Any]:
        """The value as an event, empty when it is none."""
        try:
            event = json.loads(self.value or b"")
        except (ValueError, RecursionError):
            return {}
        return event if isinstance(event, dict) else {}

    @property
    def event_id(self) -> str | None:
        """The event's own id; of what capture refused, the uuid that the client gave it."""
        event = self.event
        return next((event[name] for name in ("id", "uuid") if isinstance(event.get(name), str)), None)

    @property
    def team(self) -> str | None:
        """Whose event it was: as the event says, else its key. Of an event that never reached its topic the key comes
        first: who refused it wrote it, the event may be a stranger's."""
        if self.record is None and self.key is not None and self.topic in _BY_TEAM:
            return self.key.decode(errors="replace")
        team = self.event.get("team_id")
        if isinstance(team, str):
            return team
        return None if self.key is None else self.key.decode(errors="replace")


class _Header(msgspec.Struct):
    key: str
    value_b64: str | None = None


class _Data(msgspec.Struct):
    source_topic: str
    reason: str
    error: str
    failed_at: str
    attempt: int
    key_b64: str | None
    value_b64: str | None
    source_partition: int | None = None
    source_offset: int | None = None
    source_last_offset: int | None = None
    group: str | None = None
    producer: str | None = None
    headers: list[_Header] = []
    truncated: bool = False


class _Envelope(msgspec.Struct):
    id: str
    type: str
    data: _Data


_decode = msgspec.json.Decoder(_Envelope).decode


def parse(record: Record) -> Letter | Unreadable:
    """What a record of `dead_letter` says. Never raises."""
    return _made(record, _letter)


def refusal(record: Record) -> Refusal | Unreadable:
    """The same without the bytes of what was refused. Never raises."""
    return _made(record, _refusal)


def _made(record: Record, make: Callable[[Record, _Envelope, str, int], Made]) -> Made | Unreadable:
    where = f"{record.topic}[{record.partition}]@{record.offset}"
    try:
        envelope = _decode(record.value or b"")
        failed_ms, by = parse_ms(envelope.data.failed_at), envelope.data.group or envelope.data.producer
        if envelope.type != EVENT_REJECTED or failed_ms is None or by is None:
            return Unreadable(where, f"it is no {EVENT_REJECTED} with its failed_at and its group or producer")
        return make(record, envelope, by, failed_ms)
    except (msgspec.MsgspecError, binascii.Error, ValueError, RecursionError) as error:
        return Unreadable(where, str(error))


def _letter(record: Record, envelope: _Envelope, by: str, failed_ms: int) -> Letter:
    data = envelope.data
    return Letter(
        envelope.id,
        (record.topic, record.partition, record.offset),
        data.source_topic,
        data.source_partition,
        data.source_offset,
        by,
        data.group is not None,
        data.reason,
        data.error,
        _bytes(data.key_b64),
        _bytes(data.value_b64),
        tuple((header.key, _bytes(header.value_b64)) for header in data.headers),
        failed_ms,
        data.attempt,
        data.truncated,
        data.source_last_offset,
    )


def _refusal(_: Record, envelope: _Envelope, by: str, failed_ms: int) -> Refusal:
    data, offsets = envelope.data, range(0)
    if data.source_offset is not None:
        last = data.source_offset if data.source_last_offset is None else data.source_last_offset
        offsets = range(data.source_offset, last + 1)
    return Refusal(data.source_topic, data.source_partition, offsets, by, data.group is not None)


def letters(config: Mapping[str, Any], upto: Mapping[int, Span] | None = None) -> Iterator[Letter | Unreadable]:
    """Everything on `dead_letter`, one after the other, oldest first, or what lies in the spans of `upto`.

    Raises `Unavailable` or `Misconfigured`.
    """
    return map(parse, read(config, TOPIC, upto))


def refusals(config: Mapping[str, Any]) -> Iterator[Refusal | Unreadable]:
    """Everything on `dead_letter` without the bytes of what was refused. Raises as `letters`."""
    return map(refusal, read(config, TOPIC))


def extent(config: Mapping[str, Any]) -> dict[int, Span]:
    """What `dead_letter` holds now. Raises `Unavailable` or `Misconfigured`."""
    return spans(config, TOPIC)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text, validate=True)
