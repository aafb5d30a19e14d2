"""`streamapp stop`, `start`, `scale`: the workers of one group of a run on this machine."""

from __future__ import annotations

import threading

import click

from streamapp.agents.registry import AGENTS
from streamapp.cli.group import Choice
from streamapp.cli.printed import print_json
from streamapp.clock import monotonic_s
from streamapp.errors import Refused, Unavailable
from streamapp.local.state import is_in_use
from streamapp.local.wanted import WORKERS_MAX, Wanted, worker_names
from streamapp.settings import current
from streamapp.topics.registry import group as registered
from streamapp.topics.registry import topic

NAMES = [name for name, _, _ in AGENTS]
GROUP = Choice(NAMES)
GROUPS = "\n".join(["\b", "Groups:", *(f"  {name}" for name in NAMES)])  # a line each: a name is not broken
FOLLOWED_S = 90.0  # a worker that holds a transaction ends within 20 s; the run may still be starting
LOOK_S = 0.2

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object: each worker's process.")


@click.command(epilog=GROUPS)
@click.argument("group", type=GROUP, metavar="GROUP")
@_json
def stop(group: str, as_json: bool) -> None:
    """Stop every worker of a group of `streamapp run`, and leave them stopped.

    Its records wait in Kafka meanwhile. `streamapp replay` needs this; `streamapp start GROUP` goes on.
    """
    _scale(group, 0, as_json)


@click.command(epilog=GROUPS)
@click.argument("group", type=GROUP, metavar="GROUP")
@_json
def start(group: str, as_json: bool) -> None:
    """Start a group's workers again, as many as it is registered with."""
    _scale(group, registered(group).consumers, as_json)


@click.command(epilog=GROUPS)
@click.argument("group", type=GROUP, metavar="GROUP")
@click.argument("workers", type=click.IntRange(0, WORKERS_MAX))
@_json
def scale(group: str, workers: int, as_json: bool) -> None:
    """Give a group of `streamapp run` so many workers. Kafka shares its partitions out among them; more workers than
    partitions wait for one to leave.

    \b
      streamapp scale billing-agg 4
    """
    _scale(group, workers, as_json)


def _scale(group: str, workers: int, as_json: bool) -> None:
    state_dir = current().state_dir
    wanted = Wanted(state_dir)
    if not is_in_use(state_dir) or wanted.workers() is None:
        raise Refused(
            f"no `streamapp run` uses {state_dir}: start one (`make run`), or set STREAM_STATE_DIR to its state"
        )
    if group not in (wanted.workers() or {}):
        raise Refused(f"this run is without {group}: it was started with --only")
    wanted.scale(group, workers)
    pause, end_s = threading.Event(), monotonic_s() + FOLLOWED_S
    while not _followed(wanted, group, workers):
        if not is_in_use(state_dir):
            raise Unavailable("the run has ended")
        if monotonic_s() > end_s:
            raise Unavailable(f"the run has not followed within {FOLLOWED_S:g} s; see its console and {state_dir}/logs")
        pause.wait(LOOK_S)
    _, now = wanted.told()
    if as_json:
        processes = {name: now[name] for name in worker_names(group, workers)}
        print_json({"group": group, "workers": processes})
        return
    click.echo(
        "\n".join(f"{name} runs (process {now[name]})" for name in worker_names(group, workers))
        or f"{group} is stopped: its records wait. Go on with: streamapp start {group}"
    )
    useful = max(topic(name).partitions for name in registered(group).topics)
    if workers > useful:
        click.echo(f"{group} reads {useful} partitions, each by one worker: more workers only wait")


def _followed(wanted: Wanted, group: str, workers: int) -> bool:
    """Whether the run has seen what is wanted, and has these workers and no other of the group."""
    seen, processes = wanted.told()
    every = set(worker_names(group, WORKERS_MAX))
    return seen.get(group) == workers and processes.keys() & every == set(worker_names(group, workers))
