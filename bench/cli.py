"""The command line. Without a sub-command: all contenders side by side, as `make bench` does.

ONLY (names), GROUP, N (events), ROUNDS and JSON (a file) are taken from the environment: `make bench N=…` works.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from bench.base import GROUPS, CannotRun, against, bench_of
from bench.capture.compare import compare as compare_fronts
from bench.capture.fronts import fronts
from bench.compare import bar, compare, steps
from bench.contenders import CONTENDERS, OURS_GROUP, named
from bench.curve import LARGE, SIZES, TEAMS, curve, shapes
from bench.events import Shape
from bench.groups.group import GroupBench
from bench.groups.registry import group_bench
from bench.lag import lag
from bench.latency import latency
from bench.load import prepare
from bench.profile import profile
from bench.recovery import recovery
from bench.soak import soak
from bench.trickle import trickle

OUT = Path("build/bench")
EVENTS = 1_000_000
ROUNDS = 3
LOAD_SECONDS = 5
RATE = 20_000
SECONDS = 60
ROWS = 1_000_000
SOAK_RATE = 2_000
SOAK_MINUTES = 30.0
WIDE = 150


@click.group(invoke_without_command=True, context_settings={"auto_envvar_prefix": None})
@click.option("--only", envvar="ONLY", default="", help="Comma-separated contenders; default: all.")
@click.option("--group", envvar="GROUP", default="", help="Another group's benchmark; default: billing-agg's.")
@click.option("-n", "--n", "events", envvar="N", type=click.IntRange(100), default=EVENTS, show_default=True)
@click.option("--teams", envvar="TEAMS", type=click.IntRange(1), default=1_000, show_default=True)
@click.option("--rounds", envvar="ROUNDS", type=click.IntRange(1), default=ROUNDS, show_default=True)
@click.option(
    "--json", "json_file", envvar="JSON", type=click.Path(path_type=Path), help="Write the report there, too."
)
@click.pass_context
def main(
    context: click.Context, only: str, group: str, events: int, teams: int, rounds: int, json_file: Path | None
) -> None:
    """Run the contenders over the same topic in turn, check every answer, print and keep the figures.

    Exit code 1 when a run of our own was wrong or failed.
    """
    signal.signal(signal.SIGTERM, _stop)  # an exception, so that everything that was started is ended
    if context.invoked_subcommand is not None:
        return
    try:
        chosen = group_bench(group) if group else GroupBench(OURS_GROUP, prepare, CONTENDERS)
        contenders = named(only, chosen.contenders)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    out = OUT / group
    files, plot = [out / "report.json", *([json_file] if json_file else [])], out / "report.svg"
    sys.exit(
        compare(contenders, Shape(events, teams), rounds, files, plot, console(), chosen.prepare, chosen.reference)
    )


@main.command("profile")
@click.pass_context
def profile_command(context: click.Context) -> None:
    """Run the worker under py-spy: the top functions by self time, and the modules."""
    shape = Shape(context.parent.params["events"], context.parent.params["teams"]) if context.parent else Shape(EVENTS)
    page = console()
    with bar(page) as progress:
        step = steps(progress)
        right = profile(prepare(shape, step), OUT, step, page)
    sys.exit(0 if right else 1)


@main.command("curve")
@click.option("--events", "sizes", multiple=True, type=int, default=SIZES, show_default=True)
@click.option("--teams", multiple=True, type=int, default=TEAMS, show_default=True)
@click.option("--large", is_flag=True, help=f"{LARGE:,} events, too: minutes, and some GB below .cache.")
def curve_command(sizes: tuple[int, ...], teams: tuple[int, ...], large: bool) -> None:
    """Cost per event by the number of events and of teams."""
    page = console()
    with bar(page) as progress:
        wanted = shapes((*sizes, LARGE) if large else sizes, teams)
        right = curve(wanted, OUT / "curve.json", steps(progress), page)
    sys.exit(0 if right else 1)


@main.command("latency")
@click.option("--rate", type=click.IntRange(1), default=RATE, show_default=True, help="Events per second.")
@click.option("--seconds", type=click.IntRange(5), default=SECONDS, show_default=True)
def latency_command(rate: int, seconds: int) -> None:
    """Event → row, event → budget of its team, and watermark past the mark → bill: p50 and p99."""
    page = console()
    with bar(page) as progress:
        latency(rate, seconds, OUT / "latency.json", steps(progress), page)


@main.command("trickle")
@click.option("--seconds", type=click.IntRange(10), default=SECONDS, show_default=True)
def trickle_command(seconds: int) -> None:
    """What the broker costs in `streamapp run` at the demo's 50 events a second."""
    page = console()
    with bar(page) as progress:
        trickle(seconds, OUT / "trickle.json", steps(progress), page)


