# mypy: ignore-errors
"""Faust tuned: raw bytes, batches with `take`, msgspec, one read and one write per touched row; rows are durable in
the changelog, which is the result."""

import os
from datetime import datetime

import faust
import msgspec

app = faust.App(
    "faust-take",
    broker=f"kafka://{os.environ['BENCH_BOOTSTRAP']}",
    store="memory://",
    datadir=os.environ["BENCH_STATE"],
    topic_partitions=8,
    broker_commit_interval=1.0,
    broker_max_poll_records=5_000,
    stream_buffer_maxsize=20_000,
    stream_publish_on_commit=False,
    producer_linger=0.05,
    producer_max_batch_size=262_144,
    web_enabled=False,
)
app.producer.buffer.max_messages = 100_000


class Data(msgspec.Struct, gc=False):
    total_tokens: int
    cost_usd: float
    currency: str = "USD"


class Usage(msgspec.Struct, gc=False):
    timestamp: str
    org_id: str
    team_id: str
    data: Data


decode = msgspec.json.Decoder(Usage).decode
source = app.topic("llm_usage", key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw")
# A batch mixes partitions: the key decides the changelog's partition, not the event that happens to be current.
hourly = app.Table("hourly", key_type=str, use_partitioner=True)
hours = {}


@app.agent(source)
async def count(stream):
    async for batch in stream.take(5_000, within=0.2):
        touched = {}
        for raw in batch:
            usage = decode(raw)
            data = usage.data
            key = (usage.timestamp[:13], usage.org_id, usage.team_id, data.currency)
            row = touched.get(key)
            if row is None:
                row = touched[key] = [0, 0, 0]
            row[0] += 1
            row[1] += data.total_tokens
            row[2] += round(data.cost_usd * 1e12)
        for key, (events, tokens, pico) in touched.items():
            name = f"{start_ms(key[0])}|{'|'.join(key[1:])}"
            row = hourly.get(name) or {"events": 0, "tokens": 0, "pico": 0}
            hourly[name] = {
                "events": row["events"] + events,
                "tokens": row["tokens"] + tokens,
                "pico": row["pico"] + pico,
            }


def start_ms(hour):
    if hour not in hours:
        hours[hour] = int(datetime.fromisoformat(hour + ":00:00+00:00").timestamp() * 1000)
    return hours[hour]
