"""`streamapp contract`: what producers in other languages need, and what is wrong with what they wrote."""

from __future__ import annotations

from pathlib import Path

import click

from streamapp.contract.kit import write


@click.group()
def command() -> None:
    """The contract with producers in other languages: schemas, vectors, clients; and a check of their records."""


@command.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def export(folder: Path) -> None:
    """Write the contract to DIR: JSON Schemas, golden vectors, an AsyncAPI document, a producer in each language."""
    for path in write(folder):
        click.echo(str(path))
