"""llm-metrics over the topic of the main benchmark: hours by provider, model and stream, held to sums of JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from itertools import islice

from bench.contender import Records
from bench.events import END_MS, HOUR_MS, Shape
from bench.groups.group import GroupBench, answered, ours
from bench.load import Prepared, Step, prepare, read
from bench.oracle import Answer, pico
from streamapp.meters.latency import codec
from streamapp.schemas.values.timestamp import parse_ms
from tables.latency.tally import ALL

GROUP = "llm-metrics"
CHANGELOG = "llm-metrics-latency-changelog"
Key = tuple[int, str, str, str]


def prepared(shape: Shape, step: Step) -> Prepared:
    """The topic of the main benchmark, with another right answer."""
    topic = prepare(shape, step)
    values = (event.value for event in islice(read(topic.template.parent / "events.tsv"), shape.events))
    file = topic.template.parent / f"oracle-{GROUP}.json"
    return replace(topic, expected=answered(file, lambda: totals_of(values)))


def totals_of(values: Iterable[str]) -> Answer:
    """(hour, provider, model, stream) → requests, errors, tokens, milliseconds, costs by currency, the slow way."""
    sums: dict[Key, Counter[str]] = {}
    for value in values:
        event = json.loads(value, parse_float=Decimal)
        at_ms, data = parse_ms(event["timestamp"]), event["data"]
        assert at_ms is not None, value
        key = (at_ms - at_ms % HOUR_MS, data["provider"], data["model"], str(data["stream"]))
        sums.setdefault(key, Counter()).update(
            {
                "requests": 1,
                "errors": data["status"] != "success",
                "tokens": data["total_tokens"],
                "latency_ms": data["latency_ms"],
                data["currency"]: pico(data["cost_usd"]),
            }
        )
    return {key: _row(counts) for key, counts in sums.items()}


def answer(records: Records) -> Answer:
    """The last state of every hour in the changelog, added up over the partitions."""
    rows = {(record.partition, record.key or b""): record.value for record in records(CHANGELOG)}
    sums: dict[Key, Counter[str]] = {}
    for (_, key), value in rows.items():
        if key[:1] != b"h" or value is None:
            continue
        at, tally = codec.unpack_window_key(key), codec.unpack_tally(value)
        if at.series == ALL or at.start_ms >= END_MS:
            continue
        name = (at.start_ms, at.series.provider, at.series.model, str(at.series.stream))
        counts = {
            "requests": tally.requests,
            "errors": tally.errors,
            "tokens": tally.total_tokens,
            "latency_ms": tally.latency.sum_us // 1000,
        }
        costs = {currency: pico(cost) for currency, cost in tally.cost.items()}
        sums.setdefault(name, Counter()).update(counts | costs)
    return {key: _row(counts) for key, counts in sums.items()}


def _row(counts: Counter[str]) -> list[list[str | int]]:
    return sorted([name, int(count)] for name, count in counts.items() if count)


LLM_METRICS = GroupBench(
    GROUP,
    prepared,
    (ours(GROUP, "streamapp.agents.llm_metrics", "counters and sketches by minute, hour and model", answer),),
)
