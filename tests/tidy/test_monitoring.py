"""deploy/: rules, scrape configuration, routes and dashboards fit each other, the runbook and what processes tell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from documented import commands
from project import PROJECT
from promtool import DEPLOY, amtool, dashboards, promtool
from scrape_record import differences, family, recorded

from streamapp.settings import Settings
from streamapp.topics.registry import GROUPS, port_offset

RULES, SCRAPES = DEPLOY / "prometheus" / "rules.yml", DEPLOY / "prometheus" / "prometheus.yml"
ROUTES = DEPLOY / "alertmanager" / "alertmanager.yml"
RUNBOOK, REFERENCE = PROJECT / "docs" / "runbook.md", PROJECT / "docs" / "reference.md"
BASE_PORT = 6066

METRIC = re.compile(r"\b(?:kafka|stream|hanzo_llm|capture)_[a-z_]+\b")
DOCUMENTED = re.compile(r"^\| `([a-z_]+)` \| (?:counter|gauge|histogram|summary|info) \|", re.MULTILINE)
METRIC_ROW = r"^\| `(\w+)` \| (counter|gauge|histogram|summary|info) \| ([\w, ]*) \|"
ENDINGS = re.compile(r"_(?:bucket|count|sum)$")


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def alerts() -> list[dict[str, Any]]:
    return [rule for group in loaded(RULES)["groups"] for rule in group["rules"]]


def sections(page: Path) -> dict[str, str]:
    """Anchor → what stands below its heading."""
    parts = re.split(r"^#+ (?=[A-Z…a-z])(.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"): text for heading, text in pairs}


def metrics(expressions: Iterator[str]) -> set[str]:
    return {ENDINGS.sub("", name) for text in expressions for name in METRIC.findall(text)}


def used() -> set[str]:
    """Every metric of ours in an alert or a panel."""
    texts = [rule["expr"] for rule in alerts()] + dashboards().expressions()
    return metrics(re.sub(r'"[^"]*"', "", text) for text in texts)


def test_prometheus_and_alertmanager_accept_their_files() -> None:
    promtool("check", "config", SCRAPES)
    amtool("check-config", ROUTES)


def test_every_alert_says_what_is_wrong_and_where_to_read_on() -> None:
    """At a command, too, and by its name, which is on the pager; `tests/broker/test_runbook.py` runs each."""
    known, names = sections(RUNBOOK), [rule["alert"] for rule in alerts()]
    assert len(names) == len(set(names)) > 30
    for rule in alerts():
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule
        assert rule["annotations"]["summary"], rule
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (page, anchor in known) == ("docs/runbook.md", True), rule
        assert list(commands(known[anchor], "streamapp")), (rule["alert"], anchor)
        assert f"`{rule['alert']}`" in known[anchor], f"the section does not name {rule['alert']}"


@pytest.mark.parametrize(("severity", "receiver"), [("critical", "pagerduty"), ("warning", "team")])
def test_what_is_critical_wakes_somebody(severity: str, receiver: str) -> None:
    given = f"--config.file={ROUTES}"
    found = {amtool("config", "routes", "test", given, f"severity={severity}").splitlines()[0]}
    assert found == {receiver}


def test_inhibitions_speak_of_alerts_that_exist() -> None:
    names = {rule["alert"] for rule in alerts()}
    for rule in loaded(ROUTES)["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            pattern = matcher.partition("alertname")[2].lstrip("=~").strip('"')
            for one in pattern.split("|"):
                assert [name for name in names if re.fullmatch(one, name)], (one, matcher)


def test_every_registered_group_is_missed_when_nobody_speaks_of_it() -> None:
    (rule,) = [one for one in alerts() if one["alert"] == "GroupUnwatched"]
    assert re.findall(r'absent\(stream_group_members\{group="(.+?)"\}\)', rule["expr"]) == [one.name for one in GROUPS]


def test_every_process_of_a_run_is_scraped() -> None:
    jobs = {job["job_name"]: job["static_configs"] for job in loaded(SCRAPES)["scrape_configs"]}
    found = {target for configs in jobs.values() for config in configs for target in config["targets"]}
    settings = Settings.model_construct()
    ports = [BASE_PORT + port_offset(group.name) + n for group in GROUPS for n in range(group.consumers)]
    ports += [settings.capture.port, settings.reconcile.port, settings.watch.port, settings.registry.port, 9404]
    assert found == {f"127.0.0.1:{port}" for port in ports}


def test_dashboards_are_as_their_script_makes_them() -> None:
    script = dashboards()
    for name in script.DASHBOARDS:
        assert (DEPLOY / "grafana" / f"{name}.json").read_text(encoding="utf-8") == script.rendered(name), name


def test_every_panel_is_an_expression_that_prometheus_understands(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(dashboards().expressions())]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert "SUCCESS" in promtool("check", "rules", "--lint=none", file)


def test_what_is_asked_for_is_told_and_what_is_told_is_asked_for() -> None:
    told = set(DOCUMENTED.findall(REFERENCE.read_text(encoding="utf-8")))
    old = {name for name in told if name.startswith("capture_")} | {"stream_sink_trouble"}  # for one release
    debugging = re.search(r"^For debugging, on no dashboard: (.+?)\.$", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL)
    assert debugging is not None
    spare = set(re.findall(r"`(\w+)`", debugging[1]))
    asked = used()
    assert asked - told == set(), "no process tells it"
    assert spare & asked == set(), "it is on a dashboard"
    assert told - old - asked - spare == set(), "nobody asks for it"
    assert spare <= told


def test_every_metric_is_in_the_recorded_scrape_with_its_type_and_labels() -> None:
    """Of rules, panels and the reference; and nothing is told that the reference does not know."""
    record = recorded()
    assert {family(name) for name in used()} - record.keys() == set()
    rows = re.findall(METRIC_ROW, REFERENCE.read_text(encoding="utf-8"), re.MULTILINE)
    documented = {family(name): (type_, {one for one in labels.split(", ") if one}) for name, type_, labels in rows}
    assert documented.keys() == record.keys()
    for name, (type_, labels) in documented.items():
        assert record[name].type == type_, name
        assert record[name].labels in (None, labels), name


def test_a_scrape_that_differs_from_the_record_is_found() -> None:
    record = dict(recorded())
    assert differences(record) == []
    lag = record["kafka_consumer_group_lag"]
    labels = frozenset({"group"})
    assert len(differences(record | {"stream_new": lag})) == 1
    assert len(differences({name: one for name, one in record.items() if one != lag})) >= 1
    assert len(differences(record | {"kafka_consumer_group_lag": lag._replace(type="counter")})) == 1
    assert len(differences(record | {"kafka_consumer_group_lag": lag._replace(labels=labels)})) == 1
    assert differences(record | {"kafka_consumer_group_lag": lag._replace(labels=None)}) == [], "nothing was seen of it"
