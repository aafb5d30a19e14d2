"""What a contender is, and how its answers are read."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.load import PROJECT, RESULTS
from bench.oracle import Answer, Bucket, Table, Totals, counted, pico
from streamapp.kafka.log.reader import Record, read
from streamapp.schemas.values.timestamp import parse_ms

Command = tuple[str, ...]
Records = Callable[[str], Iterator[Record]]
"""Topic → its committed records."""


class Missing(Exception):
    """A contender cannot run here; the text says what it needs."""


@dataclass(frozen=True, slots=True)
class Run:
    """Where one run takes place: `folder` is empty and the contender's own."""

    bootstrap: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to compute hourly usage.

    prepare     makes its environment, raises `Missing`; the first time it may take minutes
    commands    the processes of a run, started together
    group       whose committed offsets tell how far it is
    answer      reads what it produced
    events_max  it is given at most so many events, because it is slow; its rates are of those
    ends_itself it reads to the end, states its hours, and exits: then it has finished
    home        the working directory of its processes
    """

    name: str
    what: str
    prepare: Callable[[], None]
    commands: Callable[[Run], tuple[Command, ...]]
    group: str
    answer: Callable[[Records], Answer]
    environment: Callable[[Run], Mapping[str, str]] = field(default=lambda run: {})
    events_max: int | None = None
    ends_itself: bool = False
    stop: signal.Signals = signal.SIGTERM
    home: Path = PROJECT


def records_of(bootstrap: str) -> Records:
    """Reader of a broker's topics."""
    return lambda topic: read({"bootstrap.servers": bootstrap}, topic)


def stated(records: Records) -> Table:
    """Hours on the results topic: key `start_ms|org|team|currency`, value `{"events", "tokens", "pico"}`; the last
    statement of an hour counts."""
    return hours((record.key, record.value) for record in records(RESULTS))


def hours(rows: Iterator[tuple[bytes | None, bytes | None]]) -> Table:
    """The last value of every key."""
    table: Table = {}
    for key, value in rows:
        start_ms, org, team, currency = (key or b"").decode().strip('"').split("|")  # Faust writes keys as JSON
        totals: Mapping[str, Any] = json.loads(value or b"")
        bucket = Bucket(int(start_ms), org, team, currency)
        table[bucket] = Totals(totals["events"], totals["tokens"], totals["pico"])
    return counted(table)


def billed(records: Records) -> Table:
    """Hours on `billing_events`: the highest revision of a bucket counts."""
    newest: dict[Bucket, tuple[int, Totals]] = {}
    for record in records("billing_events"):
        event = json.loads(record.value or b"")
        data = event["data"]
        start_ms = parse_ms(data["period_start"])
        assert start_ms is not None
        totals = data["totals"]
        bucket = Bucket(start_ms, event["org_id"], event["team_id"], data["currency"])
        known = newest.get(bucket)
        if known is None or known[0] < data["revision"]:
            newest[bucket] = (
                data["revision"],
                Totals(totals["requests"], totals["total_tokens"], pico(totals["cost"])),
            )
    return counted({bucket: totals for bucket, (_, totals) in newest.items()})
