# mypy: ignore-errors
"""The floor: fetch, decode, add up in a dict. Nothing is durable; what any Python job has to spend at least."""

import asyncio
import json
import os
import signal
from datetime import datetime

import msgspec
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

QUIET_MS = 1_000


class Data(msgspec.Struct, gc=False):
    total_tokens: int
    cost_usd: float
    currency: str = "USD"


class Usage(msgspec.Struct, gc=False):
    timestamp: str
    org_id: str
    team_id: str
    data: Data


async def main() -> None:
    bootstrap = os.environ["BENCH_BOOTSTRAP"]
    consumer = AIOKafkaConsumer(
        "llm_usage",
        bootstrap_servers=bootstrap,
        group_id="floor",
        auto_offset_reset="earliest",
        auto_commit_interval_ms=200,
        max_partition_fetch_bytes=4 << 20,
    )
    await consumer.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    totals, stated = {}, True
    try:
        while not stop.is_set():
            fetched = await consumer.getmany(timeout_ms=QUIET_MS, max_records=5_000)
            for records in fetched.values():
                fold(records, totals)
            if fetched:
                stated = False
            elif not stated and totals:
                await state(bootstrap, totals)
                stated = True
    finally:
        await consumer.stop()


decode = msgspec.json.Decoder(Usage).decode
hours = {}


def fold(records, totals) -> None:
    for record in records:
        usage = decode(record.value)
        data = usage.data
        hour = usage.timestamp[:13]
        start_ms = hours.get(hour)
        if start_ms is None:
            start_ms = hours[hour] = int(datetime.fromisoformat(hour + ":00:00+00:00").timestamp() * 1000)
        key = (start_ms, usage.org_id, usage.team_id, data.currency)
        row = totals.get(key)
        if row is None:
            row = totals[key] = [0, 0, 0]
        row[0] += 1
        row[1] += data.total_tokens
        row[2] += round(data.cost_usd * 1e12)


async def state(bootstrap, totals) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=50) as producer:
        for key, (events, tokens, pico) in totals.items():
            value = json.dumps({"events": events, "tokens": tokens, "pico": pico}).encode()
            await producer.send("bench_hourly", value, "|".join(map(str, key)).encode())


uvloop.run(main())
