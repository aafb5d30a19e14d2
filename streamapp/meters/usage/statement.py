"""A statement as its event: the same statement always becomes the same bytes (decisions 10 to 12).

`billing_events` takes `BYTES_MAX` of them. A row has few enough lines to fit (`Rules.names_max`). A row that is older
than that limit may have too many; then the last ones are stated together.
"""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from streamapp.exact.partition.chunk import Send
from streamapp.exact.partition.place import Place
from streamapp.meters.stated import BYTES_MAX, coverage, envelope
from streamapp.meters.usage import codec
from streamapp.schemas.billing import BILLING_HOURLY, BILLING_REVISED, COUNTERS
from streamapp.schemas.envelope import SCHEMA
from streamapp.schemas.values.money import money_text
from streamapp.schemas.values.timestamp import format_ms
from streamapp.schemas.values.ulid import statement_id
from streamapp.store.rows import Writes
from tables.counters import Counters
from tables.usage.hourly import OTHER, HourKey, HourStatement, Lines, Written
from tables.window import HOUR_MS

LINES_MAX = 250
"""So many lines fit, whatever their names and numbers."""

SOURCE = "billing-aggregator"

_encode = msgspec.json.Encoder().encode
_numbers = attrgetter(*COUNTERS)
_NAMES = (*COUNTERS, "cost")  # what is stated of them


class _Line(msgspec.Struct, gc=False):
    """No dict, as a bill may have hundreds. The fields behind the model are `_NAMES`."""

    provider: str
    model: str
    requests: int
    errors: int
    cache_hits: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: str


class _Data(msgspec.Struct):
    lines: list[_Line]


class _Lined(msgspec.Struct):
    data: _Data


_decode = msgspec.json.Decoder(_Lined).decode


def kind_of(revision: int) -> str:
    """The event type of a revision."""
    return BILLING_HOURLY if revision == 0 else BILLING_REVISED


@lru_cache(maxsize=10_000)  # a statement, its row and the pages ask for it one after the other
def bill_id(key: HourKey, revision: int) -> str:
    """The id of a bucket's revision: anybody who knows the bucket can compute it (decision 12)."""
    end_ms = key.start_ms + HOUR_MS
    return statement_id(kind_of(revision), key.org, key.team, key.currency, key.start_ms, end_ms, revision)


def event(statement: HourStatement, topic: str, partition: int) -> tuple[str, bytes]:
    """Id and JSON of the billing event that states usage read from `topic`-`partition`."""
    if isinstance(statement.counted, Written):
        value = _first(statement, statement.counted, topic, partition)
        if len(value) <= BYTES_MAX:
            return statement.counted.bill_id, value
    key, revision, end_ms = statement.key, statement.revision, statement.end_ms
    event_id, running = bill_id(key, revision), statement.running
    first, last, totals = statement.first_offset, statement.last_offset, _counts(statement.totals)
    data = {
        "billing_id": event_id,
        "revision": revision,
        "supersedes": None if revision == 0 else bill_id(key, revision - 1),
        "team_id": key.team,
        "period_start": format_ms(key.start_ms),
        "period_end": format_ms(end_ms),
        "currency": key.currency,
        "totals": totals,
        "delta": totals if statement.delta is statement.totals else _counts(statement.delta),
        "lines": _lines(statement.lines),
        "running_total": {
            "month": statement.month,
            "cost": money_text(running.cost),
            "total_tokens": running.total_tokens,
        },
        "coverage": coverage(topic, partition, first, last, statement.events),
    }
    stated = envelope(event_id, kind_of(revision), SOURCE, statement.stated_ms, key.org, data, team_id=key.team)
    value = _encode(stated)
    if len(value) > BYTES_MAX:
        data["lines"] = _lines(_fewer(statement.lines))
        value = _encode(stated)
    return event_id, value


def _first(statement: HourStatement, written: Written, topic: str, partition: int) -> bytes:
    """The JSON of a bill whose middle the lane has written."""
    _, revision, stated_ms, _, _, _, month, (cost, total_tokens, _), first_offset, last_offset, events = statement
    assert revision == 0, "a row is written when its hour closes"
    head = (
        f'{{"schema":"{SCHEMA}","id":"{written.bill_id}","type":"{BILLING_HOURLY}","source":"{SOURCE}",'
        f'"timestamp":"{format_ms(stated_ms)}",'
    )
    tail = (
        f',"running_total":{{"month":"{month}","cost":"{money_text(cost)}",'
        f'"total_tokens":{total_tokens}}},"coverage":{{"topic":"{topic}","partition":{partition},'
        f'"first_offset":{first_offset},"last_offset":{last_offset},"events":{events}}}}}}}'
    )
    return b"".join((head.encode(), written.bill, tail.encode()))


def send(statement: HourStatement, place: Place, bills: str) -> tuple[Send, Writes]:
    """The record for topic `bills`, keyed by org, and the table row that keeps what was stated."""
    event_id, value = event(statement, place.topic, place.partition)
    return place.record(bills, statement.key.org.encode(), value), {codec.bill_key(event_id): value}


def has_lines(bill: bytes, lines: Lines) -> bool:
    """Whether a bill of ours states these lines, and no others; in one that would be too long the last are together."""
    return _decode(bill).data.lines in (_lines(lines), _lines(_fewer(lines)))


def _lines(lines: Lines) -> list[_Line]:
    return [
        _Line(provider, model, *_stated(counters)) for provider, model, counters in sorted(lines, key=itemgetter(0, 1))
    ]


def _fewer(lines: Lines) -> Lines:
    """The first lines, and all others together."""
    own = [line for line in lines if line[:2] != OTHER]
    rest = Counters()
    for _, _, counters in (*own[LINES_MAX:], *(line for line in lines if line[:2] == OTHER)):
        rest.add(counters.numbers())
    return (*own[:LINES_MAX], (*OTHER, rest))


def _counts(counters: Counters) -> dict[str, Any]:
    return dict(zip(_NAMES, _stated(counters), strict=True))


def _stated(counters: Counters) -> tuple[Any, ...]:
    return *_numbers(counters), money_text(counters.cost)
