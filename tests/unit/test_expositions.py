"""What each kind of process tells Prometheus: accepted by promtool, nothing that means nothing, and not too much."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

import aiohttp
import pytest
from letters_fake import FakeLetters, letter
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from promtool import check_metrics
from web_fake import FakeWorker, World, serving

from streamapp.agents.registry import AGENTS
from streamapp.capture.counters import Counters
from streamapp.dead_letters.done import Receipt
from streamapp.meters.latency import exposition
from streamapp.meters.latency.exposition import PartitionCounts, Quantiles
from streamapp.meters.registry import TABLES
from streamapp.meters.registry import declared as declared_table
from streamapp.metrics import TEXT, GroupMetrics, waiting_letters, wants_openmetrics
from streamapp.reconcile.reconciler import Standing
from streamapp.reconcile.server import ReconcileMetrics
from streamapp.settings import KafkaSettings
from streamapp.sinks.registry import SINKS
from streamapp.sinks.registry import declared as declared_sink
from streamapp.verify.pairs import Outcome
from streamapp.verify.report import PairReport
from streamapp.watch.metrics import WatchMetrics
from streamapp.watch.watcher import Watcher
from tables.latency.tally import STATUSES, Series, Tally

GROUPS = {declared_table(name).group: declared_table(name) for name, _ in TABLES} | {
    declared_sink(name).group: declared_sink(name) for name, _ in SINKS
}
PARTITIONS = 4  # of llm_usage, of each of the standard's two consumers
MODELS = 15
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
WORLD = World(hours_back=2)
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


def worker(group: str) -> GroupMetrics:
    """The metrics of a worker that has done everything once."""
    metrics = GroupMetrics(group, GROUPS[group].role)
    metrics.committed(10, 0.1, 2.5, TRACE)
    metrics.rejected("too_late")
    metrics.stated("hourly", 1, [400.0])
    metrics.owns("topic", 2)
    metrics.took_over(1.5)
    metrics.rebalances.inc()
    metrics.sink_asked(0.3, True)
    metrics.sink_asked(30.0, False)
    metrics.at("topic", 0, lag=1, watermark_ms=1000, open_rows=2)
    metrics.gathers("topic", 0, gathered=3, trouble=True)
    return metrics


def read_openmetrics(text: bytes) -> dict[str, Metric]:
    families = openmetrics(text.decode())  # type: ignore[no-untyped-call]
    return {family.name: family for family in families}


def traces(family: Metric) -> set[str]:
    """Trace ids of exemplars."""
    found = (sample.exemplar for sample in family.samples)
    return {exemplar.labels["trace_id"] for exemplar in found if exemplar is not None}


def names(text: bytes) -> set[str]:
    return {family.name for family in text_string_to_metric_families(text.decode())}


def series(text: bytes) -> int:
    return sum(not line.startswith("#") for line in text.decode().splitlines())


def test_every_group_has_an_agent_whose_metrics_are_looked_at() -> None:
    assert GROUPS.keys() == {group for group, _, _ in AGENTS}


@pytest.mark.parametrize("group", GROUPS)
def test_a_worker_tells_what_means_something_for_its_group(group: str) -> None:
    text = worker(group).exposition()
    check_metrics(text)
    found = names(text)
    assert {"stream_build_info", "stream_partitions_owned", "stream_rebalances", "stream_takeover_seconds"} <= found
    assert not [name for name in found if name.endswith("_created")]
    assert ("stream_sink_request_seconds" in found) == (
        group in {"billing-ledger", "audit-archive", "analytics-ingest"}
    )
    assert ("stream_sink_request_seconds" in found) == ("stream_watermark_timestamp_seconds" not in found)
    assert ("stream_statements" in found) == (group in {"billing-agg", "rpc-billing"})
    assert ("stream_open_rows" in found) == ("stream_usage_to_bill_seconds" in found) == ("stream_statements" in found)
    assert ("stream_events_rejected" in found) == (group not in {"llm-metrics", "dead-letter-monitor"})
    assert series(text) < 120


def test_an_exemplar_names_the_trace_for_whoever_reads_openmetrics() -> None:
    assert wants_openmetrics("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
    assert not wants_openmetrics("text/plain")
    more = exposition.counters([PartitionCounts(0, {}, {"too_late": 1}, 2)], openmetrics=True).encode()
    text = worker("llm-metrics").exposition(openmetrics=True, more=more + waiting_letters(5.0, 1, 2, True))
    found = read_openmetrics(text)
    assert found["hanzo_llm_duplicates"].samples[0].value == 2
    assert found["stream_dead_letters_redriven"].samples[0].value == 2
    assert traces(found["stream_capture_to_table_seconds"]) == {TRACE}


def test_capture_tells_everything_under_one_prefix_and_for_a_release_under_the_old_one() -> None:
    counters = Counters(lambda: (1, 2), lambda: 3)
    counters.answered(200, "ok", 0.01)
    counters.refused["malformed_json"] += 2
    counters.unreadable["web"] += 1
    counters.events = 5
    counters.acknowledged(0.02, PARENT.encode())
    text = counters.exposition()
    check_metrics(text)
    found = names(text)
    assert "stream_build_info" in found
    old = {name for name in found if name.startswith("capture_")}
    assert len(old) == 9
    assert {f"stream_{name}" for name in old} <= found
    assert all(name.startswith(("stream_", "capture_", "process_")) for name in found)
    lines = text.decode().splitlines()
    assert 'stream_capture_events_total{outcome="accepted"} 5.0' in lines
    assert 'stream_capture_events_total{outcome="dead_letter"} 2.0' in lines
    found_too = read_openmetrics(counters.exposition(openmetrics=True))
    assert traces(found_too["stream_capture_to_topic_seconds"]) == {TRACE}


def test_reconcile_and_watch_tell_what_promtool_accepts_in_both_formats() -> None:
    checked = Standing("left=right", Outcome("left=right", 0.0, PairReport("left=right", "", "")), 0, 0)
    reconcile = ReconcileMetrics(lambda: [checked], lambda: {"topic_name": 1})
    watcher = Watcher(KafkaSettings(), lambda: 0, 15, registry=())
    for metrics in (reconcile, WatchMetrics(lambda: watcher.known)):
        text = metrics.exposition()
        check_metrics(text)
        found = read_openmetrics(metrics.exposition(openmetrics=True))
        assert "stream_build" in found
        assert names(text) - {"stream_build_info"} == found.keys() - {"stream_build"}


def test_dead_letters_that_wait() -> None:
    text = waiting_letters(None, 0, 7, False)
    check_metrics(text)
    assert b"stream_dead_letters_oldest_waiting_seconds 0.0" in text
    assert b"stream_dead_letters_redriven_total 7.0" in text


class Call:
    prompt_tokens, completion_tokens, total_tokens, cost_usd, cache_hit = 10, 5, 17, Decimal("0.001"), True
    latency_ms, ttft_ms = 900.0, 100.0

    def __init__(self, status: str) -> None:
        self.status = status


def test_a_worker_of_llm_metrics_tells_at_most_1500_series() -> None:
    tally = Tally()
    for status in STATUSES[:3]:
        tally.count_one(Call(status), "USD")
    all_series = [Series("p", f"model-{n}", stream) for n in range(MODELS) for stream in (True, False)]
    counts = [PartitionCounts(n, dict.fromkeys(all_series, tally), {"too_late": 1}, 1) for n in range(PARTITIONS)]
    quantiles = [
        Quantiles(one, window, (0.5, 1, 2), (0.1, 0.2, 0.3) if one.stream else None)
        for one in all_series
        for window in ("1m", "1h")
    ]
    more = exposition.gauges(quantiles, 0).encode() + exposition.counters(counts).encode()
    text = worker("llm-metrics").exposition(more=more)
    check_metrics(text)
    told = Counter(line.partition("{")[0] for line in text.decode().splitlines() if line[0] != "#")
    assert series(text) <= 1500, told
    assert told["hanzo_llm_request_duration_quantile_seconds"] == MODELS * 2 * 2 * 3


class LettersWorker(FakeWorker):
    """A worker of dead-letter-monitor."""

    def tables(self) -> tuple[str, ...]:
        return ("letters",)


def test_the_worker_with_the_dead_letters_tells_how_long_they_wait() -> None:
    letters = [letter(number, WORLD.now_ms - 60_000) for number in range(3)]
    done = Receipt(letters[0].id, "redriven", 0)

    async def run() -> str:
        worker = LettersWorker(WORLD, "agg-0")
        known = FakeLetters(letters, [done])
        async with (
            serving(worker, letters=known) as served,
            aiohttp.ClientSession() as session,
            session.get(served[0].url + "/metrics") as answer,
        ):
            assert answer.headers["Content-Type"] == TEXT
            return await answer.text()

    told = asyncio.run(run()).splitlines()
    assert "stream_dead_letters_waiting 2.0" in told
    assert "stream_dead_letters_redriven_total 1.0" in told
    assert "stream_dead_letters_oldest_waiting_seconds 60.0" in told
