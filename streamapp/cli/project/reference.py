"""The reference of everything that has a name: Markdown made from the code, so that it cannot say something else.

Pure: facts in, text out. What this layer may not import (settings rows, commands, agents, pages) is handed in by
`streamapp docs`.
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from prometheus_client import Metric

from streamapp.access.wanted import matrix, principals, wanted
from streamapp.broker.exporter import BEANS
from streamapp.errors import StreamError
from streamapp.meters.latency.exposition import FAMILIES
from streamapp.meters.letters.metrics import LetterCounts, LetterMetrics
from streamapp.metrics import Families, GroupMetrics, waiting_families
from streamapp.reconcile.reconciler import Standing
from streamapp.reconcile.server import ReconcileMetrics
from streamapp.registry.log import Log
from streamapp.registry.registry import Registry
from streamapp.registry.server import RegistryMetrics
from streamapp.schemas.catalog import CATALOG
from streamapp.schemas.judging.rejected import Reason
from streamapp.settings import KafkaSettings
from streamapp.topics.findings import KINDS
from streamapp.topics.registry import DAY_MS, GROUPS, TOPICS, Topic, writers
from streamapp.verify.pairs import Outcome
from streamapp.verify.report import PairReport
from streamapp.watch.lag import REASONS, STATES, GroupSeries, Series, Unread
from streamapp.watch.metrics import WatchMetrics
from streamapp.watch.money import Money
from streamapp.watch.watcher import Known

TITLE = """# Reference

