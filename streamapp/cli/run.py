"""`streamapp run`: everything on this machine, from the broker to the bills."""

from __future__ import annotations

import signal
import threading

import click
from rich.console import Console

from streamapp.cli.run_stack import PLAY_S, Stack, wipe
from streamapp.cli.verify import show_verdict, verify
from streamapp.clock import monotonic_s
from streamapp.settings import current

DRAIN_S = 12.0  # of `--for`: for what is under way when the simulator stops
INTERRUPTED = 130  # as shells say it: ended by Ctrl-C before anything was verified


@click.command(name="run")
@click.option("--for", "for_seconds", type=click.FloatRange(30), help="Stop after so many seconds and verify.")
@click.option("--fresh", is_flag=True, help="Begin with nothing: wipe the local state of earlier runs.")
def command(for_seconds: float | None, fresh: bool) -> None:
    """Start everything on this machine: broker, workers, ledger and a simulated stream.

    Twelve hours of usage are played in the first minute, so that hours close and bills appear; then the stream goes on
    at the present time. Ctrl-C stops all; the next run goes on with the same state. When
    STREAM_KAFKA__BOOTSTRAP_SERVERS is set, that Kafka is used and no broker is started. With --for, every bill and
    every copy of it is verified at the end; exit code 1: something differs.
    """
    begin_s = monotonic_s()
    console = Console(highlight=False)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    settings = current()
    with Stack(settings, console, stop) as stack:
        if fresh:
            wipe(settings)
        stack.start_kafka()
        if for_seconds is None:
            stack.start_jobs(PLAY_S, None)
            console.print(f"{stack.urls()}\nlogs: {stack.logs}/ · Ctrl-C stops", markup=False, soft_wrap=True)
            stack.watch(lambda: False)
            return
        left_s = max(10.0, for_seconds - DRAIN_S - (monotonic_s() - begin_s))
        stack.start_jobs(min(PLAY_S, left_s * 0.7), left_s)
        console.print(f"{stack.urls()}\nlogs: {stack.logs}/ · stops in {left_s:.0f} s", markup=False, soft_wrap=True)
        stack.watch(lambda: stack.simulated)
        stack.drain()
        if stop.is_set():
            raise click.exceptions.Exit(INTERRUPTED)
        verdict = verify(stack.settings, show_progress=console.is_terminal)  # the jobs still run: some are asked
        show_verdict(verdict, console)
    verdict.end()
