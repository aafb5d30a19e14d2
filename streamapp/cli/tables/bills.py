"""`streamapp bills`: what the ledger has, for finance."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import click

from streamapp.cli.group import Choice, Group
from streamapp.schemas.values.money import money_text
from streamapp.settings import current
from streamapp.sinks.ledger.database import open_ledger
from streamapp.sinks.ledger.export import Format, Sums, export, kind_of
from tables.window import month_end, month_start

FORMATS = ("csv", "jsonl", "parquet")


class Month(click.ParamType):
    """`2025-01` → its span."""

    name = "YYYY-MM"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[int, int]]:
        try:
            text = str(value)
            if len(text) != 7 or text[4] != "-":
                raise ValueError
            return text, (month_start(text), month_end(text))
        except ValueError:
            self.fail(f"{value!r} is not a month like 2025-01", param, ctx)


@click.group(cls=Group, name="bills")
def command() -> None:
    """The bills of the ledger. It is where STREAM_LEDGER_URL says. Nothing here changes it."""


@command.command(name="export")
@click.option("--month", required=True, type=Month(), help="The UTC month of the hours that are billed, like 2025-01.")
@click.option(
    "--format", "kind", type=Choice(FORMATS), help="Format [default: by the extension of --out; csv without one]."
)
@click.option("--org", default="", help="Only this org.")
@click.option("--team", default="", help="Only this team.")
@click.option("--lines", is_flag=True, help="One row for each model of a bill.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file [default: standard output]."
)
@click.option("--json", "as_json", is_flag=True, help="Print the sums as one JSON object on standard error.")
def export_command(
    month: tuple[str, tuple[int, int]],
    kind: str | None,
    org: str,
    team: str,
    lines: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Write the bills of a month: the highest revision of each hour, whose sum is what `streamapp verify` counts.

    Money has 12 decimals: a text in csv and jsonl, decimal(38, 12) in parquet. What was written is summed up on
    standard error. A file is there as a whole, or not at all.
    """
    name, span = month
    named = kind_of(out) if out is not None else ""
    if kind is None and out is not None and out.suffix and not named:
        raise click.UsageError(f"{out.name} says no format: end it in .csv, .jsonl or .parquet, or add --format")
    chosen = cast(Format, kind or named or "csv")
    if chosen == "parquet" and out is None and sys.stdout.isatty():
        raise click.UsageError("parquet is no text: name a file with --out, or send it into one")
    sums = asyncio.run(_written(span, out, chosen, org, team, lines))
    said = {"month": name, "bills": sums.bills, "cost": {key: money_text(sum_) for key, sum_ in sums.cost.items()}}
    if as_json:
        click.echo(json.dumps(said), err=True)
        return
    money = ", ".join(f"{currency} {money_text(cost)}" for currency, cost in sorted(sums.cost.items())) or "nothing"
    click.echo(f"{sums.bills:,} bill{'s' if sums.bills != 1 else ''} of {name}: {money}", err=True)


async def _written(span: tuple[int, int], out: Path | None, kind: Format, org: str, team: str, lines: bool) -> Sums:
    settings = current()
    ledger = open_ledger(settings.ledger)
    await ledger.open(create=False)
    try:
        with _target(out) as file:
            return await export(ledger, span, file, kind, org=org, team=team, lines=lines)
    finally:
        await ledger.close()


@contextmanager
def _target(out: Path | None) -> Iterator[IO[bytes]]:
    """Where the bills go. A file is there as a whole or not at all; a pipe or a device is written to, not replaced."""
    if out is None:
        yield sys.stdout.buffer
    elif out.exists() and not out.is_file():
        with out.open("wb") as special:
            yield special
    else:
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=f".{out.name}-", delete=False) as file:
            try:
                yield cast(IO[bytes], file)
            except BaseException:
                os.unlink(file.name)
                raise
        os.replace(file.name, out)
