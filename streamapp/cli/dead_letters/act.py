"""`streamapp dead-letters redrive` and `drop`: what changes something. The plan is shown first."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click
import jsonpatch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streamapp.capture import again
from streamapp.cli.dead_letters.options import filters, progress, source, wanted
from streamapp.cli.printed import console, counted, print_json, print_table
from streamapp.cli.reached import reached
from streamapp.cli.tables.talk import demand_silence, json_option, yes_option
from streamapp.clock import wall_ms
from streamapp.dead_letters.done import read_done
from streamapp.dead_letters.plan import ATTEMPTS_MAX, Fix, Wanted
from streamapp.dead_letters.read import extent
from streamapp.dead_letters.receipts import receipts_to
from streamapp.dead_letters.redrive import Plan, drop, planned, redrive, to_drop, unknown
from streamapp.errors import Refused
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import Span
from streamapp.schemas.values.mask import mask_text
from streamapp.schemas.values.strict_json import parse
from streamapp.settings import Settings

_ids = click.argument("ids", nargs=-1, metavar="[ID]...")
_limit = click.option("--limit", type=click.IntRange(1), help="At most this many, oldest first.")
_dry_run = click.option("--dry-run", is_flag=True, help="Show the plan; change nothing.")


class Patch(click.ParamType):
    """A file with a JSON Patch (RFC 6902)."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> jsonpatch.JsonPatch:
        try:
            text = Path(value).read_text(encoding="utf-8")
            return jsonpatch.JsonPatch.from_string(text, loads=lambda given: parse(given.encode())[0])
        except OSError as error:
            self.fail(f"{value} cannot be read: {error.strerror}", param, ctx)
        except (ValueError, TypeError, KeyError, jsonpatch.JsonPatchException) as error:
            self.fail(f"{value} is not a JSON Patch (RFC 6902): {error}", param, ctx)


