"""`streamapp settings`: every setting, its meaning and where its value came from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import click
from pydantic import BaseModel, SecretStr
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from streamapp.settings import DELIMITER, PREFIX, Settings, current

MASK = "••••••"
_PASSWORD_IN_URL = re.compile(r"(://[^/@:]*:)[^/@]*@")


@dataclass(frozen=True, slots=True)
class Row:
    """One setting. Values as text; a secret's is never told; empty: not set."""

    variable: str
    value: str
    default: str
    meaning: str
    source: Literal["environment", "default"]


def rows(settings: Settings) -> tuple[Row, ...]:
    """Every setting in the order of the tree. The environment is the source of what was given to the tree."""
    return tuple(_flat(settings, PREFIX))


def _flat(section: BaseModel, prefix: str) -> Iterator[Row]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        variable = prefix + name.upper()
        if isinstance(value, BaseModel):
            yield from _flat(value, variable + DELIMITER)
            continue
        yield Row(
            variable=variable,
            value=_text(value),
            default=_text(field.get_default(call_default_factory=True, validated_data={})),
            meaning=field.description or "",
            source="environment" if name in section.model_fields_set else "default",
        )


def _text(value: Any) -> str:
    if value is None:
        return ""
    return MASK if isinstance(value, SecretStr) else _PASSWORD_IN_URL.sub(rf"\1{MASK}@", str(value))


@click.command(name="settings")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def command(as_json: bool) -> None:
    """Print every setting with its meaning and where its value came from.

    A setting is an environment variable; names with two underscores are sections.
    """
    found = rows(current())
    if as_json:
        click.echo(json.dumps([asdict(row) for row in found], indent=2, ensure_ascii=False))
        return
    out = Console(highlight=False)
    for row in found:
        style = "bold" if row.source == "environment" else ""
        note = " (from the environment)" if row.source == "environment" else ""
        out.print(Text(f"{row.variable}={row.value}{note}", style, overflow="fold"))
        out.print(Padding(Text(row.meaning, "dim"), (0, 0, 0, 4)))
