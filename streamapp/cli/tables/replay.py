"""`streamapp replay`: read a group's records again, or recompute its table and publish what changed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from rich.table import Table

from streamapp.cli.group import Choice
from streamapp.cli.moment import Moment
from streamapp.cli.printed import console, print_json, print_table
from streamapp.cli.reached import reached
from streamapp.cli.tables.rewrite import rewritten, span_of
from streamapp.cli.tables.talk import Talk, advance, demand_silence, dry_run_option, json_option, unreadable, yes_option
from streamapp.clock import wall_ms
from streamapp.errors import Refused
from streamapp.exact.declaration import TableDeclaration
from streamapp.kafka.admin import Admin
from streamapp.meters.registry import TABLES, declared
from streamapp.replay.offsets import SILENT_STATES, Move, Where, planned, put_back
from streamapp.replay.recompute import Published, Recomputation, money, offsets_to_read, publish, recomputation
from streamapp.settings import Settings
from streamapp.topics import registry

GROUPS = sorted({changelog.producers[0] for changelog in registry.tables().values()})

_OFFSETS = re.compile(r"\d+|\d+:\d+(,\d+:\d+)*", re.ASCII)


class Offsets(click.ParamType):
    """`N` for every partition, or `P:N[,P:N…]`."""

    name = "offset"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Where:
        if _OFFSETS.fullmatch(value) is None:
            self.fail(f"{value!r} is neither an offset nor partition:offset[,partition:offset…]", param, ctx)
        if ":" not in value:
            return Where(offset=int(value))
        pairs = [pair.split(":") for pair in value.split(",")]
        return Where(offsets={int(partition): int(offset) for partition, offset in pairs})


@click.command("replay")
@click.option("--group", type=Choice(GROUPS), help="Consumer group whose records are read again.")
@click.option("--table", "name", type=Choice([name for name, _ in TABLES]), help="Name the group by its table instead.")
@click.option(
    "--to-datetime", "at_ms", type=Moment(), help="Start at the first record with this broker timestamp or later."
)
@click.option(
    "--to-offset", "offsets", type=Offsets(), help="Start at these offsets: N for all partitions, or P:N[,P:N…]."
)
@click.option("--to-earliest", "earliest", is_flag=True, help="Start at the beginning of the log.")
@click.option("--recompute", is_flag=True, help="Recount the range, correct the table and publish what changed.")
@click.option("--rewrite", is_flag=True, help="Make a sink's rows of --from … --to again; its workers go on.")
@click.option("--from", "from_ms", type=Moment(), help="With --rewrite: records with this broker timestamp or later.")
@click.option("--to", "to_ms", type=Moment(), help="With --rewrite: records before this broker timestamp.")
@dry_run_option
@json_option
@yes_option
def command(
    group: str | None,
    name: str | None,
    at_ms: int | None,
    offsets: Where | None,
    earliest: bool,
    recompute: bool,
    rewrite: bool,
    from_ms: int | None,
    to_ms: int | None,
    dry_run: bool,
    as_json: bool,
    yes: bool,
) -> None:
    """Read a group's records again.

    Puts the group's offsets back: its workers read the records again, and skip what they have counted or kept. Nothing
    is billed, counted or written twice. With --recompute the offsets stay, and the range is counted anew from the log.
    Where the table differs, its rows are put right: a table that states hours states what was closed as revisions,
    rpc_hourly carries what was settled wrongly into the account's next settlement, other tables state nothing. Events
    that were refused stay refused: redrive their dead letters.

    With --rewrite the rows that a sink has of a time are made again with today's code, and replace those that differ;
    readers see each event once, before, meanwhile and after. The archive gets a new generation of its objects, and
    keeps the old. A run that was killed is run again: it goes on.

    Stop the group's workers first; of `streamapp run` with `streamapp stop GROUP`. A dry run without --recompute, and
    --rewrite, need no stop.
    """
    if (at_ms is not None) + (offsets is not None) + earliest + rewrite != 1:
        raise click.UsageError("say where to: one of --to-datetime, --to-offset and --to-earliest; or --rewrite")
    if (group is None) == (name is None):
        raise click.UsageError("say whose records: one of --group and --table")
    demand_silence(as_json, yes, dry_run)
    talk = Talk(console(quiet=as_json), dry_run, yes)
    span = span_of(group, from_ms, to_ms) if rewrite else None
    if span is None:
        where = Where(at_ms=at_ms) if offsets is None else offsets
        result = asyncio.run(_replay(*_whose(group, name, recompute), where, reached(), talk))
    else:
        result = asyncio.run(rewritten(span, reached(), talk))
    if as_json:
        print_json(result)


def _whose(group: str | None, name: str | None, recompute: bool) -> tuple[str, TableDeclaration | None]:
    """The group, and its table if that is to be recomputed."""
    table = table_of(group) if name is None else declared(name)
    group = group if table is None else table.group
    assert group is not None, "every table is a group's"
    if recompute and table is None:
        raise Refused(f"--recompute is for tables, and {group} has none: what it has written elsewhere stays")
    return group, table if recompute else None


def table_of(group: str | None) -> TableDeclaration | None:
    """The group's table; None if it has none."""
    return next((table for table in (declared(name) for name, _ in TABLES) if table.group == group), None)