@click.command("redrive")
@_ids
@filters
@click.option("--patch", type=Patch(), help="Edit every value by this JSON Patch (RFC 6902) before it is sent.")
@click.option(
    "--value",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Send the bytes of this file instead; for one ID.",
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Send at most this many per second.")
@click.option(
    "--max-attempts",
    type=click.IntRange(1),
    default=ATTEMPTS_MAX,
    show_default=True,
    help="Skip records that were refused this many times.",
)
@click.option(
    "--receipt",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Add a JSON line for each record sent to this file, also those that a run before was killed over; - is "
    "standard output.",
)
@_limit
@_dry_run
@yes_option
@json_option
def redrive_command(
    ids: tuple[str, ...],
    patch: jsonpatch.JsonPatch | None,
    value: Path | None,
    rate: float | None,
    max_attempts: int,
    receipt: Path | None,
    limit: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Send refused records again, to the topic they came from: all that are waiting, or those meant by ID and options.

    Key, value and headers go as they came; two headers are added: hanzo-attempt and hanzo-letter. What capture
    refused goes through it once more, so --patch and --value are about what the client sent. A dead letter is sent
    once, by whomever: a second run sends only what the first did not, also after a kill. Events that were counted
    before are not counted again.
    """
    if value is not None and (patch is not None or len(ids) != 1):
        raise click.UsageError("--value is for one ID, and without --patch")
    demand_silence(as_json, yes, dry_run)
    if as_json and str(receipt) == "-":
        raise click.UsageError("--json and --receipt - both print to standard output: name a file for the receipts")
    settings, want = reached(), wanted(options, ids=frozenset(ids) or None)
    fix = Fix(patch, None if value is None else value.read_bytes())
    upto = extent(confluent_config(settings.kafka))
    rules = again.resending(settings, settings.kafka, fix, max_attempts)
    _refuse_unknown(settings, upto, ids)
    made = planned(settings.kafka, upto, want, rules, limit)
    _print_plan(made, console(stderr=str(receipt) == "-", quiet=as_json))
    if dry_run:
        _tell(as_json, {**_plan(made), "dry_run": True, "sent": 0})
        return _refuse_stuck(made)
    sent = 0
    send = partial(redrive, settings.kafka, upto, want, rules, limit=limit, rate=rate, clock=wall_ms)
    with receipts_to(receipt, sys.stdout.buffer, f"run_{os.urandom(8).hex()}") as to:
        if not made.records:
            to.complete(read_done(confluent_config(settings.kafka)))
            _refuse_stuck(made)
        elif yes or click.confirm(f"Send {counted(made.records, 'record')} again?"):
            with progress("letters", made.records, shown=not as_json) as told:
                sent = send(told=told, receipts=to)
            click.echo(f"{counted(sent, 'record')} sent again", err=True)
    _tell(as_json, {**_plan(made), "dry_run": False, "sent": sent})


@click.command("drop")
@_ids
@filters
@click.option("--because", default="", help="Why they need nothing more; it is kept with each dead letter.")
@click.option("--undo", is_flag=True, help="Take a drop back: the dead letters wait again.")
@_limit
@_dry_run
@yes_option
@json_option
def drop_command(
    ids: tuple[str, ...],
    because: str,
    undo: bool,
    limit: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Mark dead letters as dealt with: they no longer wait, and are not sent again. Nothing is deleted."""
    if bool(because) == undo:
        raise click.UsageError("say why with --because, or take it back with --undo")
    demand_silence(as_json, yes, dry_run)
    settings = reached()
    want: Wanted = wanted(options, ids=frozenset(ids) or None)
    upto = extent(confluent_config(settings.kafka))
    _refuse_unknown(settings, upto, ids)
    count = to_drop(settings.kafka, upto, want, undo, limit)
    what = "let wait again" if undo else "drop"
    click.echo(f"{counted(count, 'dead letter')} to {what}", err=True)
    if dry_run or not count or not (yes or click.confirm(f"Go on: {what} {counted(count, 'dead letter')}?")):
        return _tell(as_json, {"matching": count, "undo": undo, "dry_run": dry_run, "changed": 0})
    with progress("dead letters", count, shown=not as_json) as advance:
        done = drop(settings.kafka, upto, want, reason=because, undo=undo, limit=limit, clock=wall_ms, told=advance)
    click.echo(f"{counted(done, 'dead letter')} {'waiting again' if undo else 'dropped'}", err=True)
    _tell(as_json, {"matching": count, "undo": undo, "dry_run": False, "changed": done})


def _tell(as_json: bool, facts: Mapping[str, Any]) -> None:
    if as_json:
        print_json(facts)


def _refuse_unknown(settings: Settings, upto: Mapping[int, Span], ids: tuple[str, ...]) -> None:
    """Raises `Refused` when an ID is not that of a dead letter: a mistyped one must not look like success."""
    missing = unknown(settings.kafka, upto, ids)
    if missing:
        one = missing[0]
        raise Refused(
            f"no dead letter has the id {', '.join(missing)}; nothing was changed. Dead letters are kept for 30 days. "
            f"For the id of an event, `streamapp dead-letters show {one}` finds its dead letters"
        )


def _refuse_stuck(made: Plan) -> None:
    """Raises `Refused` when dead letters wait and none of them can be sent."""
    if made.stuck and not made.records:
        raise Refused("no dead letter can be sent: the plan says why each of them is skipped")


def _plan(made: Plan) -> dict[str, Any]:
    """The plan in plain JSON types."""
    sends, skips = made.sends.most_common(), made.stays.most_common()
    return {
        "records": made.records,
        "unreadable": made.unreadable,
        "sends": [{"topic": topic, "reason": why, "changed": [*how], "count": n} for (topic, why, how), n in sends],
        "skips": [{"topic": topic, "reason": why, "because": how, "count": n} for (topic, why, how), n in skips],
    }


def _print_plan(made: Plan, out: Console) -> None:
    table = Table("topic", "reason", "what happens", "dead letters", title="Plan")
    table.columns[-1].justify = "right"
    for (topic, reason, changed), count in made.sends.most_common():
        how = "sent again" + (f" with another {' and '.join(changed)}" if changed else " as it came")
        table.add_row(escape(topic), escape(reason), f"[green]{how}[/]", f"{count:,}")
    for (topic, reason, why), count in made.stays.most_common():
        table.add_row(escape(topic), escape(reason), f"[yellow]skipped[/]: {escape(why)}", f"{count:,}")
    if made.sends or made.stays:
        print_table(table, out)
    for step in made.examples:
        record = step.record
        key = "no key" if record.key is None else f"key {mask_text(record.key.decode(errors='replace'))}"
        text = f"{step.letter.id}: {source(step.letter)} → {record.topic}[{record.partition}], {key}"
        out.print(text, markup=False, highlight=False)
    if made.records > len(made.examples):
        out.print(f"… and {made.records - len(made.examples):,} more")
    if made.unreadable:
        out.print(f"{counted(made.unreadable, 'record')} on dead_letter cannot be read as dead letters")
    out.print(f"{counted(made.records, 'record')} to send")
