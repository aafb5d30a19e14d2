"""The hours of llm-metrics as the independent check reads them from the changelog, with a reader of its own.

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
from streamapp.verify.pair import Sums
from streamapp.verify.usage import EXACT, ZERO

_decode = msgspec.msgpack.Decoder().decode
STATUSES = 4  # success first
MEASURED = 2 * 14  # a sum and 13 buckets of latency, likewise of the time to the first token
REST = "other"  # models and currencies that are not told apart


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
    rows: dict[tuple[int, bytes], bytes | None] = {}
    for record in changelog:
        if record.key is not None and record.key[:1] in (b"h", b"p"):
            rows[record.partition, record.key] = record.value
    found: dict[int, Table] = {}
    for (partition, key), value in rows.items():
        if value is None:
            continue
        table = found.setdefault(partition, Table())
        if key == b"p":
            table.next_offset, _, table.expired_ms = _decode(value)[:3]
        else:
            provider, model, _ = _decode(key[9:])
            part = Part(provider, model, _sums(_decode(value)))
            table.hours.setdefault(int.from_bytes(key[1:9], "big", signed=True), []).append(part)
    return found


def total(parts: Iterable[Sums]) -> Sums:
    """Sums of several."""
    events, amounts = 0, dict[str, Decimal]()
    for part in parts:
        events += part.events
        for name, amount in part.amounts.items():
            amounts[name] = EXACT.add(amounts.get(name, ZERO), amount)
    return Sums(events, amounts)


def _sums(row: list[Any]) -> Sums:
    numbers, costs = row[:2]
    *statuses, cache_hits, prompt, completion = map(int, numbers[: STATUSES + 3])
    further = [int(number) for number in numbers[STATUSES + 3 + MEASURED :]]
    other_status, other_tokens = further[:2] if further else (0, 0)  # rows of before have none
    statuses.append(other_status)
    counts = {
        "errors": sum(statuses[1:]),
        "cache_hits": cache_hits,
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion + other_tokens,
    }
    amounts = {name: Decimal(count) for name, count in counts.items()}
    return Sums(sum(statuses), amounts | {f"cost {currency}": Decimal(cost) for currency, cost in costs.items()})
