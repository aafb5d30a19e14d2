"""What Prometheus is told of dead letters is what the table says, at the moment it asks."""

from __future__ import annotations

from streamapp.meters.letters.metrics import LetterCounts, LetterMetrics
from streamapp.metrics import GroupMetrics

SOURCE = ("llm_usage", "billing-agg", "too_late")


def test_counters_follow_the_table_and_are_there_before_it() -> None:
    counts = [LetterCounts()]
    metrics = GroupMetrics("dead-letter-monitor")
    metrics.registry.register(LetterMetrics(lambda: counts[0]))
    assert "stream_incidents_open 0.0" in metrics.exposition().decode()
    counts[0].totals[SOURCE] += 12_345
    counts[0].window[SOURCE] += 5
    counts[0].told["pagerduty", "delivered"] += 2
    counts[0].waiting["webhook"] = 1
    counts[0].open = 3
    lines = metrics.exposition().decode().splitlines()
    labels = '{group="billing-agg",reason="too_late",source_topic="llm_usage"}'
    for line in (
        f"stream_dead_letters_total{labels} 12345.0",
        f"stream_dead_letters_window{labels} 5.0",
        'stream_alerts_total{destination="pagerduty",outcome="delivered"} 2.0',
        'stream_alerts_waiting{destination="webhook"} 1.0',
        "stream_incidents_open 3.0",
    ):
        assert line in lines, line
