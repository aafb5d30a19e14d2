"""`streamapp schemas`: the catalog of event types, for people and for other languages."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from streamapp.cli.group import Group
from streamapp.errors import Misconfigured
from streamapp.schemas.catalog import CATALOG, json_schemas
from streamapp.schemas.compatibility.rules import incompatibilities

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def file_text(schema: dict[str, Any]) -> str:
    """The bytes of an exported file: stable, so that a change shows as a difference of a few lines."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


@click.group(cls=Group)
def command() -> None:
    """The catalog of event types and their JSON Schemas."""


@command.command("list")
@_json
def list_types(as_json: bool) -> None:
    """Print every event type with its topic and model."""
    if as_json:
        rows = [{"type": one.event_type, "topic": one.topic, "family": one.family} for one in CATALOG]
        click.echo(json.dumps({"types": rows}, indent=2))
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
@click.option(
    "--against",
    "folder",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder that an earlier `export --dir` wrote.",
)
@_json
def check(folder: Path, as_json: bool) -> None:
    """Compare the schemas with exported ones: exit 1 if an event that was valid could no longer be read."""
    current = json_schemas()
    problems: list[str] = []
    exported = sorted(folder.glob("*.json"))
    if not exported:
        raise Misconfigured(
            f"{folder} holds no exported schemas; write them with: streamapp schemas export --dir {folder}"
        )
    for path in exported:
        if path.stem not in current:
            problems.append(f"{path.stem}: the type was removed or renamed")
            continue
        found = incompatibilities(_read(path), current[path.stem])
        problems += [f"{path.stem}: {problem} (at {problem.pointer or '/'})" for problem in found]
    if as_json:
        click.echo(json.dumps({"compatible": not problems, "compared": len(exported), "problems": problems}, indent=2))
        sys.exit(1 if problems else 0)
    for problem in problems:
        click.echo(problem)
    if problems:
        sys.exit(1)
    click.echo(f"{len(exported)} exported schemas, all compatible (BACKWARD)")


def _read(path: Path) -> dict[str, Any]:
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Misconfigured(f"{path} is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise Misconfigured(f"{path} is not a JSON Schema object")
    return schema
