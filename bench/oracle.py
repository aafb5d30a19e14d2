"""The right answer, computed the slow and obvious way, and the comparison with what a contender produced."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from bench.events import BASE_MS, END_MS, HOUR_MS
from streamapp.schemas.values.timestamp import parse_ms

PICO = 12  # costs are compared as integers of 1e-12, which is exact: an event has at most 12 decimals


class Bucket(NamedTuple):
    """Whose hour."""

    start_ms: int
    org: str
    team: str
    currency: str


class Totals(NamedTuple):
    """What was used in it."""

    events: int = 0
    tokens: int = 0
    cost_pico: int = 0


Table = dict[Bucket, Totals]
Answer = Mapping[Any, Any]
"""What somebody found out, by key: a `Table`, or another group's."""


def totals_of(values: Iterable[str]) -> Table:
    """Hourly totals of the events, closing records left out."""
    table: Table = {}
    for value in values:
        event = json.loads(value, parse_float=Decimal)
        at_ms = parse_ms(event["timestamp"])
        assert at_ms is not None, value
        data = event["data"]
        bucket = Bucket(at_ms - at_ms % HOUR_MS, event["org_id"], event["team_id"], data.get("currency", "USD"))
        before = table.get(bucket, Totals())
        table[bucket] = Totals(
            before.events + 1, before.tokens + data["total_tokens"], before.cost_pico + pico(data["cost_usd"])
        )
    return counted(table)


def pico(cost: Decimal | int | str) -> int:
    """An amount in units of 1e-12. Raises ValueError when it is not a whole number of them."""
    scaled = Decimal(cost).scaleb(PICO)
    whole = int(scaled)
    if whole != scaled:
        raise ValueError(f"{cost} has more than {PICO} decimals")
    return whole


def counted(table: Mapping[Bucket, Totals]) -> Table:
    """The hours that count: those of the input's span."""
    return {bucket: totals for bucket, totals in table.items() if BASE_MS <= bucket.start_ms < END_MS}


def differences(expected: Answer, got: Answer) -> list[str]:
    """One sentence per key that is missing, wrong or made up, in the order of the keys; empty: all is right."""
    sentences = []
    for bucket in sorted(expected.keys() | got.keys()):
        want, have = expected.get(bucket), got.get(bucket)
        if want != have:
            sentences.append(f"{'/'.join(map(str, bucket))}: {have} instead of {want}")
    return sentences


def dump(table: Mapping[Bucket, Totals]) -> str:
    """As JSON, for a file."""
    return json.dumps([[*bucket, *totals] for bucket, totals in sorted(table.items())])


def parse(text: str) -> Table:
    """Inverse of `dump`."""
    rows: list[list[Any]] = json.loads(text)
    return {Bucket(*row[:4]): Totals(*row[4:]) for row in rows}
