"""What capture answers: one table from each kind of trouble to its status, and the JSON that says it.

200  everything accepted is acknowledged by all replicas     {"status":1}
     some events of a batch were refused                     {"status":1,"refused":[{"index":3,"slug":…,"error":…}]}
else {"status":0,"slug":…,"error":…}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from streamapp.schemas.judging.rejected import Reason

RETRY_AFTER_S = 1  # Kafka elects a leader within seconds; the clients back off by themselves after the first time


class Kind(NamedTuple):
    """A kind of trouble. With a `reason` what was refused goes to `dead_letter`, before the client is answered."""

    slug: str
    status: int
    meaning: str
    reason: Reason | None = None


def _refused(reason: Reason, meaning: str) -> Kind:
    return Kind(reason.value, 400, meaning, reason)


EMPTY_BODY = _refused(Reason.EMPTY_VALUE, "the request carries no event")
UNREADABLE_BODY = _refused(Reason.UNREADABLE_BODY, "the wrapping of the JSON cannot be undone")
MALFORMED_JSON = _refused(Reason.MALFORMED_JSON, "the body is not JSON")
TOO_MANY_EVENTS = _refused(Reason.TOO_MANY_EVENTS, "more events than one body may carry")
INVALID_EVENT = _refused(Reason.INVALID_DATA, "the event has fields that cannot be read")
MISSING_EVENT_NAME = _refused(Reason.MISSING_EVENT_NAME, "the event has no name")
MISSING_DISTINCT_ID = _refused(Reason.MISSING_DISTINCT_ID, "distinct_id is missing")
EVENT_TOO_LARGE = _refused(Reason.EVENT_TOO_LARGE, "the event is larger than Kafka takes")
MALFORMED_REQUEST = Kind("malformed_request", 400, "this is not HTTP that can be read")
TOKEN_MISSING = Kind("token_missing", 401, "no project token: api_key or token")
TOKEN_UNKNOWN = Kind("token_unknown", 401, "unknown project token")
TOKEN_PERSONAL = Kind("token_personal", 401, "this is a personal API key; use the project token")
TOKENS_DIFFER = Kind("tokens_differ", 401, "the events of one body carry different tokens")
NOT_NAMED = Kind("not_named", 401, "this page asks who you are; see STREAM_WEB__AUTH")
NOT_ALLOWED = Kind("not_allowed", 403, "this page is for another role")
NO_SUCH_PAGE = Kind("not_found", 404, "not found; POST events to /e, /batch or /capture")
NO_SUCH_METHOD = Kind("method_not_allowed", 405, "this path does not take this method")
TOO_SLOW = Kind("too_slow", 408, "the request did not arrive in time")
BODY_TOO_LARGE = Kind("body_too_large", 413, "the body is too large, as sent or unpacked")
QUOTA_EXCEEDED = Kind("quota_exceeded", 429, "the team sends more than its quota of this process")
TOO_MANY_REFUSED = Kind("too_many_refused", 429, "too much that cannot be read; nothing was recorded, send it again")
HEAD_TOO_LARGE = Kind("head_too_large", 431, "request line and headers are too large; send the events in the body")
FAILED = Kind("failed", 500, "internal error")
KAFKA_AWAY = Kind("kafka_away", 503, "Kafka does not answer; send it again")
TOPIC_MISSING = Kind("topic_missing", 503, "a topic of Kafka does not exist; send it again")
OVERLOADED = Kind("overloaded", 503, "the buffer is full; send it again")

KINDS: tuple[Kind, ...] = (
    EMPTY_BODY,
    UNREADABLE_BODY,
    MALFORMED_JSON,
    TOO_MANY_EVENTS,
    INVALID_EVENT,
    MISSING_EVENT_NAME,
    MISSING_DISTINCT_ID,
    EVENT_TOO_LARGE,
    MALFORMED_REQUEST,
    TOKEN_MISSING,
    TOKEN_UNKNOWN,
    TOKEN_PERSONAL,
    TOKENS_DIFFER,
    NO_SUCH_PAGE,
    NO_SUCH_METHOD,
    TOO_SLOW,
    BODY_TOO_LARGE,
    QUOTA_EXCEEDED,
    TOO_MANY_REFUSED,
    HEAD_TOO_LARGE,
    FAILED,
    KAFKA_AWAY,
    TOPIC_MISSING,
    OVERLOADED,
    NOT_NAMED,
    NOT_ALLOWED,
)

BY_ROLE = (NOT_NAMED, NOT_ALLOWED)  # of pages that are not for everybody
ANYWHERE = (MALFORMED_REQUEST, TOO_SLOW, HEAD_TOO_LARGE, FAILED, OVERLOADED)  # whatever the request asks for
ELSEWHERE = (NO_SUCH_PAGE, NO_SUCH_METHOD)  # of requests that no document describes

RETRIED = frozenset({429, 503})  # these say when to come back


class Refusal(NamedTuple):
    """Why a whole request is refused. `retry_after_s` is told to the client for the statuses that are retried."""

    kind: Kind
    error: str = ""
    retry_after_s: int = RETRY_AFTER_S


class RefusedEvent(NamedTuple):
    """One event of a body that is refused, the others are not."""

    position: int
    kind: Kind
    error: str
    raw: bytes


class Answer(NamedTuple):
    """An HTTP answer. `retry_after_s` 0: none is told."""

    status: int
    body: bytes
    slug: str
    retry_after_s: int = 0


_encode = msgspec.json.Encoder().encode

ACCEPTED = Answer(200, b'{"status":1}', "ok")
NOTHING = Answer(204, b"", "ok")


def accepted(refused: Sequence[RefusedEvent], beacon: bool) -> Answer:
    """For a body of which at least one event was accepted. A beacon's sender reads nothing."""
    if beacon:
        return NOTHING
    return Answer(200, _encode({"status": 1, "refused": _named(refused)}), "partly") if refused else ACCEPTED


def refused(refusal: Refusal, events: Sequence[RefusedEvent] = ()) -> Answer:
    """For a request of which nothing was accepted."""
    kind = refusal.kind
    fields = {"status": 0, "slug": kind.slug, "error": refusal.error or kind.meaning}
    if events:
        fields["refused"] = _named(events)
    return Answer(kind.status, _encode(fields), kind.slug, refusal.retry_after_s if kind.status in RETRIED else 0)


def _named(events: Sequence[RefusedEvent]) -> list[dict[str, object]]:
    return [{"index": event.position, "slug": event.kind.slug, "error": event.error} for event in events]
