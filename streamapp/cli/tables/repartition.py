"""`streamapp repartition`: move a table to the partitions that its source topic has got."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from streamapp.cli import printed
from streamapp.cli.group import Choice
from streamapp.cli.printed import json_option, print_json
from streamapp.cli.reached import reached
from streamapp.clock import wall_ms
from streamapp.exact.declaration import TableDeclaration
from streamapp.meters.registry import declared
from streamapp.replay.repartition import Moved, repartition
from streamapp.settings import Settings
from streamapp.topics import registry

TABLES = sorted(name for name, changelog in registry.tables().items() if changelog.keyed)


@click.command("repartition")
@click.option("--table", default="usage_hourly", show_default=True, type=Choice(TABLES), help="Table to move.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Show what would be moved; change nothing. For this, too, the group must be stopped.",
)
@json_option
def command(table: str, dry_run: bool, as_json: bool) -> None:
    """Move a table after its source topic got more partitions.

    Record keys then have other partitions, and what was counted of them has to follow: the rows of teams and agents,
    and remembered ids. Rows that only add up over partitions stay where they are. What the old partitions still hold
    is counted first. Workers refuse to start until the move is done; after a failure, run it again. Stop the workers
    of the table's group first, raise the topic's partitions, and give producers the time to notice
    (metadata.max.age.ms, 5 minutes by default). Each table that is made from the topic has to be moved.
    """
    declaration = declared(table)
    with TemporaryDirectory(prefix="streamapp-repartition-") as folder:
        moved = asyncio.run(_move(declaration, reached(), Path(folder), dry_run, show_progress=not as_json))
    if as_json:
        print_json(as_object(table, moved, dry_run))
    else:
        click.echo(sentence(table, moved, dry_run))


async def _move(
    declaration: TableDeclaration, settings: Settings, folder: Path, dry_run: bool, show_progress: bool
) -> Moved:
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with printed.progress(show_progress, *columns, transient=True) as progress:
        task = progress.add_task("restore", total=None)

        return await repartition(
            declaration.origin,
            settings,
            declaration.make_task(settings, wall_ms),
            folder,
            wall_ms,
            dry_run=dry_run,
            step=lambda name: progress.update(task, description=name),
        )


def sentence(table: str, moved: Moved, dry_run: bool) -> str:
    """What was done, for a person."""
    old, new, sealed = moved.stage
    if moved.done:
        return f"{table} has {new} partitions, as its topic: nothing to do"
    if sealed:
        return f"the move of {table} to {new} partitions {'would be' if dry_run else 'was'} finished"
    verb = "would be" if dry_run else "were"
    return (
        f"{table}: {old} → {new} partitions; {moved.folded:,} records {verb} counted first, {moved.rows:,} rows and "
        f"{moved.ids:,} rows of ids {verb} moved"
    )


def as_object(table: str, moved: Moved, dry_run: bool) -> dict[str, Any]:
    """The same for a program."""
    old, new, sealed = moved.stage
    facts = {"table": table, "from": old, "to": new, "resumed": sealed, "nothing_to_do": moved.done}
    return {**facts, "folded": moved.folded, "rows": moved.rows, "ids": moved.ids, "dry_run": dry_run}
