"""`streamapp verify`: recompute every bill from the raw events and compare."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from streamapp.errors import Misconfigured
from streamapp.kafka.reader import Record, Span, read, spans
from streamapp.kafka.security import confluent_config
from streamapp.ops.verify import BILLS_TOPIC, LETTERS_TOPIC, USAGE_TOPIC, audit
from streamapp.ops.verify_redrives import RECEIPTS_TOPIC, Redrives
from streamapp.ops.verify_report import COUNTS, Report
from streamapp.settings import Settings, current

MEANINGS = {
    "lost": "stands on no bill, or was refused without a dead letter",
    "doubled": "counted or stated more than once",
    "wrong": "differs from what the events say",
}


@click.command("verify")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, without a progress bar.")
def command(as_json: bool) -> None:
    """Check every bill against the raw events, independently of the worker's own code.

    Reads llm_usage, billing_events and dead_letter to the end they have now. Events behind the last mark are shown as
    open. Ends with 0 when nothing is lost, doubled or wrong, else with 1. While events flow, those that the workers
    have not reached yet can look lost: let them catch up first.
    """
    report = check(current(), show_progress=not as_json)
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    else:
        show(report, Console())
    if not report.ok:
        raise click.exceptions.Exit(1)


def check(settings: Settings, show_progress: bool) -> Report:
    """Read the topics of the cluster and audit them.

    Raises `Unavailable` when Kafka does not answer, `Misconfigured` for a missing topic or a wrong directory file.
    """
    config = confluent_config(settings.kafka)
    # The usage ends are taken last: what a bill counts is then surely among the events that are read.
    parts = {RECEIPTS_TOPIC: _receipts(config)}
    parts |= {topic: spans(config, topic) for topic in (LETTERS_TOPIC, BILLS_TOPIC, USAGE_TOPIC)}
    starts = {(topic, partition): span.start for topic, all_ in parts.items() for partition, span in all_.items()}
    with _progress(show_progress) as progress:
        logs = {
            topic: _shown(read(config, topic, upto, headers=topic == USAGE_TOPIC), topic, upto, progress)
            for topic, upto in parts.items()
        }
        redrives = Redrives()
        report = audit(
            redrives.watch(logs[USAGE_TOPIC]),
            logs[BILLS_TOPIC],
            logs[LETTERS_TOPIC],
            grace_ms=settings.billing.grace_seconds * 1000,
            directory=read_directory(settings.directory),
            starts=starts,
        )
        redrives.check(logs[RECEIPTS_TOPIC], USAGE_TOPIC, starts, report)
        return report


def _receipts(config: Mapping[str, Any]) -> dict[int, Span]:
    """What there is of receipts; nothing in a cluster that was made before letters could be sent again."""
    try:
        return spans(config, RECEIPTS_TOPIC)
    except Misconfigured:
        return {}


def read_directory(path: Path | None) -> dict[str, str]:
    """team → org of the directory file; empty without one. Raises `Misconfigured` for a file that cannot be used."""
    if path is None:
        return {}
    try:
        teams = tomllib.loads(path.read_text(encoding="utf-8")).get("teams", {})
        return {team: str(entry["org"]) for team, entry in teams.items() if "org" in entry}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Misconfigured(f"STREAM_DIRECTORY={path} cannot be used: {error}") from None


def show(report: Report, console: Console) -> None:
    """Print the report for a person."""
    numbers = Table(title="Every bill against the raw events", show_header=False)
    for name, meaning in COUNTS:
        numbers.add_row(meaning, f"{getattr(report, name):,}")
    for reason, count in sorted(report.rejected.items()):
        numbers.add_row(f"rejected as {reason}", f"{count:,}")
    console.print(numbers)
    sums = dict(report.money())
    money = Table("currency", *(f"{name} (exact)" for name in sums), title="Money")
    for currency in sorted({currency for amounts in sums.values() for currency in amounts}):
        money.add_row(currency, *(f"{amounts.get(currency, 0):,.12f}" for amounts in sums.values()))
    console.print(money)
    faults = Table("fault", "count", "means")
    for name, found in report.faults():
        style = "bold red" if found.count else "green"
        faults.add_row(name, f"[{style}]{found.count:,}[/]", MEANINGS[name])
    console.print(faults)
    for name, found in report.faults():
        for example in found.examples:
            console.print(f"{name}: {example.where}: {example.what}", style="red", markup=False, highlight=False)
        if found.count > len(found.examples) > 0:
            console.print(f"{name}: {found.count:,} in all", markup=False)
    verdict = "Every bill is right." if report.ok else "Bills and events do not agree."
    console.print(verdict, style="bold green" if report.ok else "bold red")


@contextmanager
def _progress(shown: bool) -> Iterator[Progress]:
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not shown) as progress:
        yield progress


def _shown(records: Iterator[Record], topic: str, upto: Mapping[int, Span], progress: Progress) -> Iterator[Record]:
    offsets = sum(span.end - span.start for span in upto.values())
    task: Any = progress.add_task(topic, total=offsets)
    for number, record in enumerate(records):
        if number % 1000 == 999:
            progress.advance(task, 1000)
        yield record
    progress.update(task, completed=offsets)  # markers of transactions are offsets without a record