async def _replay(
    group: str, table: TableDeclaration | None, where: Where, settings: Settings, talk: Talk
) -> dict[str, Any]:
    (topic,) = registry.group(group).topics
    only_shown = talk.dry_run and table is None  # a table is only compared with the log where nobody writes it
    moves = await planned(settings, group, topic, where, while_running=only_shown, tell=partial(click.echo, err=True))
    print_table(plan_table(moves, topic), talk.console)
    if only_shown and (await asyncio.to_thread(Admin(settings.kafka).group, group)).state not in SILENT_STATES:
        talk.console.print(
            f"{group} runs: stop its workers first, those of `streamapp run` by `streamapp stop {group}`"
        )
    result: dict[str, Any] = {"group": group, "dry_run": talk.dry_run, "moves": [_move(move) for move in moves]}
    if table is not None:
        return result | await _recompute(table, moves, settings, talk)
    records = sum(move.records for move in moves)
    moved = 0
    if records and talk.agreed(f"Put {group} back by {records:,} records?"):
        moved = await put_back(settings.kafka, group, topic, moves)
        partitions = "1 partition" if moved == 1 else f"{moved} partitions"
        talk.console.print(f"{partitions} put back; what was counted or kept will be read again and skipped")
    elif not records:
        talk.console.print(f"0 records to read again: {group} has read no partition beyond that place")
    return result | {"partitions_moved": moved}


async def _recompute(table: TableDeclaration, moves: Sequence[Move], settings: Settings, talk: Talk) -> dict[str, Any]:
    published = Published()
    with TemporaryDirectory(prefix="streamapp-replay-") as folder, talk.progress() as progress:
        total = offsets_to_read(table, moves)
        reading = progress.add_task("events", total=total)
        make = recomputation(table, settings, wall_ms, moves, Path(folder), advance(progress, reading))
        async with make as made:
            progress.update(reading, completed=total)
            progress.stop()
            talk.console.print(summary(made))
            if made.changes and talk.agreed("Publish?"):
                progress.start()
                writing = progress.add_task("rows", total=made.changes)
                published = await publish(made, wall_ms(), advance(progress, writing))
                progress.stop()
                talk.console.print(f"{published.rows:,} rows put right, {published.statements:,} statements published")
            return {"recompute": _counts(made), "published": published._asdict()}


def plan_table(moves: Sequence[Move], topic: str) -> Table:
    """The plan for a person."""
    table = Table("partition", "from (committed)", "to", "events to re-read", title=f"Read {topic} again")
    for move in moves:
        committed = "nothing" if move.committed is None else f"{move.committed:,}"
        table.add_row(str(move.partition), committed, f"{move.to:,}", f"{move.records:,}")
    table.add_row("all", "", "", f"{sum(move.records for move in moves):,}", style="bold")
    return table


def summary(made: Recomputation) -> str:
    """`17 of 4,212 hours change, + 3.41 USD`, and what was left alone."""
    counts, unit = _counts(made), made.table.correction.unit
    sums = [signed(amount, currency) for currency, amount in money(made.comparisons).items()]
    text = ", ".join([f"{counts['changes']:,} of {counts[unit]:,} {unit} change", *sums])
    if counts["out_of_reach"]:
        text += f"\nout of reach: {counts['out_of_reach']:,}, not all of their records lie in the range"
    if counts["contradicted"]:
        text += f"\nleft alone: {counts['contradicted']:,}, some of their events would be refused today"
    return text + unreadable(made.unreadable)


def signed(amount: Decimal, currency: str) -> str:
    """`+ 3.41 USD`: exact, with at least two decimals."""
    whole, _, digits = format(abs(amount), "f").partition(".")
    return f"{'-' if amount < 0 else '+'} {int(whole):,}.{digits.rstrip('0').ljust(2, '0')} {currency}"


def _counts(made: Recomputation) -> dict[str, Any]:
    found = made.comparisons
    return {
        made.table.correction.unit: sum(one.compared for one in found),
        "changes": made.changes,
        "out_of_reach": sum(one.out_of_reach for one in found),
        "contradicted": sum(one.contradicted for one in found),
        "unreadable": made.unreadable,
        "money": {currency: format(amount, "f") for currency, amount in money(found).items()},
    }


def _move(move: Move) -> dict[str, Any]:
    return {"partition": move.partition, "from": move.committed, "to": move.to, "records": move.records}
