"""`streamapp contract`: what producers in other languages need, and what is wrong with what they wrote."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from streamapp.cli.group import Group
from streamapp.cli.reached import reached
from streamapp.contract.check import Check, Seen
from streamapp.contract.kit import write
from streamapp.kafka.log.reader import Span, read, spans
from streamapp.kafka.security import confluent_config
from streamapp.schemas.catalog import JUDGES
from streamapp.topics.registry import topic


@click.group(cls=Group)
def command() -> None:
    """The contract with producers in other languages: schemas, vectors, clients; and a check of their records."""


@command.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def export(folder: Path) -> None:
    """Write the contract to DIR: JSON Schemas, golden vectors, an AsyncAPI document, a producer in each language."""
    for path in write(folder):
        click.echo(str(path))


@command.command()
@click.option("--topic", "name", required=True, type=click.Choice(list(JUDGES)), help="Whose records are looked at.")
@click.option("--last", default=10_000, show_default=True, type=click.IntRange(1), help="Offsets of each partition.")
@click.option("--source", default="", help="Only what this producer wrote, by the `source` of its events.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(name: str, last: int, source: str, as_json: bool) -> None:
    """Read back what producers wrote, and say what is wrong with it: exit 1 if anything is.

    Money that was a float, another partitioner than murmur2, values in a schema registry's frame, clocks, ids that
    repeat, and every event that consumers refuse. Changes nothing and belongs to no group; needs READ on the topic.
    """
    config = confluent_config(reached().kafka)
    there = spans(config, name)
    looked = Check(topic(name), len(there))
    newest = {number: Span(max(span.start, span.end - last), span.end) for number, span in there.items()}
    for record in read(config, name, newest):
        looked.look(Seen(*record[1:6]))
    found = [one for one in looked.findings() if source in ("", one.source)]
    if as_json:
        facts = {"topic": name, "records": looked.records, "findings": [one._asdict() for one in found]}
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        sys.exit(1 if found else 0)
    for one in found:
        click.echo(f"{one.source or '(no source)'}  {one.fault}  {one.records:,} of {looked.records:,} records")
        click.echo(f"    first at {name} partition {one.partition} offset {one.offset}: {one.sentence}")
    if found:
        sys.exit(1)
    click.echo(f"{looked.records:,} records of {name}, nothing wrong")
