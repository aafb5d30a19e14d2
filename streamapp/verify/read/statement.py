"""How a check reads one statement on `billing_events`, and what must hold within it alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from streamapp.kafka.log.reader import Record
from streamapp.verify.read.event import HOUR_MS, SCHEMA, at, time_ms, time_text
from streamapp.verify.read.totals import NOTHING, Coverage, Money, Totals, money, total

HOURLY = "billing.usage.hourly"
REVISED = "billing.usage.revised"
OTHER = ("", "other")
"""Provider and model of the line of all models that have none of their own."""

_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z"
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

Text = Annotated[str, msgspec.Meta(min_length=1)]
Time = Annotated[str, msgspec.Meta(pattern=_TIME)]


class Line(Totals, frozen=True, kw_only=True):
    provider: str
    model: Text


class Running(msgspec.Struct):
    """What the statements of a month so far come to."""

    month: Text
    cost: Money
    total_tokens: int


class Data(msgspec.Struct):
    """The event's data, as the standard names it."""

    billing_id: Any
    revision: int
    supersedes: Text | None
    team_id: Text
    currency: Text
    period_start: Time
    period_end: Time
    totals: Totals
    delta: Totals
    lines: list[Line]  # empty once the statement is read
    running_total: Running
    coverage: Coverage


class _Event(msgspec.Struct):
    id: Text
    type: str
    org_id: Text
    timestamp: Text
    data: Data
    schema: Any = None
    source: Any = None
    team_id: Any = None


class Bucket(NamedTuple):
    """What a bill is for: one hour, from `start_ms` on, of a team of an org in one currency."""

    org: str
    team: str
    currency: str
    start_ms: int

    def __str__(self) -> str:
        return f"{self.org}/{self.team} {self.currency} {time_text(self.start_ms)}"


class StatedBill(NamedTuple):
    """One bill. `lines`: by provider and model. `problems` are sentences about what does not hold within it."""

    where: str
    id: str
    kind: str
    bucket: Bucket
    data: Data
    lines: dict[tuple[str, str], Totals]
    problems: tuple[str, ...]


def statement_id(kind: str, bucket: Bucket, revision: int) -> str:
    """The one id this statement can have (decision 12): `evt_` and a ULID, Crockford's base 32 of 128 bits."""
    what = (kind, bucket.org, bucket.team, bucket.currency, time_text(bucket.start_ms), revision)
    return id_of(bucket.start_ms + HOUR_MS, what)


def id_of(end_ms: int, what: Sequence[str | int]) -> str:
    """`evt_` and a ULID of a moment and of ten bytes of SHA-256 over the JSON of `what`."""
    text = json.dumps(what, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).digest()[:10]
    number = int.from_bytes(end_ms.to_bytes(6, "big") + digest, "big")
    return "evt_" + "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def statement(record: Record, event: dict[str, Any]) -> StatedBill | str:
    """The statement a usage bill makes, or in one sentence why it cannot be read."""
    try:
        read = msgspec.convert(event, _Event, dec_hook=money)
        data = read.data
        bucket = Bucket(read.org_id, data.team_id, data.currency, time_ms(data.period_start))
        lines = {_names(line): NOTHING.plus(line) for line in data.lines}
        stated = StatedBill(at(record), read.id, read.type, bucket, data, lines, ())
        problems = tuple(_problems(record, read, stated))
        data.lines = []  # they are in `lines`: a check keeps the newest statement of every bucket
        return stated._replace(problems=problems)
    except (ValueError, OverflowError) as error:
        return f"is not a statement that can be read: {error}"


def _problems(record: Record, event: _Event, stated: StatedBill) -> Iterator[str]:
    data, bucket = event.data, stated.bucket
    kind = HOURLY if data.revision == 0 else REVISED
    rules = (
        (event.schema == SCHEMA, f"schema is not {SCHEMA}"),
        (event.source == "billing-aggregator", "source is not billing-aggregator"),
        (event.type == kind, f"type is {event.type}, revision is {data.revision}"),
        (bool(re.search(_TIME, event.timestamp)), "timestamp is not in the output form"),
        (event.team_id == bucket.team, "team_id of the envelope is another one"),
        (record.key == bucket.org.encode(), "the record key is not the org_id"),
        (data.billing_id == stated.id, "billing_id is not the envelope's id"),
        (stated.id == statement_id(kind, bucket, data.revision), "id is not the one this statement must have"),
        (bucket.start_ms % HOUR_MS == 0, "period_start is not a full hour"),
        (time_ms(data.period_end) == bucket.start_ms + HOUR_MS, "period_end is not one hour later"),
        (data.running_total.month == time_text(bucket.start_ms)[:7], "running_total is for another month"),
        (list(stated.lines) == sorted(stated.lines), "lines are not sorted by provider and model"),
        (len(stated.lines) == len(data.lines), "two lines for one provider and model"),
        (total(stated.lines.values()) == data.totals, "lines do not sum to totals"),
        (data.totals.requests == data.coverage.events, "coverage.events is not totals.requests"),
    )
    yield from (sentence for holds, sentence in rules if not holds)


def _names(line: Line) -> tuple[str, str]:
    """Provider and model. Only `OTHER` has an empty provider."""
    names = line.provider, line.model
    if not line.provider and names != OTHER:
        raise ValueError(f"a line of model {line.model!r} has no provider")
    return names
