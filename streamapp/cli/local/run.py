"""`streamapp run`: everything on this machine, from the broker to the bills."""

from __future__ import annotations

import click
from rich.console import Console
from rich.text import Text

from streamapp.cli.checks.verify import Verdict, show_verdict, verify
from streamapp.cli.local.scale import GROUP
from streamapp.cli.local.signals import ended_by_signal
from streamapp.cli.printed import console as stdout
from streamapp.cli.printed import print_json
from streamapp.local.jobs import chosen_groups
from streamapp.local.stack import PLAY_S, Stack
from streamapp.local.state import wipe
from streamapp.settings import current
from streamapp.verify.pairs import kept_by

INTERRUPTED = 130  # as shells say it: ended by Ctrl-C before anything was verified


@click.command(name="run")
@click.option(
    "--for", "for_seconds", type=click.FloatRange(10), help="Stop this many seconds after everything is up, and verify."
)
@click.option("--fresh", is_flag=True, help="Delete the local state of earlier runs first.")
@click.option("--secure", is_flag=True, help="Kafka with TLS, logins and rights: each process is a user of its own.")
@click.option("--only", multiple=True, type=GROUP, help="Start only this group; may be repeated [default: all].")
@click.option("--json", "as_json", is_flag=True, help="With --for: print the verdict as one JSON object.")
def command(for_seconds: float | None, fresh: bool, secure: bool, only: tuple[str, ...], as_json: bool) -> None:
    """Start everything on this machine: broker, every group's workers, capture and simulated streams.

    Twelve hours of events are played in the first minute, on every topic that others write, so that hours close and
    bills appear; then the streams go on at the present time. The first page answers while the other workers still
    start. Ctrl-C stops all; the next run goes on with the same state. When STREAM_KAFKA__BOOTSTRAP_SERVERS is set, that
    Kafka is used and no broker is started. With --for, the seconds count from the moment every process is up; then what
    ran is verified and stopped. Exit code 1: something is wrong.

    \b
      streamapp run --for 120 --fresh                         from nothing to a verdict
      streamapp run --only billing-agg --only billing-ledger  only the bills, on a small machine
    """
    if as_json and for_seconds is None:
        raise click.UsageError("--json prints the verdict of a run that ends: add --for")
    console = Console(stderr=as_json, highlight=False)
    stop = ended_by_signal()
    settings = current()
    groups = chosen_groups(only)
    with Stack(settings, groups, console, stop, secure) as stack:
        if fresh:
            wipe(settings)
        stack.start_kafka()
        stack.start_workers()
        stack.start_simulator(PLAY_S if for_seconds is None else min(PLAY_S, for_seconds * 0.7))
        length = "Ctrl-C stops everything" if for_seconds is None else f"verifies {for_seconds:g} s after all is up"
        console.print(stack.welcome(length), markup=False, soft_wrap=True)
        if for_seconds is None:
            stack.watch(lambda: False)
            return
        stack.watch(lambda: stack.up_for_s >= for_seconds)
        stack.stop_simulator()
        console.print("The demo has sent its events. Waiting until every group has read them …")
        stack.drain()
        if stop.is_set():
            raise click.exceptions.Exit(INTERRUPTED)
        # The jobs still run: some are asked. What did not run was not worked on either.
        console.print(f"Verifying: {len(kept_by(groups))} checks read everything again with code of their own …")
        verdict = verify(stack.settings, show_progress=console.is_terminal, names=kept_by(groups))
        stack.tell_rest()
        console.print(headline(verdict))
        if as_json:
            print_json(verdict.as_json())
        else:
            show_verdict(verdict, console if console.is_terminal else stdout())
    verdict.end()


def headline(verdict: Verdict) -> Text:
    """The verdict in one line; details follow it."""
    if verdict.ok:
        checks = f"{len(verdict.outcomes)} of {len(verdict.outcomes)} checks agree"
        return Text(f"\nVerdict: everything is correct. {checks}: nothing lost, doubled or wrong.\n", "bold green")
    wrong = [one.name for one in verdict.outcomes if one.report is not None and one.report.difference]
    unchecked = [one.name for one in verdict.outcomes if one.report is None]
    parts = [f"{', '.join(wrong)} do not agree"] if wrong else []
    parts += [f"{', '.join(unchecked)} could not be checked"] if unchecked else []
    return Text(f"\nVerdict: {'; '.join(parts)}. Details follow.\n", "bold red")
