"""Which dead letters are meant, and what sending each of them again would do. Pure: want → have → plan.

A dead letter is sent again as it came: key, value, headers. Its partition is the one where murmur2 puts the key today.
What capture refused has no record yet: capture makes it, as if the event came in now for the first time. What would not
help, or not be exact, stays, and the plan says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jsonpatch
import jsonpointer
import msgspec

from streamapp.dead_letters.done import Done, State
from streamapp.dead_letters.read import Letter
from streamapp.kafka.produce.transacted import Outgoing
from streamapp.schemas.catalog import JUDGES
from streamapp.schemas.envelope import SCHEMA
from streamapp.schemas.judging.cause import shape
from streamapp.schemas.judging.letter import ATTEMPT_HEADER, Header
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.values import trace
from streamapp.schemas.values.strict_json import Malformed, object_of, parse
from streamapp.topics import registry
from streamapp.topics.partitioner import partition_for

DROPPED = "it was dropped"
SENT_BEFORE = "its record was already sent again"
LETTER_HEADER = "hanzo-letter"  # names the dead letter that a record was sent again for
STANDS: Mapping[str, tuple[str, str]] = {
    Reason.TOO_LATE: ("timestamp", "its hour can no longer be revised: bill it by hand, then drop it"),
    Reason.CONFLICTING_DUPLICATE: ("id", "an event with this id counts already: patch the id, or drop it"),
}
"""Reasons that stand as long as this field of the event does, and what to do."""

ATTEMPTS_MAX = 5  # who was refused so often is not repaired by sending it again
FRAME_BYTES = 512  # what Kafka adds to a record and its batch, generously
RECORD_BYTES_MAX = 1_048_588  # Kafka's default for a topic

_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters are meant. None means any. Times are of the refusal, `since` included, `until` not."""

    ids: frozenset[str] | None = None
    topic: str | None = None
    reason: str | None = None
    group: str | None = None  # consumer group or producer
    team: str | None = None
    cause: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    state: State | None = None

    def takes(self, letter: Letter, done: Done) -> bool:
        """Whether the dead letter is one of them. Cheap questions come first."""
        return (
            (self.ids is None or letter.id in self.ids)
            and (self.topic is None or letter.topic == self.topic)
            and (self.reason is None or letter.reason == self.reason)
            and (self.group is None or letter.by == self.group)
            and (self.since_ms is None or letter.failed_ms >= self.since_ms)
            and (self.until_ms is None or letter.failed_ms < self.until_ms)
            and (self.state is None or done.state(letter) == self.state)
            and (self.cause is None or letter.cause == self.cause)
            and (self.team is None or letter.team == self.team)
        )


@dataclass(frozen=True, slots=True)
class Fix:
    """What is changed before a record goes again: its value edited by `patch`, or put in place by `value`."""

    patch: jsonpatch.JsonPatch | None = None
    value: bytes | None = None

    @property
    def changes(self) -> bool:
        return self.patch is not None or self.value is not None


class Entered(NamedTuple):
    """What a service makes of a letter's value: the key, and the value of each record."""

    key: bytes
    values: Sequence[bytes]


Reentry = Callable[[Letter, bytes | None], Entered | str]
"""The records of a letter of the service's own, with this value; or why there is none, in equal words for equal
obstacles."""


@dataclass(frozen=True, slots=True)
class Resend:
    """The records to send in one transaction, and what differs. A body of several events is several records."""

    letter: Letter
    records: tuple[Outgoing, ...]
    changed: tuple[str, ...]

    @property
    def event_ids(self) -> tuple[str, ...]:
        return tuple(name for record in self.records if (name := _field(record.value, "id")) is not None)

    @property
    def record(self) -> Outgoing:
        """The first of them, and nearly always the only one."""
        return self.records[0]


@dataclass(frozen=True, slots=True)
class Stays:
    """A dead letter that is left where it is. `why` is the same sentence for dead letters of the same obstacle."""

    letter: Letter
    why: str


@dataclass(frozen=True)
class Rules:
    """What a plan is made by: the partition count of each topic there is, team → org, the limit of attempts, and the
    reentries, by the name they write dead letters under."""

    partitions: Mapping[str, int]
    org_of: Callable[[str], str | None]
    fix: Fix = field(default_factory=Fix)
    attempts_max: int = ATTEMPTS_MAX
    reentries: Mapping[str, Reentry] = field(default_factory=dict)


def plan(letter: Letter, done: Done, rules: Rules) -> Resend | Stays:
    obstacle = _obstacle(letter, done, rules)
    if obstacle is not None:
        return Stays(letter, obstacle)
    try:
        key, values, headers = _content(letter, rules)
    except _CannotGo as error:
        return Stays(letter, str(error))
    partitions = rules.partitions[letter.topic]
    partition = (letter.partition or 0) % partitions if key is None else partition_for(key, partitions)
    about = (ATTEMPT_HEADER, str(letter.attempt).encode()), (LETTER_HEADER, letter.id.encode())
    records = tuple(Outgoing(letter.topic, partition, key, value, (*headers, *about)) for value in values)
    if max(map(_size, records)) > _most(letter.topic):
        return Stays(letter, f"the record is larger than {letter.topic} takes")
    refused = _stands(letter, values) or _refused_again(letter.topic, values)
    if refused is not None:
        return Stays(letter, refused)
    moved = letter.record is not None and partition != letter.partition
    differs = {"value": tuple(values) != (letter.value,), "key": key != letter.key, "partition": moved}
    return Resend(letter, records, tuple(name for name, changed in differs.items() if changed))


