"""The hours of llm-metrics as a check reads them from the changelog, with a reader of its own.

Rows are MessagePack, as `docs/adr/0018-metrics-are-rows.md` and the group's codec describe them. Keys: `p` is the
position, `h` and eight bytes the start of an hour, behind them [provider, model, stream]; empty names are all together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from streamapp.kafka.log.reader import Record
from streamapp.verify.read.settlement import newest
from streamapp.verify.report import Sums

_decode = msgspec.msgpack.Decoder().decode
STATUSES = 4  # success first
MEASURED = 2 * 14  # a sum and 13 buckets of latency, likewise of the time to the first token
REST = "other"  # models and currencies that are not told apart
COUNTS = ("errors", "cache_hits", "prompt_tokens", "completion_tokens", "total_tokens")


class Part(NamedTuple):
    """One row of an hour."""

    provider: str
    model: str
    sums: Sums

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
            table.hours.setdefault(hour_ms, []).append(Part(provider, model, _sums(row)))
    return found


def together(parts: Iterable[Part]) -> Sums:
    whole = Sums()
    for part in parts:
        whole.add(part.sums.events, part.sums.amounts)
    return whole


def _sums(row: list[Any]) -> Sums:
    numbers, costs = row[:2]
    *statuses, cache_hits, prompt, completion = map(int, numbers[: STATUSES + 3])
    further = [int(number) for number in numbers[STATUSES + 3 + MEASURED :]]
    other_status, other_tokens = further[:2] if further else (0, 0)  # older rows have none
    statuses.append(other_status)
    counts = (sum(statuses[1:]), cache_hits, prompt, completion, prompt + completion + other_tokens)
    amounts: dict[str, Decimal | int] = dict(zip(COUNTS, counts, strict=True))
    return Sums(sum(statuses), amounts | {f"cost {currency}": Decimal(cost) for currency, cost in costs.items()})
