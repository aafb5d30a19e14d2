"""`streamapp topics`: the registry and the cluster."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from streamapp.cli.group import Group
from streamapp.cli.printed import counted, json_option, print_json
from streamapp.cli.reached import reached
from streamapp.kafka.admin import Admin
from streamapp.kafka.provision import NotApplied, Undone, apply, checked, planned
from streamapp.topics.plan import Change, Plan
from streamapp.topics.registry import TOPICS

WORK_TO_DO = 2
NOT_AS_REGISTERED = 1


@click.group(cls=Group, name="topics")
def command() -> None:
    """Plan, apply and check the topics of the registry.

    Creates what is missing, raises partitions and retention. Never shrinks, never deletes, never touches a topic that
    is not registered; every other difference is reported.
    """


@command.command(name="plan")
@json_option
def plan_command(as_json: bool) -> None:
    """Say what `apply` would do. Exit code 0: the cluster is as registered; 2: it is not."""
    found = planned(_admin(), TOPICS, _replicas())
    _print(found, as_json, f"{_changes(found)} to do")
    sys.exit(0 if found.is_clean else WORK_TO_DO)


@command.command(name="apply")
@json_option
def apply_command(as_json: bool) -> None:
    """Do what `plan` says.

    Exit code 0: the cluster is as registered; 1: drift is left for a person; 78: Kafka refused some changes, which are
    named with what to do, and all others are done.
    """
    try:
        done = apply(_admin(), TOPICS, _replicas())
    except NotApplied as error:
        _print(error.done, as_json, _changes(error.done), error.undone)
        raise
    _print(done, as_json, _changes(done))
    sys.exit(NOT_AS_REGISTERED if done.drifts else 0)


@command.command(name="check")
@json_option
def check_command(as_json: bool) -> None:
    """Change nothing. Exit code 0: all is as registered; 1: there are findings, each of a kind.

    missing, drift: a topic of the registry. unregistered_topic, topic_name, unregistered_group, group_name: a topic or
    a consumer group that nobody registered, or whose name breaks the convention. auto_create, offsets_retention: a
    broker that creates topics by itself, or forgets offsets before the records.
    """
    found = checked(_admin(), TOPICS, _replicas())
    if as_json:
        rows = [{"text": str(item), **asdict(item)} for item in found]
        print_json({"findings": rows})
    else:
        for item in found:
            click.echo(f"! {item.kind}: {item}")
        click.echo(counted(len(found), "finding") if found else f"{len(TOPICS)} topics as registered")
    sys.exit(NOT_AS_REGISTERED if found else 0)


def _admin() -> Admin:
    return Admin(reached().kafka)


def _replicas() -> int:
    return reached().kafka.replication_factor


def _change(change: Change) -> dict[str, Any]:
    return {"do": type(change).__name__, "text": str(change), **asdict(change)}


def _changes(found: Plan) -> str:
    return counted(len(found.changes), "change")


def _print(found: Plan, as_json: bool, last_line: str, undone: Sequence[Undone] = ()) -> None:
    """With JSON also what was refused; else the error says it."""
    if as_json:
        told = {
            "changes": [_change(item) for item in found.changes],
            "drifts": [{"text": str(item), **asdict(item)} for item in found.drifts],
            "refused": [{**_change(item.change), "why": item.why, "advice": item.advice} for item in undone],
        }
        print_json(told)
        return
    for change in found.changes:
        click.echo(f"+ {change}")
    for drift in found.drifts:
        click.echo(f"! {drift}")
    if found.drifts:
        click.echo(f"{counted(len(found.drifts), 'drift')} left for a person")
    click.echo(last_line)
