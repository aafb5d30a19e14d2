"""One request → the records it becomes, the dead letters about what is refused, and what to answer. Pure.

In this order, and the first that refuses ends it: unwrap · JSON · how many · token · quota · each event on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any, NamedTuple

from msgspec import UNSET

from streamapp.capture.reading import answers
from streamapp.capture.reading.answers import Answer, Refusal, RefusedEvent, accepted, refused
from streamapp.capture.reading.body import Unwrapped, form_fields, unwrap
from streamapp.capture.reading.events import SOURCE, TOPIC, Arrival, Trouble, arrival, captured
from streamapp.capture.reading.moments import read_ms, sent_query_ms
from streamapp.capture.reading.sent import (
    Broken,
    Sent,
    SentEvent,
    Unread,
    look_over_properties,
    raw_events,
    read,
    read_properties,
)
from streamapp.capture.reading.teams import Team, Teams
from streamapp.kafka.produce.loop_producer import Group
from streamapp.schemas.judging import letter as letters
from streamapp.schemas.judging.letter import Header, Refused, letter
from streamapp.schemas.values import trace
from streamapp.schemas.values.ulid import RANDOM_BYTES
from streamapp.settings import CaptureSettings

UNPACKABLE = frozenset({"lz64"})  # of clients of long ago
PLAIN = (b"{", b"[")  # what JSON begins with when nothing is around it
IP_HEADER, SENT_AT_HEADER = "hanzo-ip", "hanzo-sent-at"  # of a letter about one event: what its bytes do not say
BUCKETS_MAX = 100_000  # teams that are remembered; forgetting one only fills its bucket
NOBODY = ""  # whose bucket pays for dead letters of no team


class Ask(NamedTuple):
    """What of a request matters, besides its body."""

    query: str
    ip: str
    trace: bytes = b""  # its header `traceparent`, which goes with its records as it came


class Verdict(NamedTuple):
    """What becomes of a request: written first, in this order, and then answered."""

    groups: Sequence[Group]
    answer: Answer
    events: int = 0
    refused: Sequence[str] = ()
    unreadable: Sequence[str] = ()  # a library for each timestamp that could not be read


class Intake:
    """Everything capture knows between two requests: teams, and how much each has sent."""

    def __init__(self, teams: Teams, limits: CaptureSettings, entropy: Callable[[int], bytes]) -> None:
        self._teams, self._limits, self._entropy = teams, limits, entropy
        self._buckets = Buckets()

    def judge(self, ask: Ask, raw: bytes, now_ms: int, now_s: float) -> Verdict:
        """`now_ms` is the wall clock, `now_s` a clock that never steps. Never raises, whatever the bytes are."""
        query = form_fields(ask.query) if ask.query else {}
        if query is None:
            twice = Refusal(answers.UNREADABLE_BODY, "the query says its data twice")
            return self._unread(twice, raw, now_ms, now_s, ask)
        if said := query.pop("data", "").encode("latin-1", "replace"):
            if raw:
                both = Refusal(answers.UNREADABLE_BODY, "there are events in the body and in the query's data")
                return self._unread(both, raw, now_ms, now_s, ask)
            raw = said
        if len(raw) > self._limits.body_bytes_max:
            return self._no(Refusal(answers.BODY_TOO_LARGE))
        fields: dict[str, str] = {}
        if raw[:1] not in PLAIN or "compression" in query:
            unwrapped = self._unwrap(raw, query)
            if isinstance(unwrapped, Refusal):
                return self._unread(unwrapped, raw, now_ms, now_s, ask)
            inner, fields = unwrapped
        else:
            inner = raw
        found = read(inner, self._limits.events_max)
        if isinstance(found, str):
            return self._unread(Refusal(answers.MALFORMED_JSON, found), raw, now_ms, now_s, ask)
        sent = found
        about = query | fields if fields else query
        team = self._team(sent, about, now_s)
        if isinstance(team, Refusal):
            return self._no(team)
        count = len(sent.events)
        if not count:
            return self._bad(Refusal(answers.EMPTY_BODY), team, raw, now_ms, ask)
        if count > self._limits.events_max:
            error = f"more than {self._limits.events_max} events in one body"
            return self._bad(Refusal(answers.TOO_MANY_EVENTS, error), team, raw, now_ms, ask)
        quota = team.quota_per_second
        if quota is not None and (wait_s := self._buckets.wait_s(team.id, quota, count, now_s)):
            return self._no(Refusal(answers.QUOTA_EXCEEDED, f"{team.id} may send {quota:g} events/s", wait_s))
        arrived = arrival(team, now_ms, ask.ip, sent_ms_of(sent, about))
        return self._events(sent, inner, arrived, about.get("beacon") == "1", traced(ask))

    def _events(
        self, sent: Sent, inner: bytes, arrived: Arrival, beacon: bool, trace_headers: tuple[Header, ...]
    ) -> Verdict:
        key, entropy = arrived.team.key, self._entropy
        values: list[bytes] = []
        troubles: list[tuple[int, Trouble]] = []
        for index, event in enumerate(sent.events):
            made = captured(event, arrived, entropy)
            if type(made) is bytes:
                values.append(made)
            else:
                assert not isinstance(made, bytes)
                troubles.append((index, made))
        if not troubles:
            groups: tuple[Group, ...] = (Group(TOPIC, key, values, trace_headers),)
            return Verdict(groups, accepted((), beacon), len(values), (), arrived.unreadable)
        raws = raw_events(inner, sent, self._limits.events_max)
        told = [RefusedEvent(index, kind, error, raws[index]) for index, (kind, error) in troubles]
        headers = [*_headers(arrived), *trace_headers]
        about = [self._letter(one.kind, one.error, key, one.raw, arrived.now_ms, headers) for one in told]
        slugs = [one.kind.slug for one in told]
        if values:
            groups = (Group(TOPIC, key, values, trace_headers), letters_group(about))
            return Verdict(groups, accepted(told, beacon), len(values), slugs, arrived.unreadable)
        first = Refusal(told[0].kind, told[0].error)
        return Verdict((letters_group(about),), refused(first, told if len(sent.events) > 1 else ()), 0, slugs)

    def _team(self, sent: Sent, about: dict[str, str], now_s: float) -> Team | Refusal:
        token = token_of(sent, about)
        return token if isinstance(token, Refusal) else self._teams.of(token, now_s)

    def _unwrap(self, raw: bytes, query: dict[str, str]) -> Unwrapped | Refusal:
        if query.get("compression") in UNPACKABLE:
            return Refusal(answers.UNREADABLE_BODY, f"compression={query['compression']} is not spoken here; use gzip")
        return unwrap(raw, self._limits.body_bytes_max)

    def _unread(self, refusal: Refusal, raw: bytes, now_ms: int, now_s: float, ask: Ask) -> Verdict:
        """For a body that nobody can be asked to pay for."""
        if refusal.kind.reason is None:
            return self._no(refusal)
        wait_s = self._buckets.wait_s(NOBODY, self._limits.unknown_letters_per_second, 1, now_s)
        if wait_s:
            return self._no(Refusal(answers.TOO_MANY_REFUSED, retry_after_s=wait_s))
        return self._bad(refusal, None, raw, now_ms, ask)

    def _bad(self, refusal: Refusal, team: Team | None, raw: bytes, now_ms: int, ask: Ask) -> Verdict:
        error = refusal.error or refusal.kind.meaning
        made = self._letter(refusal.kind, error, None if team is None else team.key, raw, now_ms, traced(ask))
        return Verdict((letters_group([made]),), refused(refusal), 0, (refusal.kind.slug,))

    def _no(self, refusal: Refusal) -> Verdict:
        return Verdict((), refused(refusal))

    def _letter(
        self,
        kind: answers.Kind,
        error: str,
        key: bytes | None,
        raw: bytes,
        now_ms: int,
        headers: Sequence[Header] = (),
    ) -> bytes:
        assert kind.reason is not None, kind
        about = Refused(
            topic=TOPIC,
            producer=SOURCE,
            reason=kind.reason,
            error=error,
            key=key,
            value=raw,
            headers=headers,
            timestamp_ms=now_ms,
        )
        return letter(about, now_ms, self._entropy(RANDOM_BYTES)).value


def letters_group(values: Sequence[bytes]) -> Group:
    """Letters, with the key that all dead letters about this topic have."""
    return Group(letters.TOPIC, TOPIC.encode(), values)


def token_of(sent: Sent, about: dict[str, str]) -> Any | Refusal:
    """The token of a body, whatever it is; None if there is none. `about` is what stands around the body."""
    token = sent.token
    if token is None:
        token = about.get("api_key") or about.get("token")
    if token is None:
        tokens = {
            found for event in sent.events if not isinstance(event, Unread) and (found := _token_in(event)) is not None
        }
        if len(tokens) > 1:
            return Refusal(answers.TOKENS_DIFFER)
        token = tokens.pop() if tokens else None
    return token


def _token_in(event: SentEvent) -> str | None:
    token: Any = event.api_key or event.token or event.token_alias
    if token is None and len(event.properties):
        try:
            look_over_properties(event.properties)
            token = read_properties(event.properties).token
        except Broken:
            return None
    return token if type(token) is str else None


def traced(ask: Ask) -> tuple[Header, ...]:
    """The header that goes with a request's records. One that is longer than any known version's stays behind."""
    return ((trace.HEADER, ask.trace),) if 0 < len(ask.trace) <= trace.BYTES_MAX else ()


def _headers(arrived: Arrival) -> list[Header]:
    told = (IP_HEADER, arrived.ip), (SENT_AT_HEADER, arrived.sent_text)
    return [(name, text.encode()) for name, text in told if text is not UNSET]


def sent_ms_of(sent: Sent, about: dict[str, str]) -> int | None:
    """The client's clock when it sent a body, if it said so. `about` is what stands around the body."""
    if sent.sent_at is not None and (sent_ms := read_ms(sent.sent_at)) is not None:
        return sent_ms
    sent_ms = sent_query_ms(about.get("_"))
    return read_ms(about["sent_at"]) if sent_ms is None and "sent_at" in about else sent_ms


class Buckets:
    """How much a team may send: a bucket of tokens per name that fills at its quota, one second deep. Time comes in as
    seconds of a clock that never steps."""

    def __init__(self) -> None:
        self._levels: dict[str, tuple[float, float]] = {}

    def wait_s(self, name: str, per_second: float, count: int, now_s: float) -> int:
        """0 and take `count`, or take nothing and return the seconds after which it is worth trying again.

        A bucket with anything in it gives all that is asked for and owes the rest, so that a batch larger than the
        quota of a second passes, too; on average no more than the quota does.
        """
        level, then_s = self._levels.get(name, (per_second, now_s))
        level = min(per_second, level + (now_s - then_s) * per_second)
        if level <= 0:
            return max(1, ceil((1e-9 - level) / per_second)) if per_second > 0 else 60
        if len(self._levels) >= BUCKETS_MAX and name not in self._levels:
            self._levels.clear()
        self._levels[name] = (level - count, now_s)
        return 0
