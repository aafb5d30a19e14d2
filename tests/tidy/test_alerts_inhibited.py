"""Which alerts are kept back while a worse one fires: labels as Prometheus gives them, Alertmanager itself judges."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import yaml
from conftest import wait_until
from promtool import promtool
from test_alerts_fire import BLIND, COMMIT, GROWTH, LAG, LOSS, MINUTES, SUCCESS, WELL, always, kafka, members
from test_monitoring import ROUTES, RULES, alerts

from streamapp.processes.child import HOST, Child, free_port, listens

SEVERITY = {rule["alert"]: rule["labels"]["severity"] for rule in alerts()}
OURS, OTHER = {"group": "billing-agg"}, {"group": "llm-metrics"}
TOPIC, PAIR = {"topic": "llm_usage"}, {"pair": "usage=bills"}
OTHER_LAG = LAG.replace("billing-agg", "llm-metrics")
DOWN = {"job": "kafka", "instance": "kafka-0"}
AWAY = {"instance": "kafka-1"}
REPLICAS = "kafka_under_replicated_partitions"
BEHIND = {LAG: always(1_000_001), OTHER_LAG: always(200_000)}
Firing = tuple[str, dict[str, str]]


class Case(NamedTuple):
    """At a minute, with these series otherwise than in a world that is well: these alerts are told, those kept back."""

    minute: int
    changes: dict[str, str | None]
    told: list[Firing]
    kept_back: list[Firing]


CASES = {
    "the worse of two thresholds, of the same group only": Case(
        60,
        {**BEHIND, GROWTH: always(5)},
        [("ConsumerLagCritical", OURS), ("ConsumerLagHigh", OTHER)],
        [("ConsumerLagHigh", OURS), ("ConsumerLagGrows", OURS | TOPIC)],
    ),
    "the shorter of two times until loss": Case(
        1,
        {LOSS: always(14_399)},
        [("RecordsExpireNow", OURS | TOPIC)],
        [("RecordsExpireSoon", OURS | TOPIC)],
    ),
    "a group without workers, and not the time until loss": Case(
        60,
        {members("billing-agg"): always(0), COMMIT: always(5000), **BEHIND, LOSS: always(80_000)},
        [("GroupWithoutMembers", OURS), ("ConsumerLagHigh", OTHER), ("RecordsExpireSoon", OURS | TOPIC)],
        [("ConsumerLagHigh", OURS), ("ConsumerLagCritical", OURS), ("GroupCommitsNothing", OURS)],
    ),
    "writes that are refused, of the same broker only": Case(
        6,
        {
            kafka("under_min_isr_partitions"): always(1),
            kafka("under_replicated_partitions"): always(1),
            f'{REPLICAS}{{instance="kafka-1"}}': always(1),
        },
        [("UnderMinIsrPartitions", {"instance": "kafka-0"}), ("UnderReplicatedPartitions", AWAY)],
        [("UnderReplicatedPartitions", {"instance": "kafka-0"})],
    ),
    "what cannot be well while a broker is down, and not what money says": Case(
        60,
        {
            'up{job="kafka",instance="kafka-0"}': always(0),
            SUCCESS: "0+60x10 600x180",
            'stream_reconciliation_difference{pair="usage=bills"}': always(1),
            'stream_reconciliation_failed{pair="usage=bills"}': always(1),
            f'{REPLICAS}{{instance="kafka-1"}}': always(1),
            **BLIND,
        },
        [("BrokerDown", DOWN), ("ReconciliationDifference", PAIR), ("GroupUnwatched", {"group": "*"})],
        [("WatchBlind", {}), ("ReconciliationFailed", PAIR), ("UnderReplicatedPartitions", AWAY)],
    ),
    "lag that nobody can read": Case(
        60,
        {SUCCESS: "0+60x10 600x180", members("billing-agg"): always(0), COMMIT: always(5000), **BEHIND},
        [("WatchBlind", {})],
        [
            ("GroupWithoutMembers", OURS),
            ("GroupCommitsNothing", OURS),
            ("ConsumerLagCritical", OURS),
            ("ConsumerLagHigh", OURS),
            ("ConsumerLagHigh", OTHER),
        ],
    ),
}


class Alertmanager:
    """The server, with the routes of deploy/. It tells nobody: the first group waits ten seconds."""

    def __init__(self, port: int) -> None:
        self._url = f"http://{HOST}:{port}/api/v2/alerts"

    def post(self, firing: list[dict[str, str]]) -> None:
        body = json.dumps([{"labels": labels} for labels in firing]).encode()
        with urlopen(Request(self._url, body, {"Content-Type": "application/json"}), timeout=30) as answer:
            assert answer.status == 200

    def kept_back(self) -> dict[str, list[str]]:
        """Every alert, as text → by which others it is kept back."""
        with urlopen(self._url, timeout=30) as answer:
            found = json.load(answer)
        return {text(one["labels"]): one["status"]["inhibitedBy"] for one in found}


@contextmanager
def server(folder: Path) -> Iterator[Alertmanager]:
    port = free_port()
    options = [f"--config.file={ROUTES}", f"--storage.path={folder}", f"--web.listen-address={HOST}:{port}"]
    options += ["--cluster.listen-address=", "--log.level=error"]
    child = Child(shutil.which("prometheus-alertmanager") or "alertmanager", options, folder / "log")
    try:
        wait_until(lambda: listens(port), 60)
        yield Alertmanager(port)
    finally:
        child.end(signal.SIGTERM, 20)


def text(labels: dict[str, str]) -> str:
    return json.dumps(labels, sort_keys=True)


def labelled(firing: list[Firing]) -> list[dict[str, str]]:
    """All labels of alerts. `*` stands for every registered group."""
    every = [name.partition('"')[2].rstrip('"}') for name in WELL if name.startswith("stream_group_members")]
    return [
        {"alertname": name, "severity": SEVERITY[name]} | ({"group": group} if group else {}) | labels_but_group(labels)
        for name, labels in firing
        for group in (every if labels.get("group") == "*" else [labels.get("group", "")])
    ]


def labels_but_group(labels: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name != "group"}


def judged(case: Case) -> dict[str, Any]:
    """A test as promtool reads it: exactly these alerts fire, with these labels."""
    series = {name: values for name, values in (WELL | case.changes).items() if values is not None}
    expected = [
        {"labels": "ALERTS" + selector(labels | {"alertstate": "firing"}), "value": 1}
        for labels in labelled(case.told + case.kept_back)
    ]
    asked = 'ALERTS{alertstate="firing"}'
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": asked, "eval_time": f"{case.minute}m", "exp_samples": expected}],
    }


def selector(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def test_the_alerts_of_the_cases_are_those_that_prometheus_fires(tmp_path: Path) -> None:
    assert max(case.minute for case in CASES.values()) <= MINUTES
    file = tmp_path / "alerts.yml"
    tests = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": list(map(judged, CASES.values()))}
    file.write_text(yaml.safe_dump(tests))
    assert "SUCCESS" in promtool("test", "rules", file)


def test_alertmanager_keeps_back_what_follows_from_something_worse(tmp_path: Path) -> None:
    """One server for each case: alerts of two cases would keep each other back."""
    for number, (name, case) in enumerate(CASES.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        check(folder, name, case)


def check(folder: Path, name: str, case: Case) -> None:
    with server(folder) as found:
        told, kept_back = labelled(case.told), labelled(case.kept_back)
        found.post(told)
        wait_until(lambda: len(found.kept_back()) == len(told), 30)
        found.post(kept_back)
        must = {text(one) for one in kept_back}
        wait_until(lambda: {one for one, by in found.kept_back().items() if by} >= must, 30)
        status = found.kept_back()
        assert status.keys() == {text(one) for one in told} | must, name
        assert {one for one, by in status.items() if by} == must, name


def test_every_inhibition_has_a_case() -> None:
    rules = yaml.safe_load(ROUTES.read_text(encoding="utf-8"))["inhibit_rules"]
    assert len(rules) == len(CASES)
