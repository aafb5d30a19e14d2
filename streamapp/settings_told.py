"""Settings as people are shown them: each with its variable, meaning and source. No secret is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, SecretStr

from streamapp.settings import DELIMITER, PREFIX, Settings

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


def changed(settings: Settings) -> list[tuple[str, str]]:
    """Variable and value of every setting that differs from its default."""
    return [(row.variable, row.value) for row in rows(settings) if row.value != row.default]


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
