"""`streamapp dead-letters`: what was refused, why, and what became of it."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from streamapp.cli.dead_letters.act import drop_command, redrive_command
from streamapp.cli.dead_letters.options import facts, filters, source, wanted
from streamapp.cli.group import Choice, Group
from streamapp.cli.printed import console, counted, json_option, print_json, print_table
from streamapp.cli.reached import reached
from streamapp.dead_letters.done import read_done
from streamapp.dead_letters.read import Letter, Unreadable, extent, letters
from streamapp.errors import Refused
from streamapp.events.names import written
from streamapp.kafka.clients.security import confluent_config
from streamapp.schemas.judging.cause import shape
from streamapp.schemas.values.mask import mask_text
from streamapp.schemas.values.mask_json import mask_field, mask_value
from streamapp.schemas.values.timestamp import format_ms

STATES = ("waiting", "redriven", "dropped")
STYLES = {"waiting": "yellow", "redriven": "green", "dropped": "dim"}
HOURS_SHOWN = 24
CAUSES_SHOWN = 20
EVENT_LETTERS = 20  # of one event, the newest

_state = click.option(
    "--state",
    type=Choice((*STATES, "all")),
    default="waiting",
    show_default=True,
    help="Only dead letters in this state.",
)


@click.group(cls=Group, name="dead-letters")
def command() -> None:
    """What was refused: look at it, send it again, or mark it as dealt with.

    Dead letters are kept for 30 days on dead_letter. Nothing here deletes any.
    """


command.add_command(redrive_command)
command.add_command(drop_command)


@command.command(name="list")
@filters
@_state
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most this many, newest first."
)
@json_option
def list_command(state: str, limit: int, as_json: bool, **options: Any) -> None:
    """Dead letters, newest first."""
    want = wanted(options, state=None if state == "all" else state)
    done = read_done(confluent_config(reached().kafka))
    newest: deque[Letter] = deque(maxlen=limit)
    matching, unreadable = 0, 0
    for letter in _all():
        if isinstance(letter, Unreadable):
            unreadable += 1
        elif want.takes(letter, done):
            matching += 1
            newest.append(letter)
    shown = [facts(letter, done) for letter in reversed(newest)]
    if as_json:
        print_json({"matching": matching, "unreadable": unreadable, "letters": shown})
        return
    table = Table("id", "refused at", "source", "by", "reason", "team", "try", "state", "what was wrong")
    for letter, fact in zip(reversed(newest), shown, strict=True):
        state_text = f"[{STYLES[fact['state']]}]{fact['state']}[/]"
        by, team, error = (escape(str(text)) for text in (letter.by, fact["team"] or "–", fact["error"]))
        row = (escape(letter.id), fact["failed_at"], escape(source(letter)), by, escape(letter.reason), team)
        table.add_row(*row, str(letter.attempt), state_text, error)
    out = console()
    if newest:
        print_table(table, out)
    which = "" if state == "all" else state
    out.print(
        counted(matching, f"{which} dead letter".strip())
        + (f", the newest {limit:,} shown" if matching > limit else "")
    )
    _say_unreadable(unreadable)


@command.command(name="show")
@click.argument("letter_id", metavar="ID")
@click.option("--raw", is_flag=True, help="Write the record's original bytes, nothing else, nothing masked.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="With --raw: write to this file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, masked.")
def show_command(letter_id: str, raw: bool, output: Path | None, as_json: bool) -> None:
    """One dead letter, by its own id or its event's: why, where from, and what the record was.

    Secrets and e-mail addresses are masked without --raw.
    """
    if output is not None and not raw:
        raise click.UsageError("--output is where --raw writes to")
    letter = _one(letter_id)
    if raw:
        _write_raw(letter, output)
        return
    done = read_done(confluent_config(reached().kafka))
    fact = facts(letter, done)
    fact["key"] = None if letter.key is None else mask_text(letter.key.decode(errors="replace"))
    fact["headers"] = [
        {"key": name, "value": None if content is None else mask_field(name, content.decode(errors="replace"))}
        for name, content in letter.headers
    ]
    fact["value"] = None if letter.value is None else mask_value(letter.value)
    if as_json:
        print_json(fact)
        return
    _print_letter(letter, fact)


def _print_letter(letter: Letter, fact: dict[str, Any]) -> None:
    out = console()
    table = Table(show_header=False)
    for name in ("id", "state", "reason", "error", "cause", "failed_at", "attempt", "team", "key"):
        table.add_row(name, escape("–" if fact[name] is None else str(fact[name])))
    table.add_row("refused by", escape(letter.by))
    table.add_row("source", escape(source(letter)))
    table.add_row("letter", written(letter.at))
    for name in ("sent", "done_at", "dropped_because"):
        if fact[name] is not None:
            table.add_row(
                "sent to" if name == "sent" else name.replace("_", " "),
                escape(written(fact[name]) if name == "sent" else str(fact[name])),
            )
    for header in fact["headers"]:
        table.add_row(f"header {escape(header['key'])}", escape(str(header["value"])))
    print_table(table, out)
    if fact["value"] is None:
        out.print("The record has no value.")
        return
    cut = ", cut" if letter.truncated else ""
    out.print(f"Value, {fact['value_bytes']:,} bytes{cut}, secrets and e-mail addresses masked:")
    click.echo(fact["value"])
    out.print(f"The exact bytes: streamapp dead-letters show {letter.id} --raw", style="dim", highlight=False)


@command.command(name="stats")
@filters
@_state
@json_option
def stats_command(state: str, as_json: bool, **options: Any) -> None:
    """Count rejected events by topic, reason, cause and hour."""
    want = wanted(options, state=None if state == "all" else state)
    done = read_done(confluent_config(reached().kafka))
    reasons: Counter[tuple[str, str, str]] = Counter()
    causes: Counter[tuple[str, str, str, str, str]] = Counter()
    hours: Counter[str] = Counter()
    unreadable = 0
    for letter in _all():
        if isinstance(letter, Unreadable):
            unreadable += 1
        elif want.takes(letter, done):
            reasons[letter.topic, letter.by, letter.reason] += 1
            causes[letter.cause, letter.topic, letter.by, letter.reason, shape(letter.error)] += 1
            hours[format_ms(letter.failed_ms)[:13] + ":00Z"] += 1
    if as_json:
        made = {
            "total": reasons.total(),
            "unreadable": unreadable,
            "reasons": [
                dict(zip(("topic", "by", "reason"), k, strict=True), count=n) for k, n in reasons.most_common()
            ],
            "causes": [
                dict(zip(("cause", "topic", "by", "reason", "shape"), k, strict=True), count=n)
                for k, n in causes.most_common()
            ],
            "hours": dict(sorted(hours.items())),
        }
        print_json(made)
        return
    _print_stats(reasons, causes, hours)
    _say_unreadable(unreadable)


def _print_stats(
    reasons: Counter[tuple[str, str, str]], causes: Counter[tuple[str, str, str, str, str]], hours: Counter[str]
) -> None:
    out = console()
    for title, heads, counts, most in (
        ("By topic and reason", ("topic", "refused by", "reason"), reasons, None),
        ("By cause", ("cause", "topic", "refused by", "reason", "error pattern"), causes, CAUSES_SHOWN),
        ("By hour (UTC)", ("hour",), Counter({(hour,): count for hour, count in hours.items()}), None),
    ):
        rows: list[tuple[tuple[str, ...], int]] = list(counts.most_common(most))
        if heads == ("hour",):
            rows = sorted(rows)[-HOURS_SHOWN:]
        table = Table(*heads, "dead letters", title=title)
        table.columns[-1].justify = "right"
        for names, count in rows:
            table.add_row(*map(escape, names), f"{count:,}")
        if rows:
            print_table(table, out)
    out.print(counted(reasons.total(), "dead letter"))


def _all() -> Iterator[Letter | Unreadable]:
    config = confluent_config(reached().kafka)
    return letters(config, extent(config))


def _one(name: str) -> Letter:
    """The dead letter with this id, else the newest about the event with this id; the others are said."""
    about: deque[Letter] = deque(maxlen=EVENT_LETTERS)
    for letter in _all():
        if isinstance(letter, Letter):
            if letter.id == name:
                return letter
            if letter.event_id == name:
                about.append(letter)
    if not about:
        raise Refused(
            f"no dead letter has the id {name}, nor is one about an event {name}; dead letters are kept for 30 days"
        )
    newest = about.pop()
    if about:
        others = ", ".join(letter.id for letter in reversed(about))
        click.echo(f"the newest dead letter about event {name}; there are more: {others}", err=True)
    return newest


def _write_raw(letter: Letter, output: Path | None) -> None:
    if letter.value is None:
        raise Refused("the record has no value: there are no bytes to write")
    if letter.truncated:
        click.echo("the dead letter does not have the whole value, it was cut", err=True)
    if output is None:
        sys.stdout.buffer.write(letter.value)
    else:
        output.write_bytes(letter.value)
        click.echo(f"{len(letter.value):,} bytes written to {output}", err=True)


def _say_unreadable(count: int) -> None:
    if count:
        click.echo(f"{counted(count, 'record')} on dead_letter cannot be read as dead letters", err=True)
