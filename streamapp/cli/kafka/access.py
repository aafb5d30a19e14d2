"""`streamapp access`: who may do what in Kafka, by the registry and on the cluster."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import click
from rich import box
from rich.table import Table

from streamapp.access.acl import Acl
from streamapp.access.plan import AccessPlan
from streamapp.access.wanted import matrix, principals, wanted
from streamapp.cli.group import Group
from streamapp.cli.kafka.access_rotate import rotate_command
from streamapp.cli.kafka.topics import NOT_AS_REGISTERED, WORK_TO_DO
from streamapp.cli.printed import counted, json_option, print_json, print_table
from streamapp.cli.reached import reached
from streamapp.errors import Refused
from streamapp.kafka.acls import AccessAdmin, apply, planned, prune


@click.group(cls=Group, name="access")
def command() -> None:
    """Plan, apply, prune and check who may do what: Kafka's access control lists, derived from the registry.
    Rotate passwords.

    `apply` and `prune` are for a super user of the brokers (ALTER on the cluster); `plan` and `check` for the principal
    `reconciler` as well. Entries of principals that are not ours are reported and never touched.
    """


@command.command(name="plan")
@json_option
def plan_command(as_json: bool) -> None:
    """Say what `apply` would add and what `prune` would take away. Exit code 0: nothing; 2: there is work to do."""
    found = planned(_admin())
    _print(found, as_json, f"{_changes(found)} to do")
    sys.exit(0 if found.is_clean else WORK_TO_DO)


@command.command(name="apply")
@json_option
def apply_command(as_json: bool) -> None:
    """Add what is missing, and wait until every broker goes by it. Takes nothing away.

    Exit code 0: everybody may do what it must and nothing else; 1: somebody may do more, which is left for `prune` or
    for you.
    """
    done = apply(_admin())
    _print(done, as_json, _changes(done))
    sys.exit(NOT_AS_REGISTERED if done.drifts else 0)


@command.command(name="prune")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def prune_command(yes: bool, as_json: bool) -> None:
    """Take away what our principals may do and must not. Names each entry, and asks."""
    if as_json and not yes:
        raise click.UsageError("--json does not ask: add --yes")
    admin = _admin()
    excess = planned(admin).excess
    if not as_json:
        _lines("-", excess)
    if excess and not yes and not click.confirm(f"Take away {_rights(excess)}?"):
        raise Refused("nothing was taken away")
    prune(admin, excess)
    if as_json:
        _print_json(pruned=excess)
    else:
        click.echo(f"{_rights(excess)} taken away")


@command.command(name="check")
@json_option
def check_command(as_json: bool) -> None:
    """Change nothing. Exit code 0: the cluster is as registered; 1: it is not.

    It is not, when a principal of ours lacks an entry or has one too many, or when an entry is about everybody
    (`User:*`). Other principals' entries are reported, and are no finding.
    """
    found = planned(_admin())
    _print(found, as_json, f"{_rights(found.kept)} as registered" if found.is_clean else f"{_changes(found)} to do")
    sys.exit(0 if found.is_clean else NOT_AS_REGISTERED)


@command.command(name="matrix")
@json_option
def matrix_command(as_json: bool) -> None:
    """Print who may do what, by the registry: principal, resource, operations. Asks no cluster."""
    if as_json:
        _print_json(principals=[one._asdict() for one in principals()], rights=wanted())
        return
    table = Table("principal", "resource", "operations", box=box.SIMPLE_HEAD)
    for row in matrix(wanted()):
        table.add_row(*row)
    print_table(table)


command.add_command(rotate_command)


def _admin() -> AccessAdmin:
    return AccessAdmin(reached().kafka)


def _rights(acls: tuple[Acl, ...]) -> str:
    return counted(len(acls), "right")


def _changes(found: AccessPlan) -> str:
    return counted(len(found.changes), "change")


def _lines(mark: str, acls: Iterable[Acl]) -> None:
    for acl in acls:
        click.echo(f"{mark} {acl}")


def _row(item: Any) -> Any:
    return {"text": str(item), **item._asdict()} if isinstance(item, Acl) else item


def _print_json(**told: Iterable[Any]) -> None:
    print_json({name: [_row(item) for item in items] for name, items in told.items()})


def _print(found: AccessPlan, as_json: bool, last_line: str) -> None:
    if as_json:
        _print_json(changes=found.changes, kept=found.kept, excess=found.excess, foreign=found.foreign)
        return
    _lines("+", found.changes)
    for acl in found.excess:
        click.echo(f"! {acl}; it must not: `streamapp access prune` takes it away")
    for acl in found.foreign:
        whose = "everybody has it" if acl in found.everybody else "not ours, left alone"
        click.echo(f"{'!' if acl in found.everybody else ' '} {acl}; {whose}")
    click.echo(f"{_rights(found.kept)} in place, {len(found.excess)} too many, {len(found.foreign)} of others")
    click.echo(last_line)
