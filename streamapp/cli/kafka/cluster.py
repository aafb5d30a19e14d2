"""`streamapp cluster`: from one broker to three."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from typing import NoReturn

import click

from streamapp.broker.quorum import refuse_static_recipe
from streamapp.cli.group import Choice, Group
from streamapp.cli.kafka.topics import NOT_AS_REGISTERED, WORK_TO_DO
from streamapp.cli.printed import counted, json_option, print_json
from streamapp.cli.reached import reached
from streamapp.clock import monotonic_s, wall_ms
from streamapp.cluster.grow import Progress, grow, planned
from streamapp.cluster.live import Live
from streamapp.cluster.plan import SHRINK, Want
from streamapp.cluster.steps import Kind, Step
from streamapp.errors import Refused, Unavailable
from streamapp.schemas.values.timestamp import format_ms

THROTTLE = 50_000_000
POLL_S = 1.0

_brokers = click.option(
    "--brokers", type=Choice(["1", "3", "5", "7"]), default="3", help="How many are wanted.", show_default=True
)


@click.group(cls=Group, name="cluster")
def command() -> None:
    """Plan, grow and check the cluster: from one broker to three, without losing a record.

    \b
    1. The voters of the quorum move from the nodes' files into the log (kraft.version 1).
    2. New nodes are added one by one; every topic, Kafka's own included, gets three replicas.
    3. Only then acknowledged means that two nodes have a record.

    It needs a user who may alter the cluster, and the extra `local`: Kafka's own tools change the quorum.
    """


@command.command(name="plan")
@_brokers
@json_option
def plan_command(brokers: str, as_json: bool) -> None:
    """Say what is left to do, why, and who does it. Changes nothing.

    Exit code 0: nothing; 2: something; 1: refused, with the reason: voters that nodes name in their files lose every
    topic when the first node is down while the others start.
    """
    steps = planned(_live().seen(), Want(int(brokers)))
    if as_json:
        print_json({"steps": [_row(step) for step in steps]})
    else:
        for number, step in enumerate(steps, 1):
            click.echo(f"{number}. {_who(step)}{step}\n   Why: {step.kind.why}.")
        click.echo(f"{counted(len(steps), 'step')} to do")
    sys.exit(WORK_TO_DO if steps else 0)


@command.command(name="grow")
@_brokers
@click.option(
    "--throttle", type=click.IntRange(100_000), default=THROTTLE, show_default=True, help="Bytes a second and node."
)
@click.option(
    "--wait", "wait_s", type=click.FloatRange(1), default=3600.0, show_default=True, help="Seconds for a step."
)
def grow_command(brokers: str, throttle: int, wait_s: float) -> None:
    """Do what `plan` says, each step with its time; wait for the steps of the operator.

    A step that says OPERATOR is yours: do it, `grow` sees its effect and goes on. It may be ended at any moment and
    called again: what is done is read from the cluster. Exit code 69: a step was not done in time.
    """
    steps = grow(_live(), Want(int(brokers)), _tell, throttle=throttle, wait_s=wait_s)
    click.echo(f"{format_ms(wall_ms())} done: {brokers} brokers, {counted(steps, 'step')}")
    if steps:
        replicas = min(3, int(brokers))
        click.echo(
            f"Set STREAM_KAFKA__REPLICATION_FACTOR={replicas} everywhere, and name every broker as bootstrap server. "
            "Clients know the new ones after metadata.max.age.ms, five minutes by default."
        )


@command.command(name="shrink")
def shrink_command() -> NoReturn:
    """Refused: says why a broker is not taken away."""
    raise Refused(SHRINK)


@command.command(name="check")
@click.option("--wait", "wait_s", type=click.FloatRange(0), default=0.0, help="Seconds to wait until all is in sync.")
@click.option(
    "--properties",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Look at a node's server.properties instead, before it is started.",
)
@json_option
def check_command(wait_s: float, properties: Path | None, as_json: bool) -> None:
    """Whether the cluster is as it must be for its number of brokers. Exit code 1: it is not; preferred
    leaders that lead elsewhere are shown only.

    Before each restart of a rolling restart: `streamapp cluster check --wait 600`. It returns when every node is there
    and every replica in sync, so that the next node may go.
    """
    if properties is not None:
        refuse_static_recipe(_read(properties))
        fine = f"{properties}: the voters are left to the log, or it is a cluster of one node"
        steps: tuple[Step, ...] = ()
    else:
        fine = "the cluster is as its number of brokers allows; more brokers: streamapp cluster plan"
        steps = _settled(_live(), wait_s)
    if as_json:
        print_json({"findings": [_row(step) for step in steps]})
    else:
        for step in steps:
            click.echo(f"! {_who(step)}{step}")
        click.echo(counted(len(steps), "finding") if steps else fine)
    # Leaders that are elsewhere after a restart risk nothing: Kafka gives them back by itself.
    sys.exit(NOT_AS_REGISTERED if any(step.kind is not Kind.ELECT for step in steps) else 0)


def _settled(live: Live, wait_s: float) -> tuple[Step, ...]:
    """What is left, once every node is there and every replica in sync; or after that time."""
    end_s = monotonic_s() + wait_s
    while True:
        try:
            have = live.seen()
            count = len(have.nodes)
            steps = planned(have, Want(1 if count == 1 else max(3, count)))
            if monotonic_s() > end_s or not any(step.kind in {Kind.RETURN, Kind.CATCH_UP} for step in steps):
                return steps
        except Unavailable:
            if monotonic_s() > end_s:
                raise
        threading.Event().wait(POLL_S)


def _live() -> Live:
    settings = reached()
    return Live(settings.kafka, settings.cache_dir)


def _tell(progress: Progress) -> None:
    head = f"{format_ms(wall_ms())} {progress.number}/{progress.of}"
    if progress.left:
        click.echo(f"{head} … {progress.left}")
        return
    click.echo(f"{head} {_who(progress.step)}{progress.step}\n   Why: {progress.step.kind.why}.")


def _who(step: Step) -> str:
    return "OPERATOR: " if step.kind.by_operator else ""


def _row(step: Step) -> dict[str, object]:
    return {"do": step.kind.label, "text": str(step), "why": step.kind.why, "by_operator": step.kind.by_operator}


def _read(properties: Path) -> dict[str, str]:
    """As Java reads it: `name=value`, `name: value`, `name value`; behind a backslash a line goes on in the next."""
    text = re.sub(r"\\\r?\n[ \t]*", "", properties.read_text())
    return dict(re.findall(r"^[ \t]*([^#!\s=:][^\s=:]*)[ \t]*[=: \t]?[ \t]*(.*?)[ \t]*$", text, re.MULTILINE))
