"""Databases of ClickHouse, and events for them. The fixtures are in `clickhouse_fixtures.py`."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from streamapp.exact.partition.place import Place
from streamapp.schemas.judging.insights import CapturedEvent, decode_captured
from streamapp.schemas.values.timestamp import format_ms
from streamapp.sinks.clickhouse.client import ClickHouse
from streamapp.sinks.clickhouse.columns import EventColumns
from streamapp.sinks.clickhouse.events import AnalyticsEvents, Row, row_of, token_of

TOPIC = "events_plugin_ingestion"
PLACE = Place("analytics-ingest", TOPIC, 3, "id", 16, {})
AT_MS = 1_736_937_060_456


class Record(NamedTuple):
    """As the topic has it."""

    value: bytes | None
    offset: int
    timestamp: int = AT_MS + 1000
    key: bytes | None = None


def captured(number: int, at: str | int = AT_MS, **data: object) -> bytes:
    envelope = {
        "schema": "hanzo.stream.v1",
        "id": f"evt_{number}",
        "type": "insights.event.captured",
        "source": "insights-capture",
        "timestamp": format_ms(at) if isinstance(at, int) else at,
        "team_id": "team_a",
        "data": {
            "event": "$pageview",
            "distinct_id": f"user_{number}",
            "properties": {"number": number},
            "uuid": f"01942a00-0000-7000-8000-{number:012d}",
            **data,
        },
    }
    return json.dumps(envelope).encode()


def accepted(value: bytes | None) -> CapturedEvent:
    event = decode_captured(value)
    assert isinstance(event, CapturedEvent), event
    return event


def columns_of(rows: list[Row]) -> EventColumns:
    columns = EventColumns(keep_ip=False)
    for row in rows:
        columns.add(row)
    return columns


class Events:
    """A database of its own, and how events get there."""

    def __init__(self, clickhouse: ClickHouse, keep_ip: bool = False) -> None:
        self.clickhouse = clickhouse
        self.events = AnalyticsEvents(clickhouse)
        self.keep_ip = keep_ip

    def rows(self, *values: bytes, first: int = 0) -> list[Row]:
        records = [Record(value, first + number) for number, value in enumerate(values)]
        return [row_of(accepted(record.value), record, self.keep_ip) for record in records]

    def insert(self, rows: list[Row], token: str | None = None, *, again: bool = False) -> None:
        own = token_of(PLACE, rows[0].offset, rows[-1].offset)
        self.events.insert(self.block(3, rows), token or own, again=again)

    def block(self, partition: int, rows: list[Row]) -> Any:
        """In two chunks, when there is more than one."""
        pieces = [rows[:1], rows[1:]] if len(rows) > 1 else [rows]
        return self.events.block(TOPIC, partition, [columns_of(piece).arrow() for piece in pieces])

    def ask(self, what: str, rest: str = "") -> list[tuple[Any, ...]]:
        database = self.clickhouse.database
        return [tuple(row) for row in self.clickhouse.rows(f"SELECT {what} FROM {database}.events{rest}")]

    def lose(self, which: str) -> None:
        """These rows are gone; their tokens are not."""
        statement = f"ALTER TABLE {self.clickhouse.database}.events DELETE WHERE {which}"
        self.clickhouse.command(f"{statement} SETTINGS mutations_sync = 2")

    @property
    def count(self) -> int:
        return int(self.ask("count()")[0][0])
