"""`streamapp settings`: every setting, its meaning and where its value came from."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.markup import escape
from rich.table import Table

from streamapp.cli.printed import print_json, print_table
from streamapp.settings import current
from streamapp.settings.told import rows


@click.command(name="settings")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def command(as_json: bool) -> None:
    """Print every setting with its meaning and where its value came from.

    A setting is an environment variable; names with two underscores are sections.
    """
    found = rows(current())
    if as_json:
        print_json([asdict(row) for row in found])
        return
    table = Table("variable", "value", "source", "meaning", box=None, pad_edge=False)
    for row in found:
        style = "bold" if row.source == "environment" else None
        table.add_row(row.variable, escape(row.value), row.source, escape(row.meaning), style=style)
    print_table(table)
