"""The hours of llm-metrics as a check reads them from the changelog, with a reader of its own.

Rows are MessagePack, as `docs/adr/0018-metrics-are-rows.md` and the group's codec describe them. Keys: `p` is the
position, `h` and eight bytes the start of an hour, behind them [provider, model, stream]; empty names are all together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from streamapp.kafka.log.reader import Record
from streamapp.verify.read.event import EXACT, ZERO
from streamapp.verify.read.settlement import newest

_decode = msgspec.msgpack.Decoder().decode
STATUSES = 4  # success first
MEASURED = 2 * 14  # a sum and 13 buckets of latency, likewise of the time to the first token
REST = "other"  # models and currencies that are not told apart
COUNTS = ("errors", "cache_hits", "prompt_tokens", "completion_tokens", "total_tokens")


@dataclass
class Counted:
    """What is counted of an hour or of a part of it: events, `COUNTS`, and cost by currency."""

    events: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * len(COUNTS))
    costs: dict[str, Decimal] = field(default_factory=dict)

    def add(self, events: int, counts: Iterable[int], costs: Mapping[str, Decimal]) -> None:
        self.events += events
        self.counts = [mine + other for mine, other in zip(self.counts, counts, strict=True)]
        for currency, cost in costs.items():
            self.costs[currency] = EXACT.add(self.costs.get(currency, ZERO), cost)

    def amounts(self, one_cost: bool = False) -> dict[str, Decimal | int]:
        """By name. `one_cost`: of all currencies together."""
        costs = {f"cost {currency}": cost for currency, cost in self.costs.items()}
        if one_cost:
            costs = {"cost": sum_of(self.costs.values())}
        return dict(zip(COUNTS, self.counts, strict=True)) | costs


class Part(NamedTuple):
    """One row of an hour."""

    provider: str
    model: str
    counted: Counted

    @property
    def is_all(self) -> bool:
        """Whether it is the row of all series together."""
        return not self.provider and not self.model


@dataclass
class Table:
    """One partition's table: what it has counted, up to which offset."""

    next_offset: int = 0
    expired_ms: int = -1  # hours that ended at or before this are gone
    hours: dict[int, list[Part]] = field(default_factory=dict)


def tables(changelog: Iterable[Record]) -> dict[int, Table]:
    """Each partition's table as its last transaction left it."""
    found: dict[int, Table] = {}
    for partition, key, row in newest(changelog, b"hp"):
        table = found.setdefault(partition, Table())
        if key == b"p":
            table.next_offset, _, table.expired_ms = row[:3]
        else:
            provider, model, _ = _decode(key[9:])
            hour_ms = int.from_bytes(key[1:9], "big", signed=True)
            table.hours.setdefault(hour_ms, []).append(Part(provider, model, _counted(row)))
    return found


def together(parts: Iterable[Part]) -> Counted:
    """The sum of several."""
    whole = Counted()
    for part in parts:
        whole.add(part.counted.events, part.counted.counts, part.counted.costs)
    return whole


def sum_of(amounts: Iterable[Decimal]) -> Decimal:
    """Exact."""
    whole = ZERO
    for amount in amounts:
        whole = EXACT.add(whole, amount)
    return whole


def _counted(row: list[Any]) -> Counted:
    numbers, costs = row[:2]
    *statuses, cache_hits, prompt, completion = map(int, numbers[: STATUSES + 3])
    further = [int(number) for number in numbers[STATUSES + 3 + MEASURED :]]
    other_status, other_tokens = further[:2] if further else (0, 0)  # older rows have none
    statuses.append(other_status)
    counts = [sum(statuses[1:]), cache_hits, prompt, completion, prompt + completion + other_tokens]
    return Counted(sum(statuses), counts, {currency: Decimal(cost) for currency, cost in costs.items()})
