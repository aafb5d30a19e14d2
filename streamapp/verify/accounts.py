"""What the table of metered calls holds, for the independent check: read from its changelog, with a reader of its own.

Of each partition the last row of every key up to the end that is committed: one moment of the table, because a chunk's
rows are written together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from streamapp.kafka.log.reader import Record
from streamapp.verify.usage import EXACT, ZERO

CHANGELOG_TOPIC = "rpc-billing-rpc_hourly-changelog"
_decode = msgspec.msgpack.Decoder().decode


class Who(NamedTuple):
    """An account, as its settlements name it."""

    org: str
    agent: str
    consumer: str
    currency: str

    def __str__(self) -> str:
        return f"{self.consumer} to {self.agent} of {self.org} in {self.currency}"


class Count(NamedTuple):
    """Calls of one method."""

    calls: int = 0
    cost: Decimal = ZERO

    def plus(self, calls: int, cost: Decimal) -> Count:
        return Count(self.calls + calls, EXACT.add(self.cost, cost))


Counts = dict[str, Count]


OTHER = ""
"""The name of all methods that an account does not tell apart."""


def agree(has: Counts, must: Counts, methods_min: int) -> bool:
    """Whether calls by method are those that must be there. Which methods are told apart depends on when hours closed,
    so beside the rest (`OTHER`) none may have too much, and all together must be right. With fewer than `methods_min`
    others there is no rest."""
    if OTHER not in has:
        return has == must
    named = {name: count for name, count in has.items() if name != OTHER}
    if len(named) < methods_min or not named.keys() <= must.keys():
        return False
    if any(count.calls > must[name].calls or count.cost > must[name].cost for name, count in named.items()):
        return False
    return _sum(has) == _sum(must)


def _sum(counts: Counts) -> Count:
    whole = Count()
    for count in counts.values():
        whole = whole.plus(*count)
    return whole


@dataclass
class Held:
    """What a partition's table held at one moment: everything counted below `next_offset`."""

    next_offset: int = 0
    expired_ms: int = -1  # settlements of periods that ended by then have left the table
    waiting: dict[Who, Counts] = field(default_factory=dict)  # open and pending
    first_offsets: dict[Who, int] = field(default_factory=dict)  # of what waits
    settled_until_ms: dict[Who, int] = field(default_factory=dict)


def gather(changelog: Iterable[Record]) -> dict[int, Held]:
    """Partition → its table."""
    rows: dict[tuple[int, bytes], bytes] = {}
    for record in changelog:
        if record.key is None or record.key[:1] not in b"hkp":
            continue
        if record.value is None:
            rows.pop((record.partition, record.key), None)
        else:
            rows[record.partition, record.key] = record.value
    tables: dict[int, Held] = {}
    for (partition, key), value in rows.items():
        _hold(tables.setdefault(partition, Held()), key, _decode(value))
    return tables


def _hold(held: Held, key: bytes, row: Any) -> None:
    if key == b"p":
        held.next_offset, held.expired_ms = row[0], row[2]
    elif key[:1] == b"h":
        _wait(held, Who(*_decode(key[9:])), row)
    else:
        who = Who(*_decode(key[1:]))
        held.settled_until_ms[who] = row[4]
        _wait(held, who, row[5])


def _wait(held: Held, who: Who, calls: Any) -> None:
    first_offset, _, payment, methods = calls
    if payment is None:
        return
    held.first_offsets[who] = min(first_offset, held.first_offsets.get(who, first_offset))
    counts = held.waiting.setdefault(who, {})
    for method, count, cost in methods:
        counts[method] = counts.get(method, Count()).plus(count, Decimal(cost))
