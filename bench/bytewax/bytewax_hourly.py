# mypy: ignore-errors
"""Bytewax: fold in event-time windows of an hour, snapshots in SQLite. It reads to the end, closes its windows, ends.

Committing offsets is librdkafka's, for those who watch; where Bytewax would resume is in its snapshots.
"""

import json
import os
from datetime import UTC, datetime, timedelta

import bytewax.operators as op
import bytewax.operators.windowing as win
import msgspec
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower
from confluent_kafka import OFFSET_BEGINNING

BOOTSTRAP = [os.environ["BENCH_BOOTSTRAP"]]
HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Data(msgspec.Struct, gc=False):
    total_tokens: int
    cost_usd: float
    currency: str = "USD"


class Usage(msgspec.Struct, gc=False):
    timestamp: datetime
    org_id: str
    team_id: str
    data: Data


decode = msgspec.json.Decoder(Usage).decode


def keyed(batch):
    out = []
    for message in batch:
        usage = decode(message.value)
        out.append((f"{usage.org_id}|{usage.team_id}|{usage.data.currency}", usage))
    return out


def fold(totals, usage):
    totals[0] += 1
    totals[1] += usage.data.total_tokens
    totals[2] += round(usage.data.cost_usd * 1e12)
    return totals


def merge(one, other):
    return [a + b for a, b in zip(one, other, strict=True)]


def stated(item):
    key, (window, (events, tokens, pico)) = item
    start_ms = int(window) * 3_600_000
    value = json.dumps({"events": events, "tokens": tokens, "pico": pico}).encode()
    return KafkaSinkMessage(f"{start_ms}|{key}".encode(), value)


config = {"group.id": "bytewax-hourly", "enable.auto.commit": "true", "auto.commit.interval.ms": "200"}
flow = Dataflow("hourly")
source = KafkaSource(
    BOOTSTRAP, ["llm_usage"], starting_offset=OFFSET_BEGINNING, tail=False, batch_size=5_000, add_config=config
)
usage = op.flat_map_batch("key", op.input("usage", flow, source), keyed)
clock = EventClock(lambda item: item.timestamp, wait_for_system_duration=timedelta(minutes=5))
windows = win.fold_window("hour", usage, clock, TumblingWindower(HOUR, EPOCH), lambda: [0, 0, 0], fold, merge)
op.output("state", op.map("row", windows.down, stated), KafkaSink(BOOTSTRAP, "bench_hourly"))