Made by `make docs` from the code; do not edit. `make check` fails when it is stale. Terms: [glossary](glossary.md).
"""
_REASON = re.compile(r'^ +\w+ = "(\w+)"  # (.+)$', re.MULTILINE)

Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class Handed:
    """What stands above this layer."""

    settings: Sequence[Row]  # variable, default, meaning
    commands: Sequence[tuple[str, str]]  # "streamapp topics plan" and what `--help` prints
    agents: dict[str, str]  # group → module
    pages: Sequence[str]  # one line each
    answers: Sequence[Row]  # of capture: status, slug, meaning
    capture_metrics: Sequence[Row]  # as `metric_rows` makes them
    exit_codes: Sequence[tuple[int, str]]  # besides those of the error tree


def reference(handed: Handed) -> str:
    """The whole file."""
    parts = (
        TITLE,
        _section("Settings", "Environment variables. `streamapp settings` prints those in force.", _settings(handed)),
        _section("Commands", "What `--help` prints.", _commands(handed)),
        _section("Topics", "Event topics keep records for a time, internal topics the last of every key.", _topics()),
        _section("Consumer groups", "The group's name is the Faust app id.", _groups(handed)),
        _section(
            "Access",
            "Who may do what in Kafka: `streamapp access`. A principal is the user of a SASL/PLAIN credential.",
            _access(),
        ),
        _section("Event types", "`streamapp schemas export` writes the JSON Schemas.", _types()),
        _section("Reasons of dead letters", "`data.reason` of a `stream.event.rejected` event.", _reasons()),
        _section("Pages", "On every worker's own web server; add `.json` for the JSON twin.", _lines(handed.pages)),
        _section("Answers of capture", "Of its endpoints; `/openapi.json` has their shapes.", _answers(handed)),
        _section("Metrics of capture", "Its own `/metrics`.", _metrics(handed.capture_metrics)),
        _section(
            "Metrics",
            "`/metrics` of every worker, with Prometheus' `process_*` beside them.",
            _metrics(_group_metrics()),
        ),
        _section(
            "Metrics of reconcile",
            "Its own `/metrics`, of each pair, and of each kind of finding of `streamapp topics check`.",
            _metrics(_reconcile_metrics()),
        ),
        _section(
            "Metrics of watch",
            "Its own `/metrics`. What is not known is absent; `stream_watch_unknown` counts it, by reason.",
            (*_metrics(_watch_metrics()), "", *_table(("reason", "meaning"), _unknown())),
        ),
        _section("Metrics of registry", "Its own `/metrics`.", _metrics(_registry_metrics())),
        _section("Metrics of llm-metrics", "On its workers' `/metrics`, too.", _metrics(_llm_metrics())),
        _section(
            "Metrics of a broker",
            "On the port of `--metrics-port`, by `streamapp/broker/exporter.yml`, with the JVM's `jvm_*` beside them.",
            _metrics(_broker_metrics()),
        ),
        _section("Exit codes", "Of `streamapp` and of workers.", _exit_codes(handed)),
    )
    return "\n".join(parts)


def _section(title: str, about: str, body: Iterable[str]) -> str:
    return f"## {title}\n\n{about}\n\n" + "\n".join(body) + "\n"


def _table(head: Row, rows: Iterable[Row]) -> Iterator[str]:
    yield _row(head)
    yield _row(["---"] * len(head))
    yield from map(_row, rows)


def _row(cells: Row) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _lines(lines: Iterable[str]) -> Iterator[str]:
    return (f"- {line}" for line in lines)


def _settings(handed: Handed) -> Iterator[str]:
    rows = ((_code(variable), _code(default), meaning) for variable, default, meaning in handed.settings)
    return _table(("variable", "default", "meaning"), rows)


def _commands(handed: Handed) -> Iterator[str]:
    for name, text in handed.commands:
        yield f"### {name}\n\n```text\n{text}\n```\n"


def _topics() -> Iterator[str]:
    head = ("topic", "kind", "partitions", "kept", "key", "written by", "read by", "settings")
    return _table(head, map(_topic, TOPICS))


def _topic(topic: Topic) -> Row:
    kept = "last of each key" if topic.retention_ms is None else f"{topic.retention_ms // DAY_MS} days"
    settings = ", ".join(_code(f"{name}={value}") for name, value in topic.configs)
    people = ", ".join(writers(topic.name)), ", ".join(topic.consumers)
    return (_code(topic.name), topic.kind, str(topic.partitions), kept, topic.key, *people, settings)


def _groups(handed: Handed) -> Iterator[str]:
    rows = (
        (
            _code(group.name),
            ", ".join(map(_code, group.topics)),
            str(group.consumers),
            group.purpose,
            _code(handed.agents.get(group.name, "")) or "not here yet",
        )
        for group in GROUPS
    )
    return _table(("group", "reads", "consumers", "purpose", "agent"), rows)


def _access() -> Iterator[str]:
    yield from _table(("principal", "who"), ((_code(one.name), one.about) for one in principals()))
    yield ""
    yield from _table(
        ("principal", "resource", "operations"), ((_code(user), *rest) for user, *rest in matrix(wanted()))
    )


def _types() -> Iterator[str]:
    rows = (
        (_code(entry.event_type), _code(entry.topic), _code(entry.model.__name__), first_line(entry.model))
        for entry in CATALOG
    )
    return _table(("type", "topic", "model", "meaning"), rows)


def _reasons() -> Iterator[str]:
    meanings = dict(_REASON.findall(inspect.getsource(Reason)))
    return _table(("reason", "meaning"), ((_code(reason.value), meanings[reason.value]) for reason in Reason))


def _answers(handed: Handed) -> Iterator[str]:
    return _table(
        ("status", "slug", "meaning"), ((status, _code(slug), about) for status, slug, about in handed.answers)
    )


def _metrics(rows: Iterable[Row]) -> Iterator[str]:
    return _table(("metric", "type", "labels", "meaning"), rows)


def _group_metrics() -> Iterator[Row]:
    metrics = GroupMetrics("group")
    metrics.rejected("reason")  # a metric with labels shows itself when it has a child
    metrics.stated("kind", 1)
    metrics.committed(0, 0.0)
    metrics.at("topic", 0, lag=0, watermark_ms=0, open_rows=0)
    metrics.registry.register(LetterMetrics(_some_letters))
    metrics.owns("topic", 0)
    metrics.gathers("topic", 0, gathered=0, trouble=False)
    metrics.registry.register(Families(*waiting_families(0.0, 0, 0)))
    return metric_rows(family for family in metrics.registry.collect() if family.name.startswith("stream_"))


def _broker_metrics() -> Iterator[Row]:
    for rule in BEANS.read_text(encoding="utf-8").split("  - pattern: ")[1:]:
        name, meaning = re.findall(r"^    (?:name|help): (.+)$", rule, re.MULTILINE)
        labels = re.findall(r"^      (\w+): \$", rule, re.MULTILINE)
        yield _code(name), "gauge", ", ".join(labels), meaning


def _llm_metrics() -> Iterator[Row]:
    for family in FAMILIES:
        labels = ", ".join(label for label in family.labels if label != "le")
        yield _code(family.name), family.kind, labels, family.meaning


def metric_rows(families: Iterable[Metric]) -> Iterator[Row]:
    """Name, type, labels and meaning of each metric that has a sample."""
    for family in families:
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "le")
        yield _code(name), family.type, ", ".join(labels), family.documentation


def _reconcile_metrics() -> Iterator[Row]:
    checked = Standing("left=right", Outcome("left=right", 0.0, PairReport("left=right", "", "")), 0, 0)
    return metric_rows(ReconcileMetrics(lambda: [checked], lambda: dict.fromkeys(KINDS, 0)).collect())


def _watch_metrics() -> Iterator[Row]:
    place, unread = ("topic", 0), Unread(1, 0, 0.0, 0.0)
    groups = {"group": GroupSeries(STATES[0], 1, 0.0, {"topic": 0.0}, {place: unread})}
    series = Series(groups, dict.fromkeys(REASONS, 0), (("topic", "name"),))
    known = Known(series, {("group", "topic"): Money(Decimal(0), Decimal(0), Decimal(0))}, 0)
    return metric_rows(WatchMetrics(lambda: known).collect())


def _registry_metrics() -> Iterator[Row]:
    return metric_rows(RegistryMetrics(Registry(Log(KafkaSettings()))).collect())


def _unknown() -> Iterator[Row]:
    return ((_code(reason), meaning) for reason, meaning in REASONS.items())


def _some_letters() -> LetterCounts:
    source, told = Counter({("topic", "group", "reason"): 1}), Counter({("destination", "outcome"): 1})
    return LetterCounts(source, source, told, Counter({"destination": 1}))


def _exit_codes(handed: Handed) -> Iterator[str]:
    codes: dict[int, list[str]] = {}
    for code, meaning in handed.exit_codes:
        codes.setdefault(code, []).append(meaning)
    for error in _tree(StreamError):
        if error.__module__ == StreamError.__module__ and error is not StreamError:
            codes.setdefault(error.exit_code, []).append(f"`{error.__name__}`: {first_line(error)}")
    return _table(("code", "meaning"), ((str(code), " · ".join(codes[code])) for code in sorted(codes)))


def _tree(error: type[StreamError]) -> Iterator[type[StreamError]]:
    yield error
    for branch in error.__subclasses__():
        yield from _tree(branch)


def first_line(thing: object) -> str:
    """What the documentation of a thing begins with."""
    return inspect.cleandoc(thing.__doc__ or "").split("\n\n")[0].replace("\n", " ")
