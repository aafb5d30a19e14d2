"""Each alert fires when it should, and nothing else does: series as processes tell them, judged by Prometheus."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from promtool import promtool
from scrape_record import family, recorded
from test_monitoring import DOCUMENTED, REFERENCE, RULES, alerts

from streamapp.topics.registry import GROUPS

MINUTES = 200
CLOCK = f"0+60x{MINUTES}"  # a timestamp of now: promtool begins at 0 and steps a minute
PLACE = 'group="billing-agg",topic="llm_usage",partition="0"'
LAG = f"kafka_consumer_group_lag{{{PLACE}}}"
GROWTH = 'stream_lag_growth{group="billing-agg",topic="llm_usage"}'
LOSS = f"stream_seconds_to_loss{{{PLACE}}}"
EXPIRED = f"stream_records_expired_unread_total{{{PLACE}}}"
COMMIT = 'stream_commit_age_seconds{group="billing-agg"}'
WATERMARK, OPEN = f"stream_watermark_timestamp_seconds{{{PLACE}}}", f"stream_open_rows{{{PLACE}}}"
SUCCESS = "stream_watch_last_success_timestamp_seconds"
PAIR = 'pair="usage=bills"'
LOST = 'stream_money_lost{group="billing-agg",topic="llm_usage"}'
TROUBLE = 'stream_sink_failing{group="billing-ledger",topic="billing_events",partition="0"}'
REFUSED = 'stream_events_rejected_total{group="billing-agg",reason="too_late"}'
BUSY = 'stream_capture_requests_total{status="503",slug="kafka_away"}'
DISK = 'kubelet_volume_stats_available_bytes{persistentvolumeclaim="data-kafka-0"}'
BROKER = 'instance="kafka-0"'


def members(group: str) -> str:
    return f'stream_group_members{{group="{group}"}}'


def kafka(name: str) -> str:
    return f"kafka_{name}{{{BROKER}}}"


def always(value: float) -> str:
    return f"{value}x{MINUTES}"


WELL = {
    **{members(group.name): always(2) for group in GROUPS},
    LAG: always(120),
    GROWTH: always(0),
    LOSS: always(1_200_000),
    EXPIRED: always(0),
    COMMIT: always(5),
    SUCCESS: CLOCK,
    'stream_watch_unknown{reason="kafka"}': always(0),
    WATERMARK: CLOCK,
    OPEN: always(3),
    LOST: always(0),
    TROUBLE: always(0),
    REFUSED: always(7),
    BUSY: always(4),
    'stream_rebalances_total{group="billing-agg"}': always(3),
    "stream_dead_letters_oldest_waiting_seconds": always(3600),
    f"stream_reconciliation_difference{{{PAIR}}}": always(0),
    f"stream_reconciliation_failed{{{PAIR}}}": always(0),
    f"stream_reconciliation_last_success_timestamp_seconds{{{PAIR}}}": CLOCK,
    'stream_topics_findings{kind="topic_name"}': always(0),
    kafka("under_replicated_partitions"): always(0),
    kafka("under_min_isr_partitions"): always(0),
    kafka("offline_partitions"): always(0),
    kafka("active_controllers"): always(1),
    kafka("offline_log_directories"): always(0),
    kafka("request_handler_idle_ratio"): always(0.9),
    kafka("messages_in_per_sec"): always(100),
    f'up{{job="kafka",{BROKER}}}': always(1),
    'up{job="stream-workers",instance="a"}': always(1),
    DISK: always(60),
    DISK.replace("available", "capacity"): always(100),
    'certmanager_certificate_expiration_timestamp_seconds{name="kafka"}': always(10_000_000),
}


class Case(NamedTuple):
    """At a minute, with these series otherwise than in a world that is well, these alerts fire and no others."""

    minute: int
    changes: dict[str, str | None]
    fires: set[str]


def gone(*series: str) -> dict[str, str | None]:
    return dict.fromkeys(series)


BLIND = gone(LAG, GROWTH, LOSS, EXPIRED, COMMIT, *(members(group.name) for group in GROUPS))
OFF = [name for name in WELL if name.startswith("kafka_") and "consumer" not in name]

RENEWED = {'certmanager_certificate_expiration_timestamp_seconds{name="kafka-tls"}': always(90 * 86_400 + 3_600)}
STARTED = f'process_start_time_seconds{{job="kafka",{BROKER}}}'

CASES = [
    Case(60, {}, set()),
    Case(60, {LAG: always(100_000)}, set()),
    Case(60, {LAG: always(100_001)}, {"ConsumerLagHigh"}),
    Case(60, {LAG: always(1_000_001)}, {"ConsumerLagHigh", "ConsumerLagCritical"}),
    Case(14, {LAG: always(20_000), GROWTH: always(5)}, set()),
    Case(15, {LAG: always(20_000), GROWTH: always(5)}, {"ConsumerLagGrows"}),
    Case(1, {LOSS: always(86_399)}, {"RecordsExpireSoon"}),
    Case(1, {LOSS: always(14_399)}, {"RecordsExpireSoon", "RecordsExpireNow"}),
    Case(60, {LOSS: always(100), LAG: always(0)}, set()),  # nothing is unread: nothing can be lost
    Case(41, {EXPIRED: "0x40 50x100"}, {"RecordsExpiredUnread"}),
    Case(41, {LOST: "0x40 9x100"}, {"MoneyLost"}),
    Case(1, {members("billing-agg"): always(0)}, {"GroupWithoutMembers"}),  # the second evaluation
    Case(60, {members("billing-agg"): always(0), LAG: always(0)}, set()),
    Case(60, {COMMIT: always(901)}, {"GroupCommitsNothing"}),
    Case(60, {COMMIT: always(901), LAG: always(0)}, set()),
    Case(14, {SUCCESS: "0+60x10 600x180", **BLIND}, {"WatchBlind"}),
    Case(60, gone(SUCCESS, *BLIND), {"WatchAway", "GroupUnwatched"}),
    Case(20, {'stream_watch_unknown{reason="denied"}': always(2)}, {"WatchUnknown"}),
    Case(11, {"stream_registry_writable": always(0)}, {"SchemasReadOnly"}),
    Case(61, {'stream_unregistered{kind="topic",name="X"}': always(1)}, {"Unregistered"}),
    Case(4, {kafka("under_replicated_partitions"): always(1)}, set()),
    Case(5, {kafka("under_replicated_partitions"): always(1)}, {"UnderReplicatedPartitions"}),
    Case(2, {kafka("under_min_isr_partitions"): always(1)}, {"UnderMinIsrPartitions"}),
    Case(2, {kafka("offline_partitions"): always(1)}, {"OfflinePartitions"}),
    Case(2, {kafka("active_controllers"): always(0)}, {"NoActiveController"}),
    Case(2, {kafka("offline_log_directories"): always(1)}, {"BrokerDirectoryOffline"}),
    Case(20, {kafka("request_handler_idle_ratio"): always(0.1)}, {"BrokerBusy"}),
    Case(
        14,
        {f'up{{job="kafka",{BROKER}}}': always(0), SUCCESS: "0+60x10 600x180", **gone(*OFF), **BLIND},
        {"BrokerDown", "WatchBlind"},
    ),
    Case(6, {DISK: always(14)}, {"BrokerDiskFull"}),
    Case(
        60,
        {'certmanager_certificate_expiration_timestamp_seconds{name="kafka"}': always(1_000_000)},
        {"CertificateExpires"},
    ),
    Case(61, {**RENEWED, STARTED: always(3_599)}, {"CertificateNotLoaded"}),
    Case(59, {**RENEWED, STARTED: always(3_599)}, set()),
    Case(61, {**RENEWED, STARTED: always(3_600)}, set()),
    Case(140, {WATERMARK: always(0)}, {"MoneyOpenLong"}),
    Case(140, {WATERMARK: always(0), OPEN: always(0)}, set()),  # a quiet night: the clock has closed everything
    Case(6, {TROUBLE: always(1)}, {"SinkTrouble"}),
    Case(40, {'stream_rebalances_total{group="billing-agg"}': f"3+1x{MINUTES}"}, {"RebalancesOften"}),
    Case(42, {REFUSED: "7x40 8x100"}, {"RecordsRefused"}),
    Case(60, {"stream_dead_letters_oldest_waiting_seconds": always(22 * 86_400)}, {"DeadLettersWait"}),
    Case(40, {BUSY: f"4+5x{MINUTES}"}, {"CaptureRefuses"}),
    Case(3, {'up{job="stream-workers",instance="a"}': always(0)}, {"ProcessDown"}),
    Case(1, {f"stream_reconciliation_difference{{{PAIR}}}": always(1)}, {"ReconciliationDifference"}),
    Case(16, {f"stream_reconciliation_failed{{{PAIR}}}": always(1)}, {"ReconciliationFailed"}),
    Case(125, {f"stream_reconciliation_last_success_timestamp_seconds{{{PAIR}}}": always(0)}, {"ReconciliationOld"}),
    Case(61, {'stream_topics_findings{kind="topic_name"}': always(1)}, {"TopicsFindings"}),
    Case(16, gone(f"stream_reconciliation_difference{{{PAIR}}}"), {"ReconciliationAway"}),
]


def judged(case: Case) -> dict[str, Any]:
    """A test as promtool reads it."""
    series = {name: values for name, values in (WELL | case.changes).items() if values is not None}
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(case.fires)]
    asked = 'count by (alertname) (count by (alertname) (ALERTS{alertstate="firing"}))'
    return {
        "interval": "1m",
        "name": f"minute {case.minute}: {sorted(case.fires)}",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": asked, "eval_time": f"{case.minute}m", "exp_samples": expected}],
    }


def test_alerts_fire_when_they_should_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "alerts.yml"
    tests = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": list(map(judged, CASES))}
    file.write_text(yaml.safe_dump(tests))
    assert "SUCCESS" in promtool("test", "rules", file)


def test_every_alert_has_a_case() -> None:
    assert {name for case in CASES for name in case.fires} == {rule["alert"] for rule in alerts()}


@pytest.mark.parametrize("series", WELL)
def test_a_case_has_the_labels_that_processes_tell(series: str) -> None:
    name, _, labels = series.partition("{")
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| ([\w, ]*) \|", REFERENCE.read_text(), re.MULTILINE)
    told = {metric: {one for one in text.split(", ") if one} for metric, text in rows}
    if name not in DOCUMENTED.findall(REFERENCE.read_text()):
        assert name == "up" or name.startswith(("kubelet_", "certmanager_"))
        return
    found = set(re.findall(r'(\w+)="', labels)) - {"instance"}
    assert found == told[name], series
    assert recorded()[family(name)].labels in (None, found), series