@main.command("capture")
@click.option("--seconds", type=click.IntRange(1), default=LOAD_SECONDS, show_default=True, help="Of each load.")
@click.pass_context
def capture_command(context: click.Context, seconds: int) -> None:
    """The front admission beside a bare reference, with single events and batches of 100."""
    assert context.parent is not None
    asked = context.parent.params
    try:
        chosen = fronts(asked["only"])
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    files = [OUT / "capture.json", *([asked["json_file"]] if asked["json_file"] else [])]
    page = console()
    with bar(page) as progress:
        code = compare_fronts(chosen, asked["rounds"], seconds, files, steps(progress), page)
    sys.exit(code)


@main.command("against")
@click.argument("commit")
@click.pass_context
def against_command(context: click.Context, commit: str) -> None:
    """CPU per event of the working tree beside that of a commit: billing-agg, llm-metrics, rpc-billing.

    Exit code 1 when one of them is more than 5 % dearer, or cannot be measured.
    """
    assert context.parent is not None
    asked = context.parent.params
    groups = (asked["group"],) if asked["group"] else GROUPS
    files = [OUT / "against.json", *([asked["json_file"]] if asked["json_file"] else [])]
    page = console()
    try:
        for group in groups:
            bench_of(group)
        with bar(page) as progress:
            shape = Shape(asked["events"], asked["teams"])
            code = against(commit, groups, shape, asked["rounds"], files, steps(progress), page)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    except CannotRun as error:
        raise click.ClickException(str(error)) from None
    sys.exit(code)


@main.command("recovery")
@click.option("--rows", type=click.IntRange(8), default=ROWS, show_default=True)
def recovery_command(rows: int) -> None:
    """A worker without a disk: seconds until all its rows are back from the changelog."""
    page = console()
    with bar(page) as progress:
        right = recovery(rows, OUT / "recovery.json", steps(progress), page)
    sys.exit(0 if right else 1)


@main.command("lag")
@click.option("--seconds", type=click.IntRange(13), default=SECONDS, show_default=True)
def lag_command(seconds: int) -> None:
    """What `streamapp watch` costs while every group is behind and moves; and a thousand partitions."""
    page = console()
    with bar(page) as progress:
        lag(seconds, steps(progress), page)


@main.command("soak")
@click.option("--rate", type=click.IntRange(100), default=SOAK_RATE, show_default=True, help="Events per second.")
@click.option("--minutes", type=click.FloatRange(1), default=SOAK_MINUTES, show_default=True)
def soak_command(rate: int, minutes: float) -> None:
    """A steady rate for half an hour: memory, descriptors, disk and lag stay flat, or exit code 1."""
    page = console()
    with bar(page) as progress:
        right = soak(rate, minutes, OUT / "soak.json", steps(progress), page)
    sys.exit(0 if right else 1)


def console() -> Console:
    """The terminal, or a wide page when the output goes to a file."""
    page = Console()
    return page if page.is_terminal else Console(width=WIDE)


def _stop(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
