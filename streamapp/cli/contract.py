"""`streamapp contract`: what producers in other languages need, and what is wrong with what they wrote."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from streamapp.cli.group import Choice, Group
from streamapp.cli.printed import json_option, print_json
from streamapp.cli.reached import reached
from streamapp.contract.check import Check, Finding, Seen
from streamapp.contract.kit import write
from streamapp.errors import Refused
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import Span, read, spans
from streamapp.schemas.catalog import JUDGES
from streamapp.schemas.values.escaped import escaped
from streamapp.topics.registry import topic

NAMED = 10  # sources in an error


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
@click.option("--topic", "name", required=True, type=Choice(list(JUDGES)), help="Whose records are looked at.")
@click.option("--last", default=10_000, show_default=True, type=click.IntRange(1), help="Offsets of each partition.")
@click.option("--source", default="", help="Only what this producer wrote, by the `source` of its events.")
@json_option
def check(name: str, last: int, source: str, as_json: bool) -> None:
    """Read back what producers wrote, and say what is wrong with it: exit 1 if anything is.

    Money that was a float, another partitioner than murmur2, values in a schema registry's frame, clocks, ids that
    repeat, and every event that consumers refuse. With --source also what does not tell whose it is. Changes nothing
    and belongs to no group; needs READ on the topic.
    """
    config = confluent_config(reached().kafka)
    there = spans(config, name)
    looked = Check(topic(name), len(there))
    newest = {number: Span(max(span.start, span.end - last), span.end) for number, span in there.items()}
    for record in read(config, name, newest):
        looked.look(Seen(*record[1:6]))
    records, found = of_source(looked, name, source)
    if as_json:
        facts = {"topic": name, "records": records, "findings": [one._asdict() for one in found]}
        print_json(facts)
    elif found:
        click.echo("\n".join(lines(looked, name, found)))
    else:
        click.echo(f"{records:,} records of {name}, nothing wrong")
    sys.exit(1 if found else 0)


def of_source(looked: Check, name: str, source: str) -> tuple[int, list[Finding]]:
    """How many records may be of a producer, and what is wrong with them; of all producers where `source` is empty.
    What does not tell whose it is may be anybody's. Raises `Refused` when no record is of that producer."""
    if not source:
        return looked.sources.total(), looked.findings()
    if source not in looked.sources:
        told = f"{looked.sources.total():,} records of {name} were looked at, and none is of {escaped(source)}"
        if looked.sources[""]:
            told += f"; {looked.sources['']:,} do not tell their source"
        there = ", ".join(escaped(one) for one, _ in looked.sources.most_common(NAMED) if one) or "none"
        raise Refused(f"{told}. The sources there: {there}. Leave out --source, or look further back with --last")
    found = [one for one in looked.findings() if one.source in ("", source)]
    return looked.sources[source] + looked.sources[""], found


def lines(looked: Check, name: str, found: Iterable[Finding]) -> Iterator[str]:
    """For people. Names and values are a producer's, so a terminal gets them escaped."""
    for one in found:
        of = f"{one.records:,} of {looked.sources[one.source]:,} records"
        yield f"{escaped(one.source) or '(no source)'}  {one.fault}  {of}"
        yield f"    first at {name} partition {one.partition} offset {one.offset}: {escaped(one.sentence)}"
