"""`streamapp schemas`: the catalog of event types, for people and for other languages."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import click

from streamapp.cli.group import Group
from streamapp.cli.printed import json_option, print_json
from streamapp.cli.reached import reached
from streamapp.errors import Misconfigured, StreamError
from streamapp.registry.rehearse import LAST, Rehearsal, lines, rehearse
from streamapp.schemas.catalog import CATALOG, json_schemas
from streamapp.schemas.compatibility.rules import incompatibilities
from streamapp.schemas.released import FOLDER, file_text, released, type_of, unreleased, write
from streamapp.settings import current


@click.group(cls=Group)
def command() -> None:
    """The catalog of event types and their JSON Schemas."""


@command.command("list")
@json_option
def list_types(as_json: bool) -> None:
    """Print every event type with its topic and model."""
    if as_json:
        rows = [{"type": one.event_type, "topic": one.topic, "family": one.family} for one in CATALOG]
        print_json({"types": rows})
        return
    width_type = max(len(entry.event_type) for entry in CATALOG)
    width_topic = max(len(entry.topic) for entry in CATALOG)
    for entry in CATALOG:
        model = f"{entry.model.__module__}.{entry.model.__name__}"
        click.echo(f"{entry.event_type:<{width_type}}  {entry.topic:<{width_topic}}  {model}")


@command.command()
@click.option("--dir", "folder", type=click.Path(file_okay=False, path_type=Path), help="Write <type>.json files here.")
def export(folder: Path | None) -> None:
    """Write the JSON Schemas: one file per type, or all as one JSON object on standard output."""
    schemas = json_schemas()
    if folder is None:
        click.echo(file_text(schemas), nl=False)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for event_type, schema in schemas.items():
        path = folder / f"{event_type}.json"
        path.write_text(file_text(schema), encoding="utf-8")
        click.echo(str(path))


@command.command()
def release() -> None:
    """Write the next version of every type that has changed: a file in streamapp/schemas/versions, to be committed.

    Exit 1 if an event that was valid could no longer be read: then nothing is written.
    """
    changed = unreleased(released())
    problems = [
        f"{subject} {one.version}: {problem} (at {problem.pointer or '/'})"
        for subject, schema in changed.items()
        if type_of(subject)
        for one in released()
        if one.subject == subject
        for problem in incompatibilities(one.schema, schema)
    ]
    if problems:
        click.echo("\n".join(problems))
        sys.exit(1)
    for one in write(FOLDER, changed):
        click.echo(f"{one.subject} {one.version}: id {one.id}")
    if not changed:
        click.echo(f"nothing has changed: {len(released())} released versions")


@command.command()
@click.option(
    "--against",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder that an earlier `export --dir` wrote. By default the released versions.",
)
@click.option("--rehearse/--no-rehearse", "real", default=True, help="Whether Kafka is asked for real events.")
@json_option
def check(folder: Path | None, real: bool, as_json: bool) -> None:
    """Compare the schemas with earlier ones: exit 1 if an event that was valid could no longer be read.

    Where Kafka answers, each type that has changed is also rehearsed against the newest events of its topic.
    """
    older = _released() if folder is None else _exported(folder)
    now = json_schemas()
    problems: list[str] = []
    for event_type, schema in older:
        if event_type not in now:
            problems.append(f"{event_type}: the type was removed or renamed")
            continue
        found = incompatibilities(schema, now[event_type])
        problems += [f"{event_type}: {problem} (at {problem.pointer or '/'})" for problem in found]
    rehearsed, why_not = rehearsed_all(older, now, _of_kafka) if real else ([], "")
    fine = not problems and not any(one.refused for one in rehearsed)
    if as_json:
        told = [_as_json(one) for one in rehearsed]
        print_json({"compatible": fine, "compared": len(older), "problems": problems, "rehearsed": told})
    else:
        click.echo("".join(f"{line}\n" for line in (*problems, *chain.from_iterable(map(lines, rehearsed)))), nl=False)
    if why_not:
        click.echo(why_not, err=True)
    if not fine:
        sys.exit(1)
    if not as_json:
        what = "released versions" if folder is None else "exported schemas"
        click.echo(f"{len(older)} {what}, all compatible (BACKWARD)")


@command.command("rehearse")
@click.argument("event_type", metavar="TYPE")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--last", type=click.IntRange(1, 1_000_000), default=LAST, show_default=True, help="How many events.")
@json_option
def rehearse_type(event_type: str, file: Path, last: int, as_json: bool) -> None:
    """Try the JSON Schema in FILE on the newest real events of a type: how many it would refuse, and whose.

    Events that the newest released version does not take are left out. Reads the topic, writes nothing. Exit 1 if an
    event would be refused.
    """
    told = rehearse(reached().kafka, event_type, _read(file), last)
    if as_json:
        print_json(_as_json(told))
    else:
        click.echo("\n".join(lines(told)))
    if told.refused:
        sys.exit(1)


Older = tuple[str, Mapping[str, Any]]
"""A type, and an earlier schema of it."""

Rehearse = Callable[[str, Mapping[str, Any], Mapping[str, Any]], Rehearsal]
"""Type, the schema to try, the schema that counted events are valid under; raises `StreamError`."""


def _released() -> list[Older]:
    return [(type_of(one.subject), one.schema) for one in released() if type_of(one.subject)]


def _exported(folder: Path) -> list[Older]:
    found: list[Older] = [(path.stem, _read(path)) for path in sorted(folder.glob("*.json"))]
    if not found:
        raise Misconfigured(
            f"{folder} holds no exported schemas; write them with: streamapp schemas export --dir {folder}"
        )
    return found


def rehearsed_all(
    older: Sequence[Older], now: Mapping[str, Mapping[str, Any]], ask: Rehearse
) -> tuple[list[Rehearsal], str]:
    """What the newest events say of each type that has changed, where Kafka is there to tell; and why the rest is not
    known. Of a type's earlier schemas the last one is that of its events: the models have the new one already."""
    told: list[Rehearsal] = []
    for event_type, before in dict(older).items():
        if event_type not in now or before == now[event_type]:
            continue
        try:
            told.append(ask(event_type, now[event_type], before))
        except StreamError as error:
            return told, f"{event_type}: not rehearsed: {error}"
    return told, ""


def _of_kafka(event_type: str, new: Mapping[str, Any], before: Mapping[str, Any]) -> Rehearsal:
    return rehearse(current().kafka, event_type, new, now=before)


def _as_json(told: Rehearsal) -> dict[str, Any]:
    return {**asdict(told), "events": told.events, "refused": told.refused}


def _read(path: Path) -> dict[str, Any]:
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Misconfigured(f"{path} is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise Misconfigured(f"{path} is not a JSON Schema object")
    return schema
