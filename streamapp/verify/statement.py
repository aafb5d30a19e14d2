"""How the independent check reads one statement on `billing_events`, and what must hold within it alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from streamapp.kafka.log.reader import Record
from streamapp.verify.usage import EXACT, HOUR_MS, ZERO, time_ms

HOURLY = "billing.usage.hourly"
REVISED = "billing.usage.revised"

_MONEY = re.compile(r"-?(0|[1-9]\d{0,99})\.\d{12}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_COUNTERS = ("requests", "errors", "cache_hits", "prompt_tokens", "completion_tokens", "total_tokens")


class Bucket(NamedTuple):
    """What a bill is for: one hour, from `start_ms` on, of a team of an org in one currency."""

    org: str
    team: str
    currency: str
    start_ms: int

    def __str__(self) -> str:
        return f"{self.org}/{self.team} {self.currency} {time_text(self.start_ms)}"


class Totals(NamedTuple):
    """The counters of a bill. Sums are exact."""

    requests: int = 0
    errors: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cost: Decimal = ZERO

    def plus(self, other: Totals) -> Totals:
        return Totals(
            self.requests + other.requests,
            self.errors + other.errors,
            self.cache_hits + other.cache_hits,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            EXACT.add(self.cost, other.cost),
        )

    def minus(self, other: Totals) -> Totals:
        return Totals(
            self.requests - other.requests,
            self.errors - other.errors,
            self.cache_hits - other.cache_hits,
            self.prompt_tokens - other.prompt_tokens,
            self.completion_tokens - other.completion_tokens,
            self.total_tokens - other.total_tokens,
            EXACT.subtract(self.cost, other.cost),
        )


class Coverage(NamedTuple):
    """The usage records that a statement says it counts."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    events: int


OTHER = ("", "other")
"""Provider and model of the line of all models that have none of their own."""


class Statement(NamedTuple):
    """One bill. `problems` are sentences about what does not hold within it."""

    where: str
    id: str
    bucket: Bucket
    revision: int
    supersedes: str | None
    totals: Totals
    delta: Totals
    lines: dict[tuple[str, str], Totals]
    month: str
    running_cost: Decimal
    running_tokens: int
    coverage: Coverage
    problems: tuple[str, ...]


def time_text(at_ms: int) -> str:
    """`2025-01-15T10:00:00.000Z`."""
    second, millis = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"


def statement_id(kind: str, bucket: Bucket, revision: int) -> str:
    """The one id this statement can have (decision 12): `evt_` and a ULID, Crockford's base 32 of 128 bits."""
    what = [kind, bucket.org, bucket.team, bucket.currency, time_text(bucket.start_ms), revision]
    text = json.dumps(what, separators=(",", ":"), ensure_ascii=False)
    number = int.from_bytes(
        (bucket.start_ms + HOUR_MS).to_bytes(6, "big") + hashlib.sha256(text.encode()).digest()[:10], "big"
    )
    return "evt_" + "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def statement(record: Record, event: dict[str, Any]) -> Statement | str:
    """The statement a usage bill makes, or in one sentence why it cannot be read."""
    try:
        return _statement(record, event)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        return f"is not a statement that can be read: {type(error).__name__} {error}"


def _statement(record: Record, event: dict[str, Any]) -> Statement:
    data = event["data"]
    start_ms = _time(data["period_start"])
    bucket = Bucket(_str(event["org_id"]), _str(data["team_id"]), _str(data["currency"]), start_ms)
    lines = {_names(line): _totals(line) for line in data["lines"]}
    covered, running, supersedes = data["coverage"], data["running_total"], data["supersedes"]
    stated = Statement(
        f"{record.topic}[{record.partition}]@{record.offset}",
        _str(event["id"]),
        bucket,
        _int(data["revision"]),
        None if supersedes is None else _str(supersedes),
        _totals(data["totals"]),
        _totals(data["delta"]),
        lines,
        _str(running["month"]),
        _money(running["cost"]),
        _int(running["total_tokens"]),
        Coverage(
            _str(covered["topic"]),
            _int(covered["partition"]),
            _int(covered["first_offset"]),
            _int(covered["last_offset"]),
            _int(covered["events"]),
        ),
        (),
    )
    return stated._replace(problems=tuple(_problems(record, event, stated)))


def _problems(record: Record, event: dict[str, Any], stated: Statement) -> Iterable[str]:
    data, bucket = event["data"], stated.bucket
    kind = HOURLY if stated.revision == 0 else REVISED
    rules = (
        (event.get("schema") == "hanzo.stream.v1", "schema is not hanzo.stream.v1"),
        (event.get("source") == "billing-aggregator", "source is not billing-aggregator"),
        (event["type"] == kind, f"type is {event['type']}, revision is {stated.revision}"),
        (bool(_TIME.fullmatch(_str(event["timestamp"]))), "timestamp is not in the output form"),
        (event.get("team_id") == bucket.team, "team_id of the envelope is another one"),
        (record.key == bucket.org.encode(), "the record key is not the org_id"),
        (data["billing_id"] == stated.id, "billing_id is not the envelope's id"),
        (stated.id == statement_id(kind, bucket, stated.revision), "id is not the one this statement must have"),
        (bucket.start_ms % HOUR_MS == 0, "period_start is not a full hour"),
        (_time(data["period_end"]) == bucket.start_ms + HOUR_MS, "period_end is not one hour later"),
        (stated.month == time_text(bucket.start_ms)[:7], "running_total is for another month"),
        (list(stated.lines) == sorted(stated.lines), "lines are not sorted by provider and model"),
        (len(stated.lines) == len(data["lines"]), "two lines for one provider and model"),
        (total(stated.lines.values()) == stated.totals, "lines do not sum to totals"),
        (stated.totals.requests == stated.coverage.events, "coverage.events is not totals.requests"),
    )
    return [sentence for holds, sentence in rules if not holds]


def total(lines: Iterable[Totals]) -> Totals:
    """The sum of the lines."""
    whole = Totals()
    for line in lines:
        whole = whole.plus(line)
    return whole


def _totals(counters: dict[str, Any]) -> Totals:
    requests, errors, cache_hits, prompt, completion, tokens = (_int(counters[name]) for name in _COUNTERS)
    return Totals(requests, errors, cache_hits, prompt, completion, tokens, _money(counters["cost"]))


def _names(line: dict[str, Any]) -> tuple[str, str]:
    """Provider and model. `OTHER` has an empty provider."""
    names = line["provider"], line["model"]
    return OTHER if names == OTHER else (_str(names[0]), _str(names[1]))


def _str(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a text")
    return value


def _int(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{value!r} is not a whole number")
    return value


def _money(value: object) -> Decimal:
    if not isinstance(value, str) or not _MONEY.fullmatch(value):
        raise ValueError(f"{value!r} is not money with exactly 12 decimals")
    return Decimal(value)


def _time(value: object) -> int:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError(f"{value!r} is not a time in the output form")
    return time_ms(value)
