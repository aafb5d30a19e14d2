"""How a check reads a settlement, and what the table of metered calls holds, from its changelog.

Of each partition the last row of every key up to the end that is committed is one moment of the table: a chunk's rows
are written together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from streamapp.kafka.log.reader import Record
from streamapp.verify.read.event import EXACT, HOUR_MS, ZERO, Poison, at, parse, time_ms
from streamapp.verify.read.totals import Coverage

RPC_SETTLED = "billing.rpc.settled"
CHANGELOG_TOPIC = "rpc-billing-rpc_hourly-changelog"
CARRIED = 7  # of an account's row, if anything was ever carried
METHODS_MIN = 10  # the lowest limit of methods that the settings take
OTHER = ""
"""The name of all methods that an account does not tell apart."""

_decode = msgspec.msgpack.Decoder().decode


class Who(NamedTuple):
    """An account, as its settlements name it."""

    org: str
    agent: str
    consumer: str
    currency: str

    def __str__(self) -> str:
        return f"{self.consumer} to {self.agent} of {self.org} in {self.currency}"


class Count(msgspec.Struct, frozen=True):
    """Calls of one method."""

    count: int = 0
    cost: Decimal = ZERO

    def plus(self, other: Count) -> Count:
        return Count(self.count + other.count, EXACT.add(self.cost, other.cost))


Counts = dict[str, Count]


class Data(msgspec.Struct):
    """The event's data, as the standard names it."""

    agent: str
    consumer: str
    currency: str
    period_start: str
    period_end: str
    amount: Decimal
    request_count: int
    methods: Counts
    coverage: Coverage
    settlement_id: Any = None
    carried: Counts = {}  # corrections of settlements before


class _Event(msgspec.Struct):
    id: str
    org_id: str
    data: Data


class Settled(NamedTuple):
    """One settlement as stated."""

    where: str
    id: str
    who: Who
    start_ms: int
    end_ms: int
    data: Data
    problems: tuple[str, ...]  # what does not hold within it


def settled(record: Record) -> Settled | str | None:
    """The settlement in a record, or why it cannot be read; None for a record that is none."""
    event = parse(record.value)
    if isinstance(event, Poison) or event.get("type") != RPC_SETTLED:
        return None
    try:
        read = msgspec.convert(event, _Event)
        data = read.data
        who = Who(read.org_id, data.agent, data.consumer, data.currency)
        stated = Settled(at(record), read.id, who, time_ms(data.period_start), time_ms(data.period_end), data, ())
    except ValueError as error:
        return f"is not a settlement that can be read: {error}"
    return stated._replace(problems=tuple(_problems(stated, record)))


def _problems(stated: Settled, record: Record) -> Iterator[str]:
    data = stated.data
    if data.settlement_id != stated.id:
        yield "settlement_id is not the envelope's id"
    if record.key != stated.who.org.encode():
        yield "the record key is not the org"
    whole = total(data.methods.values())
    if EXACT.add(whole.cost, total(data.carried.values()).cost) != data.amount:
        yield "its methods and what is carried do not add up to its amount"
    if not whole.count == data.request_count == data.coverage.events:
        yield "its methods, request_count and coverage do not count the same calls"
    if stated.start_ms % HOUR_MS or stated.end_ms % HOUR_MS or stated.start_ms >= stated.end_ms:
        yield "its period is not of full hours"


def summed(several: Iterable[Counts]) -> Counts:
    counts: Counts = {}
    for one in several:
        for method, count in one.items():
            counts[method] = counts.get(method, Count()).plus(count)
    return counts


def total(counts: Iterable[Count]) -> Count:
    whole = Count()
    for count in counts:
        whole = whole.plus(count)
    return whole


def agree(has: Counts, must: Counts, methods_min: int = METHODS_MIN) -> bool:
    """Whether calls by method are those that must be there. Which methods are told apart depends on when hours closed,
    so beside the rest (`OTHER`) none may have too much, and all together must be right. With fewer than `methods_min`
    others there is no rest."""
    if OTHER not in has:
        return has == must
    named = {name: count for name, count in has.items() if name != OTHER}
    if len(named) < methods_min or not named.keys() <= must.keys():
        return False
    if any(count.count > must[name].count or count.cost > must[name].cost for name, count in named.items()):
        return False
    return total(has.values()) == total(must.values())


@dataclass
class Held:
    """What a partition's table held at one moment: everything counted below `next_offset`."""

    next_offset: int = 0
    expired_ms: int = -1  # settlements of periods that ended by then have left the table
    waiting: dict[Who, Counts] = field(default_factory=dict)  # open and pending
    first_offsets: dict[Who, int] = field(default_factory=dict)  # of what waits
    settled_until_ms: dict[Who, int] = field(default_factory=dict)
    carried: dict[Who, Counts] = field(default_factory=dict)  # waits for the next settlement


def newest(changelog: Iterable[Record], prefixes: bytes) -> Iterator[tuple[int, bytes, Any]]:
    """Partition, key and decoded row of the last row of every key that begins with one of these bytes."""
    rows: dict[tuple[int, bytes], bytes | None] = {}
    for record in changelog:
        if record.key is not None and record.key[:1] in prefixes:
            rows[record.partition, record.key] = record.value
    return ((partition, key, _decode(row)) for (partition, key), row in rows.items() if row is not None)


def gather(changelog: Iterable[Record]) -> dict[int, Held]:
    """Partition → its table."""
    tables: dict[int, Held] = {}
    for partition, key, row in newest(changelog, b"hkp"):
        held = tables.setdefault(partition, Held())
        if key == b"p":
            held.next_offset, held.expired_ms = row[0], row[2]
        elif key[:1] == b"h":
            _wait(held, Who(*_decode(key[9:])), row)
        else:
            who = Who(*_decode(key[1:]))
            held.settled_until_ms[who] = row[4]
            _wait(held, who, row[5])
            if len(row) > CARRIED:
                held.carried[who] = _counts(row[CARRIED])
    return tables


def _wait(held: Held, who: Who, calls: Any) -> None:
    first_offset, _, payment, methods = calls
    if payment is None:
        return
    held.first_offsets[who] = min(first_offset, held.first_offsets.get(who, first_offset))
    held.waiting[who] = summed([held.waiting.get(who, {}), _counts(methods)])


def _counts(methods: Any) -> Counts:
    """A damaged row may name a method twice."""
    return summed({method: Count(count, Decimal(cost))} for method, count, cost in methods)
