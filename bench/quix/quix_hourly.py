# mypy: ignore-errors
"""Quix Streams: hour windows on RocksDB with a changelog, stated when the partition's time closes them."""

import os

from quixstreams import Application

app = Application(
    broker_address=os.environ["BENCH_BOOTSTRAP"],
    consumer_group="quix-hourly",
    state_dir=os.environ["BENCH_STATE"],
    auto_offset_reset="earliest",
    commit_interval=1.0,
    consumer_extra_config={"fetch.min.bytes": 65_536},
    producer_extra_config={"linger.ms": 50, "compression.type": "lz4"},
    auto_create_topics=True,
    loglevel="INFO",
)
source = app.topic("llm_usage", key_deserializer="str", value_deserializer="json")
target = app.topic("bench_hourly", key_serializer="str", value_serializer="json")


def first(usage):
    return add({}, usage)


def add(hour, usage):
    data = usage["data"]
    place = f"{usage['org_id']}|{usage['team_id']}|{data.get('currency', 'USD')}"
    totals = hour.setdefault(place, [0, 0, 0])
    totals[0] += 1
    totals[1] += data["total_tokens"]
    totals[2] += round(data["cost_usd"] * 1e12)
    return hour


def rows(window):
    return [
        {"key": f"{window['start']}|{place}", "events": events, "tokens": tokens, "pico": pico}
        for place, (events, tokens, pico) in window["value"].items()
    ]


stream = app.dataframe(source)
stream = stream.tumbling_window(duration_ms=3_600_000, grace_ms=300_000).reduce(reducer=add, initializer=first)
stream = stream.final(closing_strategy="partition").apply(rows, expand=True)
stream = stream.to_topic(target, key=lambda item: item["key"])

if __name__ == "__main__":
    app.run()
