"""`streamapp chaos`: break everything on purpose, then check every bill."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from streamapp.chaos.plan import Fault, plan
from streamapp.chaos.report import ChaosReport
from streamapp.chaos.run import LOAD_SHARE, Chaos
from streamapp.chaos.worker import BILLING
from streamapp.cli.checks.verify import check
from streamapp.cli.group import Choice
from streamapp.cli.printed import bars, print_json, print_table
from streamapp.cli.printed import console as stdout
from streamapp.errors import Refused
from streamapp.settings import current

EVENTS_A_MINUTE = 30_000
KINDS = {fault.name.lower().replace("_", "-"): fault for fault in Fault}


@click.command("chaos")
@click.option("--events", type=click.IntRange(1000), help="Events to send [default: 30,000 a minute].")
@click.option("--minutes", default=10.0, show_default=True, type=click.FloatRange(0.5), help="Approximate duration.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same events and the same faults.")
@click.option("--stock/--no-stock", default=True, show_default=True, help="Also run a stock Faust counter, to compare.")
@click.option("--only", "kinds", multiple=True, type=Choice([*KINDS]), help="Only this fault; may be repeated.")
@click.option("--secure", is_flag=True, help="Kafka with TLS, logins and rights: each process is a user of its own.")
@click.option("--app", default=BILLING, show_default=True, help="Faust app of the workers under test, as for -A.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Work in this new folder and keep it: logs, broker, rows."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, no progress.")
def command(
    events: int | None,
    minutes: float,
    seed: int,
    stock: bool,
    kinds: tuple[str, ...],
    secure: bool,
    app: str,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Break everything on purpose, then check every bill.

    Starts a broker and workers of its own in a temporary folder, sends usage with poison, late events and repetitions
    from two producers, and meanwhile kills, freezes, scales and restarts what there is, breaks files, fills disks,
    steps clocks, compacts the changelog and lets it take no rows, and puts offsets back, by a plan made from the
    seed; from five minutes on, the broker is also away for 25 and for 60 seconds.
    Ends with 0 when nothing is lost, doubled or wrong and every fault was recovered from, else with 1.
    """
    events = events or round(EVENTS_A_MINUTE * minutes)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up, as after Ctrl-C
    with (
        _folder(keep) as folder,
        bars(not as_json) as progress,
    ):
        task = progress.add_task("starting", total=events)
        report = Chaos(
            current(),
            folder,
            seed,
            events,
            minutes,
            stock,
            plan(seed, minutes * LOAD_SHARE, [KINDS[kind] for kind in kinds] or [*Fault]),
            app,
            secure,
            verify=lambda settings: check(settings, show_progress=False),
            say=lambda text: None if as_json else progress.console.print(text, highlight=False),
            show=lambda sent, when: progress.update(task, completed=sent, description=when),
        ).run()
    if as_json:
        print_json(report.as_json())
    else:
        show(report, stdout())
    if not report.ok:
        raise click.exceptions.Exit(1)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    """Where everything is that the run makes. Raises `Refused` for a folder that is there already."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="streamapp-chaos-") as folder:
            yield Path(folder)
        return
    try:
        keep.mkdir(parents=True)
    except FileExistsError:
        raise Refused(f"{keep} is there already; --keep needs a new folder") from None
    yield keep.resolve()


def show(report: ChaosReport, console: Console) -> None:
    """Print the report for a person."""
    faults = Table("at", "fault", "recovered after", title=f"Faults of seed {report.seed}")
    for done in report.faults:
        after = "[bold red]never[/]" if done.recovery_s is None else f"{done.recovery_s:.1f} s"
        faults.add_row(f"{done.at_s:.0f} s", str(done.step), after)
    print_table(faults, console)
    verified = report.verified
    result = Table("", "events in", "out", "lost", "doubled", "wrong", title="What came of it")
    counts = [f"{found.count:,}" for _, found in verified.faults()]
    result.add_row(
        "Hanzo Stream", f"{verified.numbers['events_read']:,}", f"{verified.numbers['bills']:,} bills", *counts
    )
    if report.stock is not None:
        stock = report.stock
        counts = [f"{stock.lost:,}", f"{stock.doubled:,}", "-"]
        result.add_row("stock Faust counter", f"{stock.expected:,}", f"{stock.counted:,} counted", *counts)
        if stock.unread:
            console.print(f"The stock counter never read {stock.unread:,} records: its workers stand still.")
    print_table(result, console)
    if report.unread:
        console.print(f"{report.unread:,} records were never read.", style="red", highlight=False)
    if report.refused:
        console.print(report.refused, style="red", markup=False, highlight=False)
    for _, found in verified.faults():
        for example in found.examples:
            console.print(f"{example.where}: {example.what}", style="red", markup=False, highlight=False)
    slowest = max(report.takeovers_s, default=0.0)
    console.print(f"{len(report.takeovers_s)} takeovers, the slowest {slowest:.2f} s; {len(report.ended)} fail-stops")
    lost, doubled, wrong = (found.count for _, found in verified.faults())
    style = "bold green" if report.ok else "bold red"
    console.print(f"lost {lost:,}, doubled {doubled:,}, wrong {wrong:,}", style=style, highlight=False)
