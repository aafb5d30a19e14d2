"""`streamapp verify`: recompute from the raw events, and compare every pair of records that must agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from streamapp.cli.group import Choice
from streamapp.cli.printed import bars, print_faults, print_json, print_table
from streamapp.cli.printed import console as stdout
from streamapp.cli.reached import reached
from streamapp.kafka.log.reader import Record
from streamapp.settings import Settings, current
from streamapp.sinks.ledger.database import open_ledger
from streamapp.verify.bills.usage_bills import PAIR as BILLS
from streamapp.verify.pairs import NAMES, Outcome, look, wanted
from streamapp.verify.report import COUNTS, BillsReport, Findings, PairReport

MEANINGS = {
    "lost": "missing from all bills and dead letters",
    "doubled": "counted or stated more than once",
    "wrong": "differs from what the events say",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all checks came to. `bills` is the report of usage=bills in full, where that pair was checked."""

    bills: BillsReport | None
    outcomes: Sequence[Outcome]

    @property
    def ok(self) -> bool:
        """Every pair was checked and agrees."""
        return all(outcome.ok for outcome in self.outcomes)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        bills = {} if self.bills is None else self.bills.in_full()
        return {**bills, "ok": self.ok, "pairs": [outcome.as_json() for outcome in self.outcomes]}

    def end(self) -> None:
        """Exit code 1 for any difference; else, what kept a pair from being checked is raised."""
        if any(outcome.report is not None and outcome.report.difference for outcome in self.outcomes):
            raise click.exceptions.Exit(1)
        for outcome in self.outcomes:
            if outcome.error is not None:
                raise outcome.error


@click.command("verify")
@click.option("--pair", "names", multiple=True, type=Choice(NAMES), help="Only this pair; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, without a progress bar.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Check every bill against the raw events, and every copy of it, independently of the workers' own code.

    Reads both sides of each pair to the end they have now. Exact while events flow: what a group has not committed yet
    is waiting, not lost. Ends with 0 when nothing is lost, doubled or wrong, with 1 when something is, and with 69 or
    78 when a pair cannot be checked.
    """
    open_ledger(current().ledger)  # a wrong URL is refused before anything is read
    verdict = verify(reached(), show_progress=not as_json, names=names or NAMES)
    if as_json:
        print_json(verdict.as_json())
    else:
        show_verdict(verdict, stdout())
    verdict.end()


def verify(settings: Settings, show_progress: bool, names: Sequence[str] = NAMES) -> Verdict:
    """Check the named pairs, all by default. What keeps one from being checked does not keep the others."""
    found: list[BillsReport] = []

    def bills(_: Settings) -> PairReport:
        found.append(check(settings, show_progress))
        return found[-1]

    outcomes = []
    for name, check_pair in wanted(names):
        if name == BILLS.name:
            outcomes.append(look(name, bills, settings))
            continue
        with bars(show_progress, percent=True, transient=True) as progress:
            task = progress.add_task(name, total=None)
            outcomes.append(look(name, check_pair, settings))
            progress.update(task, total=1, completed=1)
    return Verdict(found[-1] if found else None, outcomes)


def check(settings: Settings, show_progress: bool) -> BillsReport:
    """The pair usage=bills in full. Raises as `engine.Check` does."""
    with bars(show_progress, percent=True, transient=True) as progress:
        report: BillsReport = BILLS.check(settings, shown=partial(_shown, progress), whole=True)
        return report


def show_verdict(verdict: Verdict, console: Console) -> None:
    """Print everything for a person."""
    if verdict.bills is not None:
        show(verdict.bills, console)
    counts = ("events", "waiting", "lost", "doubled", "wrong", "difference")
    pairs = Table(Column("pair", no_wrap=True), *counts, title="Consistency checks", box=None, pad_edge=False)
    for outcome in verdict.outcomes:
        pairs.add_row(outcome.name, *_cells(outcome))
    print_table(pairs, console)
    for outcome in verdict.outcomes:
        if outcome.error is not None:
            console.print(f"{outcome.name}: {outcome.error}", style="red", markup=False, highlight=False)
        elif outcome.report is not None and outcome.name != BILLS.name:  # shown above in full
            _examples(outcome.report.faults(), console, f"{outcome.name}: ")


def _cells(outcome: Outcome) -> list[str]:
    report = outcome.report
    if report is None:
        return ["", "", "", "", "", "[bold red]not checked[/]"]
    counts = (report.events, report.waiting, *(found.count for _, found in report.faults()))
    style = "bold red" if report.difference else "green"
    return [*(f"{count:,}" for count in counts), f"[{style}]{report.difference:,}[/]"]


def show(report: BillsReport, console: Console) -> None:
    """Print the report of usage=bills for a person."""
    numbers = Table(title="Every bill against the raw events", show_header=False)
    for name, meaning in COUNTS:
        numbers.add_row(meaning, f"{report.numbers[name]:,}")
    for reason, count in sorted(report.rejected.items()):
        numbers.add_row(f"rejected as {reason}", f"{count:,}")
    print_table(numbers, console)
    sums = report.money
    money = Table("currency", *(f"{name} (exact)" for name in sums), title="Money")
    for currency in sorted({currency for amounts in sums.values() for currency in amounts}):
        money.add_row(currency, *(f"{amounts.get(currency, 0):,.12f}" for amounts in sums.values()))
    print_table(money, console)
    print_faults(report.faults(), MEANINGS, console)
    _examples(report.faults(), console)
    verdict = "All bills are correct." if report.ok else "Bills and events do not agree."
    console.print(verdict, style="bold green" if report.ok else "bold red")


def _examples(faults: Sequence[tuple[str, Findings]], console: Console, of: str = "") -> None:
    for name, found in faults:
        for example in found.examples:
            console.print(f"{of}{name}: {example.where}: {example.what}", style="red", markup=False, soft_wrap=True)
        if found.count > len(found.examples) > 0:
            console.print(f"{of}{name}: {found.count:,} in all", markup=False)


def _shown(progress: Progress, records: Iterator[Record], topic: str, offsets: int) -> Iterator[Record]:
    task: Any = progress.add_task(topic, total=offsets)
    for number, record in enumerate(records):
        if number % 1000 == 999:
            progress.advance(task, 1000)
        yield record
    progress.update(task, completed=offsets)  # markers of transactions are offsets without a record