def _obstacle(letter: Letter, done: Done, rules: Rules) -> str | None:
    """Why this dead letter must not be sent again, whatever is changed about it."""
    receipt = done.by_letter.get(letter.id)
    if receipt is not None and receipt.state == "dropped":
        return DROPPED
    if done.sent_already(letter) is not None:
        return SENT_BEFORE
    if letter.topic not in rules.partitions or letter.topic not in {topic.name for topic in registry.EVENT_TOPICS}:
        return f"there is no event topic {letter.topic}"
    whole_batch = _whole_batch(letter)
    if whole_batch is not None:
        return whole_batch
    if letter.truncated and rules.fix.value is None:
        return "the dead letter does not have the whole record, it was cut"
    if letter.attempt >= rules.attempts_max:
        return f"it was refused {rules.attempts_max} times or more: find the cause, then raise --max-attempts"
    if letter.reason == Reason.ORG_UNRESOLVED and not rules.fix.changes and rules.org_of(letter.team or "") is None:
        return "the directory (STREAM_DIRECTORY) does not know its team"
    return None


def _stands(letter: Letter, values: Sequence[bytes | None]) -> str | None:
    """Why the reason still holds of one of the values."""
    if letter.reason not in STANDS:
        return None
    name, what_to_do = STANDS[letter.reason]
    if all(_field(value, name) != _field(letter.value, name) for value in values):
        return None
    return f"it must not go again with this {name}: {letter.reason}, {what_to_do}"


def _refused_again(topic: str, values: Sequence[bytes | None]) -> str | None:
    """Why the topic's readers would refuse one of the values, whatever its key and partition are."""
    judge = JUDGES.get(topic)  # the streams that are made here have none
    if judge is None:
        return None
    for value in values:
        verdict = judge(value)
        if isinstance(verdict, Rejected):
            return f"it would be refused again: {verdict.reason}, {shape(verdict.error)}"
    return None


def _whole_batch(letter: Letter) -> str | None:
    """Why a dead letter about many records cannot go as one, whatever value it is given."""
    if letter.reason != Reason.UNREADABLE_BATCH:
        return None
    return "it is about a whole record batch, not one record: let its producer send the events again, then drop it"


class _CannotGo(Exception):
    """There is nothing to send, for this reason."""


class _Content(NamedTuple):
    """A record without its place, and without the headers that a redrive adds."""

    key: bytes | None
    values: Sequence[bytes | None]
    headers: tuple[Header, ...]


def _content(letter: Letter, rules: Rules) -> _Content:
    """What is sent for a dead letter. Raises `_CannotGo`."""
    fix = rules.fix
    key, value = letter.key, _fixed(letter.value, fix) if fix.changes else letter.value
    if letter.record is None and letter.by in rules.reentries:
        entered = rules.reentries[letter.by](letter, value)
        if isinstance(entered, str):
            raise _CannotGo(entered)
        traces = tuple(header for header in letter.headers if header[0] == trace.HEADER)
        return _Content(entered.key, entered.values, traces)
    if letter.reason == Reason.WRONG_PARTITION or fix.changes:
        named = _key_named(letter.topic, value)
        if named is None and letter.reason == Reason.WRONG_PARTITION:
            raise _CannotGo(f"the event does not name its {registry.topic(letter.topic).key}, so its key is unknown")
        key = key if named is None else named
    if letter.record is None and _field(value, "schema") != SCHEMA:
        raise _CannotGo("its producer left no whole event: give one with --value")
    kept = tuple(header for header in letter.headers if header[0] not in (ATTEMPT_HEADER, LETTER_HEADER))
    return _Content(key, (value,), kept)


def _fixed(value: bytes | None, fix: Fix) -> bytes:
    if fix.value is not None:
        return fix.value
    assert fix.patch is not None
    try:
        tree, strange = parse(value or b"")
    except Malformed:
        raise _CannotGo("the value is not JSON, a patch cannot change it: give --value") from None
    if strange:
        raise _CannotGo("the value holds NaN or Infinity, a patch cannot keep them: give --value")
    # The library's own sentences quote values, which differ from dead letter to dead letter and may be secret.
    try:
        return _encode(fix.patch.apply(tree))
    except jsonpatch.JsonPatchTestFailed:
        raise _CannotGo("the patch does not fit: a test of it does not hold") from None
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException):
        raise _CannotGo("the patch does not fit: it names what is not there") from None
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise _CannotGo("the patched value cannot be written as JSON") from None


def _key_named(topic: str, value: bytes | None) -> bytes | None:
    """The record key that the event itself names, by the registry's rule for its topic."""
    name, tree = registry.topic(topic).key, object_of(value)
    for fields in (tree, tree.get("data")):
        named: Any = fields.get(name) if isinstance(fields, dict) else None
        if isinstance(named, str) and named:
            return named.encode(errors="replace")
    return None


def _field(value: bytes | None, name: str) -> str | None:
    """A field of the event, where it is a text."""
    found = object_of(value).get(name)
    return found if isinstance(found, str) else None


def _size(record: Outgoing) -> int:
    headers = sum(len(name.encode()) + len(content or b"") + 8 for name, content in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + FRAME_BYTES


def _most(topic: str) -> int:
    return int(dict(registry.topic(topic).configs).get("max.message.bytes", RECORD_BYTES_MAX))
