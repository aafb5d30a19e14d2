"""`/latency` over a fleet: sums and quantiles of all workers together, and what is said when one is silent."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from spreads import count_one
from test_web_pages import Reader, visit
from web_fake import NOW_MS, FakeWorker, Served, World

from streamapp.facts.worker import CallFacts, Span
from streamapp.web import show
from streamapp.web.pages.models.latency import charts_of
from tables.latency.spread import Spread

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
NAMES = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms")
WORLD = World(hours_back=1)
CALLS = 1_000


def latency_us(partition: int, number: int) -> int:
    return 1_000 * (partition * CALLS + number) + 50_000


class Idle(FakeWorker):
    """A worker of llm-metrics that has counted nothing."""

    group = "llm-metrics"


class Counting(FakeWorker):
    """A worker of llm-metrics: each of its partitions has counted so many calls in each of the last two minutes."""

    group = "llm-metrics"

    def tables(self) -> tuple[str, ...]:
        return ("latency",)

    def calls(self, partition: int, span: Span, from_ms: int, until_ms: int, each: bool) -> list[CallFacts]:
        length_ms = MINUTE_MS if span == "minute" else HOUR_MS
        now_ms = NOW_MS // length_ms * length_ms
        starts = [start for start in (now_ms - length_ms, now_ms) if from_ms <= start < until_ms]
        spread = Spread()
        for number in range(CALLS):
            count_one(spread, latency_us(partition, number))
        provider, model, stream = ("together", "zen", True) if each else ("", "", None)
        cost = {"USD": Decimal("0.000000000001")}
        return [
            CallFacts(start, provider, model, stream, CALLS, 1, 2, 30, 40, cost, spread.bins, {}) for start in starts
        ]


def fleet() -> tuple[Counting, Counting]:
    return Counting(WORLD, "metrics-0", range(4)), Counting(WORLD, "metrics-1", range(4, 8))


def check_true(row: dict[str, Any], partitions: Iterable[int]) -> None:
    durations = sorted(latency_us(partition, number) for partition in partitions for number in range(CALLS))
    for rank in (50, 95, 99):
        true_ms = durations[rank * (len(durations) - 1) // 100] / 1000
        assert abs(row[f"latency_p{rank}_ms"] - true_ms) <= 0.01 * true_ms
    assert row["ttft_p50_ms"] is None


def test_minutes_hours_and_models_are_of_the_whole_fleet() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        status, text, _ = await reader.get("/latency.json?minutes=60")
        assert status == 200
        document = json.loads(text)
        assert (document["missing"], document["partitions_unanswered"]) == ([], [])
        before, now = document["minutes"]
        assert (before["start_ms"], now["start_ms"]) == (1_737_110_460_000, 1_737_110_520_000)
        assert (now["requests"], now["errors"], now["total_tokens"]) == (8 * CALLS, 8, 8 * 70)
        assert now["cost"] == {"USD": "0.000000000008"}
        assert len(document["hours"]) == 2
        (model,) = document["models"]
        assert (model["provider"], model["model"], model["stream"]) == ("together", "zen", True)
        for row in (before, now, model, *document["hours"]):
            check_true(row, range(8))
        status, page, _ = await reader.get("/latency")
        assert status == 200
        assert "zen" in page
        assert f"{model['requests']:,}" in page

    visit(check, *fleet(), timeout_s=5)


def test_a_silent_worker_is_named_and_quantiles_are_absent() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        _, metrics, _ = await reader.get("/metrics")
        assert 'quantile_seconds{provider="together",model="zen",stream="true",window="1m",quantile="0.99"}' in metrics
        assert "hanzo_llm_partitions_unanswered 0" in metrics
        await served[1].stop()
        WORLD.now_ms += 2_000  # answers are shared for a second
        document = await reader.json("/latency.json?minutes=5")
        assert document["missing"] == [served[1].url]
        assert document["partitions_unanswered"] == [4, 5, 6, 7]
        check_true(document["minutes"][-1], range(4))
        _, page, _ = await reader.get("/latency")
        assert served[1].url in page
        _, metrics, _ = await reader.get("/metrics")
        assert "quantile=" not in metrics
        assert "hanzo_llm_partitions_unanswered 4" in metrics
        WORLD.now_ms -= 2_000

    visit(check, *fleet(), timeout_s=5)


def test_a_partition_that_two_claim_counts_once() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        document = await reader.json("/latency.json?minutes=5")
        assert document["minutes"][-1]["requests"] == 8 * CALLS

    first, second = fleet()
    second.owned.add(3)
    visit(check, first, second, timeout_s=5)


def test_minutes_that_cannot_be_shown_are_refused() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        for minutes in ("0", "121", "x", "-1", "1e9"):
            assert (await reader.get(f"/latency.json?minutes={minutes}"))[0] == 400

    visit(check, *fleet(), timeout_s=5)


def test_workers_that_have_counted_nothing_have_an_empty_page() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        document = await reader.json("/latency.json")
        assert (document["minutes"], document["models"], document["hours"]) == ([], [], [])
        status, page, _ = await reader.get("/latency")
        assert status == 200
        assert "No model has been called" in page

    visit(check, Idle(WORLD, "idle-0"), timeout_s=5)


def test_a_window_and_a_filter_choose_what_is_drawn() -> None:
    async def check(reader: Reader, served: list[Served]) -> None:
        _, hours, _ = await reader.get("/latency?window=24h")
        assert 'data-step="3600"' in hours
        _, minutes, _ = await reader.get("/latency?model=ZEN")
        assert 'data-step="60"' in minutes
        assert [f'data-chart="{name}"' in minutes for name in ("latency", "errors", "requests")] == [True] * 3
        assert "0.10 %" in minutes, "one call of a thousand failed"
        assert "p95, ms" in minutes
        _, none, _ = await reader.get("/latency?model=nothing-like-it")
        assert "data-chart" not in none
        assert json.loads((await reader.get("/latency.json?model=nothing-like-it"))[1])["models"] == []
        status, text, _ = await reader.get("/latency?window=1w")
        assert (status, "1h, 2h, 24h, 48h" in text) == (400, True)

    visit(check, *fleet())


def test_a_figure_has_one_unit() -> None:
    windows: list[dict[str, Any]] = [{"start_ms": 0, "requests": 2, "errors": 1} | dict.fromkeys(NAMES, 12_000.0)]
    windows += [{"start_ms": MINUTE_MS, "requests": 0, "errors": 0} | dict.fromkeys(NAMES)]
    latency, errors, requests = charts_of(windows, 0, MINUTE_MS, 3)
    assert (latency.unit, errors.unit, requests.unit) == ("s", "%", "")
    assert list(errors.series[0][2]) == [50.0, None, None]
    assert list(requests.series[0][2]) == [2, 0, 0]
    assert [show.latency(value, "s") for value in (12_000.0, 940.0, None)] == ["12.0", "0.9", "–"]
    assert [show.latency(value, show.latency_unit(9_999)) for value in (1_234.5, 0.4)] == ["1,234", "0"]
