"""A statement as its event: the same statement always becomes the same bytes (decisions 10 to 12).

`billing_events` takes `BYTES_MAX` of them. A row has few enough lines to fit (`Rules.names_max`). A row that is older
than that limit may have too many; then the last ones are stated together.
"""

from __future__ import annotations

from functools import lru_cache
from operator import itemgetter

import msgspec

from streamapp.exact.partition.chunk import Send
from streamapp.meters.usage import codec
from streamapp.schemas.billing import BILLING_HOURLY, BILLING_REVISED
from streamapp.schemas.envelope import SCHEMA
from streamapp.schemas.values.money import money_text
from streamapp.schemas.values.timestamp import format_ms
from streamapp.schemas.values.ulid import statement_id
from streamapp.store.rows import Writes
from streamapp.topics.partitioner import partition_for
from tables.counters import Counters
from tables.usage.hourly import OTHER, HourKey, HourStatement, Lines, Written
from tables.window import HOUR_MS

LINES_MAX = 250
"""So many lines fit, whatever their names and numbers."""

BYTES_MAX = 1_000_000
"""Of a statement. The topic's `max.message.bytes` is a little more: a key and the batch's head belong to it, too."""

SOURCE = "billing-aggregator"

_encode = msgspec.json.Encoder().encode


class Counts(msgspec.Struct, gc=False):
    """What a bill says of its hour, of a revision, and of a line."""

    requests: int
    errors: int
    cache_hits: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: str


class _Line(msgspec.Struct, gc=False):
    provider: str
    model: str
    requests: int
    errors: int
    cache_hits: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: str


class _Running(msgspec.Struct, gc=False):
    month: str
    cost: str
    total_tokens: int


class _Coverage(msgspec.Struct, gc=False):
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    events: int


class _Data(msgspec.Struct, gc=False):
    billing_id: str
    revision: int
    supersedes: str | None
    team_id: str
    period_start: str
    period_end: str
    currency: str
    totals: Counts
    delta: Counts
    lines: list[_Line]
    running_total: _Running
    coverage: _Coverage


class _Event(msgspec.Struct, gc=False):
    schema: str
    id: str
    type: str
    source: str
    timestamp: str
    team_id: str
    org_id: str
    data: _Data


_decode = msgspec.json.Decoder(_Event).decode


@lru_cache(maxsize=10_000)  # a statement, its row and the pages ask for it one after the other
def bill_id(key: HourKey, revision: int) -> str:
    """The id of a bucket's revision: anybody who knows the bucket can compute it (decision 12)."""
    kind = BILLING_HOURLY if revision == 0 else BILLING_REVISED
    end_ms = key.start_ms + HOUR_MS
    return statement_id(kind, key.org, key.team, key.currency, key.start_ms, end_ms, revision)


def event(statement: HourStatement, topic: str, partition: int) -> tuple[str, bytes]:
    """Id and JSON of the billing event that states usage read from `topic`-`partition`."""
    if isinstance(statement.counted, Written):
        value = _first(statement, statement.counted, topic, partition)
        if len(value) <= BYTES_MAX:
            return statement.counted.bill_id, value
    key, revision = statement.key, statement.revision
    event_id = bill_id(key, revision)
    totals = Counts(*_counts(statement.totals))
    running = statement.running
    data = _Data(
        event_id,
        revision,
        None if revision == 0 else bill_id(key, revision - 1),
        key.team,
        format_ms(key.start_ms),
        format_ms(statement.end_ms),
        key.currency,
        totals,
        totals if statement.delta is statement.totals else Counts(*_counts(statement.delta)),
        _lines(statement.lines),
        _Running(statement.month, money_text(running.cost), running.total_tokens),
        _Coverage(topic, partition, statement.first_offset, statement.last_offset, statement.events),
    )
    kind, stated = BILLING_HOURLY if revision == 0 else BILLING_REVISED, format_ms(statement.stated_ms)
    envelope = _Event(SCHEMA, event_id, kind, SOURCE, stated, key.team, key.org, data)
    value = _encode(envelope)
    if len(value) > BYTES_MAX:
        data.lines = _lines(_fewer(statement.lines))
        value = _encode(envelope)
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


def send(statement: HourStatement, source: str, partition: int, bills: str, partitions: int) -> tuple[Send, Writes]:
    """The record for topic `bills`, keyed by org, and the table row that keeps what was stated."""
    event_id, value = event(statement, source, partition)
    key = statement.key.org.encode()
    return Send(bills, partition_for(key, partitions), key, value), {codec.bill_key(event_id): value}


def has_lines(bill: bytes, lines: Lines) -> bool:
    """Whether a bill of ours states these lines, and no others; in one that would be too long the last are together."""
    return _decode(bill).data.lines in (_lines(lines), _lines(_fewer(lines)))


def _lines(lines: Lines) -> list[_Line]:
    return [
        _Line(provider, model, *_counts(counters)) for provider, model, counters in sorted(lines, key=itemgetter(0, 1))
    ]


def _fewer(lines: Lines) -> Lines:
    """The first lines, and all others together."""
    own = [line for line in lines if line[:2] != OTHER]
    rest = Counters()
    for _, _, counters in (*own[LINES_MAX:], *(line for line in lines if line[:2] == OTHER)):
        rest.add(counters.numbers())
    return (*own[:LINES_MAX], (*OTHER, rest))


def _counts(counters: Counters) -> tuple[int, int, int, int, int, int, str]:
    """What is stated of them, in the order in which it is."""
    return (
        counters.requests,
        counters.errors,
        counters.cache_hits,
        counters.prompt_tokens,
        counters.completion_tokens,
        counters.total_tokens,
        money_text(counters.cost),
    )
