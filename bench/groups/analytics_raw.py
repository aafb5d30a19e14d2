"""Insert blocks, and nothing else: the reference that analytics-ingest is held to, with blocks as large and as old as
its settings say."""

from __future__ import annotations

import time
from collections import defaultdict

import pyarrow as pa

from bench.groups.bare_loop import BareLoop
from streamapp.errors import Unavailable
from streamapp.settings import load
from streamapp.sinks.clickhouse.client import ClickHouse
from streamapp.sinks.clickhouse.schema import EVENTS, migrate

ROWS = 60_000  # a block may be one fetch more than the settings say
PROPERTIES = '{"$current_url":"https://hanzo.ai/page/17","$browser":"Chrome","$os":"macOS","$lib":"web","price":1.5}'


def block() -> pa.Table:
    """So many rows, as large as those of the events."""
    numbers, moment = range(ROWS), pa.timestamp("ms", tz="UTC")
    return pa.table(
        {
            "uuid": [f"01942a00-0000-7000-8000-{number:012d}" for number in numbers],
            "event": ["$pageview"] * ROWS,
            "properties": [PROPERTIES] * ROWS,
            "timestamp": pa.array([1_736_937_120_000 + number for number in numbers], pa.int64()).cast(moment),
            "team_id": [f"team_{number % 1000}" for number in numbers],
            "distinct_id": [f"user_{number}" for number in numbers],
            "session_id": [f"sess_{number // 20}" for number in numbers],
            "created_at": pa.array([1_736_937_120_000] * ROWS, pa.int64()).cast(moment),
            "_topic": ["events_plugin_ingestion"] * ROWS,
            "_partition": pa.array([0] * ROWS, pa.uint32()),
            "_offset": pa.array(numbers, pa.uint64()),
        }
    )


def connected() -> ClickHouse:
    """The engine, when it answers."""
    clickhouse = ClickHouse(load().clickhouse)
    while True:
        try:
            migrate(clickhouse)
            return clickhouse
        except Unavailable:
            time.sleep(0.2)


def main() -> None:
    """Read the topic from its beginning until SIGTERM."""
    clickhouse, whole, limits = connected(), block(), load().clickhouse
    waiting: dict[int, int] = defaultdict(int)
    last: dict[int, int] = {}
    since_s: dict[int, float] = {}
    loop = BareLoop("events_plugin_ingestion", "analytics-raw")
    for messages in loop.fetched():
        for message in messages:
            if not waiting[message.partition()]:
                since_s[message.partition()] = time.monotonic()
            waiting[message.partition()] += 1
            last[message.partition()] = message.offset()
        for partition, count in list(waiting.items()):
            full = count >= min(ROWS, limits.batch_rows)
            if full or (count and time.monotonic() - since_s[partition] >= limits.flush_seconds):
                clickhouse.insert(EVENTS, whole.slice(0, min(count, ROWS)), f"{partition}:{last[partition]}")
                loop.kept(partition, count, last[partition])
                waiting[partition] = 0


if __name__ == "__main__":
    main()
