"""Settings as people are shown them: each with its variable, meaning and source. No secret is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, SecretStr

from streamapp.settings import DELIMITER, PREFIX, Settings

MASK = "••••••"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^?#]*)(.*)", re.DOTALL)
_OWN = ("HOST", "PORT", "DIR")  # how the names of addresses, ports and folders end


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


def is_own(variable: str) -> bool:
    """Whether each worker may have a value of its own: the address or port that it listens on, a folder of its host."""
    return variable.rpartition("_")[2] in _OWN


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
    if isinstance(value, SecretStr):
        return MASK
    return _url(str(value)) if "://" in str(value) else str(value)


def _url(text: str) -> str:
    """A URL without its user information, its query and its fragment: each may hold a password. A password that is not
    escaped may hold `@`, `/`, `?` or `#`; where it is unclear what belongs to it, all behind the scheme is masked."""
    found = _URL.fullmatch(text)
    if found is None:
        return MASK
    scheme, rest, query = found.groups()
    if "@" in query or "://" in rest + query:
        return scheme + MASK
    user, at, where = rest.rpartition("@")
    return f"{scheme}{MASK if at else user}{at}{where}{query[:1]}{MASK if query[1:] else ''}"
