# mypy: ignore-errors
"""Faust as its documentation shows it: models, an agent, a table on RocksDB; the table's changelog is the result."""

import os
from datetime import datetime

import faust

app = faust.App(
    "faust-hourly",
    broker=f"kafka://{os.environ['BENCH_BOOTSTRAP']}",
    store="rocksdb://",
    datadir=os.environ["BENCH_STATE"],
    topic_partitions=8,
    broker_commit_interval=1.0,
    broker_max_poll_records=5_000,
    web_enabled=False,
)


class Data(faust.Record):
    total_tokens: int
    cost_usd: float
    currency: str = "USD"


class Usage(faust.Record):
    timestamp: str
    org_id: str
    team_id: str
    data: Data


source = app.topic("llm_usage", key_type=bytes, key_serializer="raw", value_type=Usage, value_serializer="json")
hourly = app.Table("hourly", key_type=str)


@app.agent(source)
async def count(stream):
    async for usage in stream:
        hour = datetime.fromisoformat(usage.timestamp[:13] + ":00:00+00:00")
        key = f"{int(hour.timestamp()) * 1000}|{usage.org_id}|{usage.team_id}|{usage.data.currency}"
        row = hourly.get(key) or {"events": 0, "tokens": 0, "pico": 0}
        row["events"] += 1
        row["tokens"] += usage.data.total_tokens
        row["pico"] += round(usage.data.cost_usd * 1e12)
        hourly[key] = row
