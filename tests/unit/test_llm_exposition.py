"""Prometheus' text of llm-metrics, read back by Prometheus' own client."""

from __future__ import annotations

from decimal import Decimal

from prometheus_client.parser import text_string_to_metric_families

from streamapp.meters.latency.exposition import PartitionCounts, Quantiles, counters, gauges
from tables.latency.tally import Series, Tally

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
STRANGE = 'a "model"\\of\nours'
NAMES = {"partition": "3", "provider": "p", "model": STRANGE, "stream": "true"}


PARTITION = frozenset({("partition", "3")})


class Call:
    prompt_tokens, completion_tokens, total_tokens, cost_usd, cache_hit = 10, 5, 17, Decimal("0.000000000001"), True
    ttft_ms = None

    def __init__(self, status: str, latency_ms: float | None) -> None:
        self.status, self.latency_ms = status, latency_ms


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset((NAMES | labels).items())))


def test_counters_are_what_was_counted() -> None:
    tally = Tally()
    for status, latency_ms in (("success", 99), ("success", 100), ("timeout", 300_000.001)):
        tally.count_one(Call(status, latency_ms), "USD")
    found = samples(counters([PartitionCounts(3, {Series("p", STRANGE, True): tally}, {"too_late": 2}, 7)]))
    assert of(found, "hanzo_llm_requests_total", status="success") == 2
    assert of(found, "hanzo_llm_requests_total", status="timeout") == 1
    assert of(found, "hanzo_llm_requests_total", status="error") is None
    assert of(found, "hanzo_llm_errors_total") == 1
    assert of(found, "hanzo_llm_cache_hits_total") == 3
    assert of(found, "hanzo_llm_tokens_total", type="prompt") == 30
    assert of(found, "hanzo_llm_cost_total", currency="USD") == 3e-12
    name = "hanzo_llm_request_duration_seconds"
    buckets = [found[f"{name}_bucket", PARTITION | {("le", le)}] for le in ("0.1", "0.25", "300.0", "+Inf")]
    assert buckets == [2, 2, 2, 3]
    assert (found[f"{name}_sum", PARTITION], found[f"{name}_count", PARTITION]) == (300.199001, 3)
    assert not [key for key in found if key[0].startswith("hanzo_llm_time_to_first_token")]
    assert found["hanzo_llm_duplicates_total", frozenset({("partition", "3")})] == 7
    assert found["hanzo_llm_refused_total", frozenset({("partition", "3"), ("reason", "too_late")})] == 2


def test_measurements_that_are_ignored_are_counted_and_statuses_beyond_the_known_are_other() -> None:
    tally = Tally()
    for status, latency_ms in (("failure", -1.0), ("", None), ("success", 100.0)):
        tally.count_one(Call(status, latency_ms), "USD")
    found = samples(counters([PartitionCounts(3, {Series("p", STRANGE, True): tally}, {}, 0)]))
    name = "hanzo_llm_measurements_ignored_total"
    assert of(found, name, measurement="latency", reason="unusable") == 1
    assert of(found, name, measurement="latency", reason="missing") == 1
    assert of(found, name, measurement="ttft", reason="missing") == 3
    assert of(found, name, measurement="ttft", reason="unusable") is None
    assert found["hanzo_llm_request_duration_seconds_count", PARTITION] == 1
    assert of(found, "hanzo_llm_requests_total", status="other") == 2
    assert of(found, "hanzo_llm_errors_total") == 2
    assert tally.total_tokens == 51


def test_quantiles_are_absent_while_somebody_is_silent() -> None:
    one = Quantiles(Series("p", "m", None), "1m", (0.5, 1.0, 2.0), None)
    text = gauges([one], 0)
    labels = frozenset({("provider", "p"), ("model", "m"), ("stream", "unknown"), ("window", "1m")})
    found = samples(text)
    name = "hanzo_llm_request_duration_quantile_seconds"
    assert [found[name, labels | {("quantile", rank)}] for rank in ("0.5", "0.95", "0.99")] == [0.5, 1.0, 2.0]
    assert gauges([one], 2).splitlines()[-1] == "hanzo_llm_partitions_unanswered 2"
    assert f"{name}{{" not in gauges([one], 2)
    assert f"# TYPE {name} summary" in gauges([one], 2), "unknown, and told of"


def test_no_counts_no_text() -> None:
    assert counters([]) == ""
