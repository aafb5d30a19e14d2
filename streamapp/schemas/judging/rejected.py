"""Bad input is a value: what was refused, and why, as a closed list of slugs (standard: "dead_letter"; decision 18)."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Reason(StrEnum):
    """Why a record was refused. The value is what stands in `dead_letter` and on pages; never renamed."""

    EMPTY_VALUE = "empty_value"  # the record has no value
    MALFORMED_JSON = "malformed_json"  # not UTF-8, not JSON, nested too deep
    FRAMED_JSON = "framed_json"  # the frame of a schema registry's serializer: byte 0, an id, then the JSON
    INVALID_ENVELOPE = "invalid_envelope"  # the base envelope's fields
    UNKNOWN_TYPE = "unknown_type"  # a type that this topic does not carry
    INVALID_DATA = "invalid_data"  # the payload's fields
    INVALID_COST = "invalid_cost"  # no number, negative, not finite, more than 18 integer digits
    INVALID_PRICE = "invalid_price"  # no decimal as text, negative, too many digits, or an amount that has too many
    TOKENS_MISMATCH = "tokens_mismatch"  # total is less than prompt + completion
    TIMESTAMP_IN_FUTURE = "timestamp_in_future"  # more than 5 minutes ahead of its broker record
    RECORD_TIMESTAMP_MISSING = "record_timestamp_missing"  # the record has no timestamp: -1 or 0
    TOO_LATE = "too_late"  # older than the topic's retention behind the watermark
    ORG_UNRESOLVED = "org_unresolved"  # no org_id, and the directory does not know the team
    WRONG_PARTITION = "wrong_partition"  # the key is not the team's or agent's, or not where murmur2 puts it
    UNREADABLE_BODY = "unreadable_body"  # capture: broken gzip, base64 or form around the JSON
    TOO_MANY_EVENTS = "too_many_events"  # capture: more events than one body may carry
    MISSING_EVENT_NAME = "missing_event_name"  # capture: event is missing or not a text
    MISSING_DISTINCT_ID = "missing_distinct_id"  # capture: distinct_id is missing
    EVENT_TOO_LARGE = "event_too_large"  # capture: larger than Kafka takes
    CONFLICTING_DUPLICATE = "conflicting_duplicate"  # an id seen before, with other bytes
    UNREADABLE_BATCH = "unreadable_batch"  # a whole record batch: damaged, of an unknown codec, or unpacked too large


class Rejected(NamedTuple):
    """A refused record. `error` is one sentence for a person."""

    reason: Reason
    error: str


NO_VALUE = Rejected(Reason.EMPTY_VALUE, "the record has no value")


class UnreadableBatch(bytes):
    """A record batch of Kafka's log that cannot be unpacked. It stands for its records as the value of one.

    The bytes are the batch's own with its header, as the broker sent them. They are never JSON: the first eight are an
    offset. `first` and `last` are the offsets it covers, `error` is one sentence.
    """

    first: int
    last: int
    error: str

    @classmethod
    def of(cls, data: bytes, first: int, last: int, why: str) -> UnreadableBatch:
        """`why` says what is wrong with the batch, as a predicate: "does not match its checksum"."""
        made = cls(data)
        made.first, made.last = first, last
        made.error = f"the record batch of offsets {first} to {last} {why}"
        return made


FRAMED = Rejected(
    Reason.FRAMED_JSON,
    "the value begins with byte 0, the frame of a schema registry's serializer: send plain JSON, name the schema in "
    "the header __value_schema_id",
)


def nothing_to_read(value: bytes | None) -> Rejected | None:
    """Why a record's value is no event before anybody looks into it: there is none, its batch cannot be read, or it is
    framed (decision 30)."""
    if isinstance(value, UnreadableBatch):
        return Rejected(Reason.UNREADABLE_BATCH, value.error)
    if value and value[0] == 0:
        return FRAMED
    return None if value else NO_VALUE
