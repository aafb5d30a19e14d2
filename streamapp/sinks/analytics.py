"""Captured events as rows of ClickHouse's `events` (HIP-17; PostHog's columns), in blocks that are written once.

A block is one insert of consecutive records of a partition. Its token is made from their offsets, and ClickHouse leaves
out an insert whose token it knows: a block may be written again after a crash, also by two workers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from streamapp.schemas.insights import KEPT_UNTIL_MS, CapturedEvent, decode_captured
from streamapp.schemas.rejected import Rejected
from streamapp.sinks.clickhouse import ClickHouse
from streamapp.sinks.clickhouse_schema import EVENTS, migrate

if TYPE_CHECKING:
    import pyarrow

Row = tuple[CapturedEvent, int, int]
"""Event, record timestamp (ms), offset."""


class AnalyticsEvents:
    """The table of events. Its methods block, but `parse`, which is pure."""

    def __init__(self, clickhouse: ClickHouse, keep_ip: bool) -> None:
        self._clickhouse = clickhouse
        self._keep_ip = keep_ip
        self._opened = False

    def parse(self, record: Any) -> Row | Rejected:
        """The row that a record makes, or why it is refused. What ClickHouse would refuse is refused here."""
        event = decode_captured(record.value)
        return event if isinstance(event, Rejected) else (event, record.timestamp, record.offset)

    def block(self, topic: str, partition: int, rows: Sequence[Row]) -> pyarrow.Table:
        """Rows as columns. A function of its arguments."""
        import pyarrow as pa

        count, moment = len(rows), pa.timestamp("ms", tz="UTC")
        events = [event for event, _, _ in rows]  # column by column: a tuple of each row would cost more than all else
        properties = [event.properties for event in events]
        if self._keep_ip:
            properties = [_with_ip(text, event.ip) for text, event in zip(properties, events, strict=True)]
        at_ms = [event.at_ms for event in events]
        created_ms = [min(max(stamp, 0), KEPT_UNTIL_MS - 1) for _, stamp, _ in rows]
        offsets = [offset for _, _, offset in rows]
        return pa.table(
            {
                "uuid": pa.array([event.uuid for event in events], pa.string()),
                "event": pa.array([event.event for event in events], pa.string()),
                "properties": pa.array(properties, pa.string()),
                "timestamp": pa.array(at_ms, pa.int64()).cast(moment),
                "team_id": pa.array([event.team_id for event in events], pa.string()),
                "distinct_id": pa.array([event.distinct_id for event in events], pa.string()),
                "session_id": pa.array([event.session_id for event in events], pa.string()),
                "created_at": pa.array(created_ms, pa.int64()).cast(moment),
                "_topic": pa.repeat(topic, count),
                "_partition": pa.repeat(pa.scalar(partition, pa.uint32()), count),
                "_offset": pa.array(offsets, pa.uint64()),
            }
        )

    def insert(self, block: pyarrow.Table, token: str) -> None:
        """Keep a block; one that is there already is left alone. Raises `Unavailable` to be asked again."""
        self._open()
        self._clickhouse.insert(EVENTS, block, token)

    def _open(self) -> None:
        if not self._opened:
            migrate(self._clickhouse)
            self._opened = True

    def close(self) -> None:
        self._clickhouse.close()


def token_of(topic: str, partition: int, first: int, last: int) -> str:
    """What ClickHouse knows a block by."""
    return f"{topic}:{partition}:{first}-{last}"


def _with_ip(properties: str, ip: str) -> str:
    """`$ip` among the properties, as PostHog has it, unless the client said one."""
    if not ip or '"$ip"' in properties:
        return properties
    rest = properties[1:].lstrip()
    quoted = ip.replace("\\", "\\\\").replace('"', '\\"')
    return f'{{"$ip":"{quoted}"{"" if rest.startswith("}") else ","}{rest}'
