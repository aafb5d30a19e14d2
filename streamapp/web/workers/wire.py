"""Facts on the wire between workers, and facts as JSON for readers.

Between workers: msgspec, the dataclasses as they are, Decimal as text. For readers: times as RFC 3339 under a name
without `_ms`, money as text with exactly 12 decimals.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import Any, TypeVar

import msgspec
import orjson

from streamapp.facts.worker import TeamFacts
from streamapp.web import show

T = TypeVar("T")


def encode(value: Any) -> bytes:
    """Facts → bytes for another worker. What JSON does not know becomes its text."""
    return msgspec.json.encode(value, enc_hook=str)


def decode(data: bytes, type_: type[T]) -> T:
    """Bytes of another worker → facts. Raises msgspec.MsgspecError when they do not fit."""
    return msgspec.json.decode(data, type=type_)


def team_with_decimals(team: TeamFacts) -> TeamFacts:
    """Lines are untyped on the wire: their cost comes as text and is a Decimal again after this."""
    lines = tuple({**line, "cost": Decimal(str(line.get("cost", 0)))} for line in team.lines)
    return dataclasses.replace(team, lines=lines)


def json_bytes(value: Any) -> bytes:
    """The JSON twin of a page: indented, because people read it too."""
    return orjson.dumps(plain(value), option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE)


def plain(value: Any) -> Any:
    """Any facts → what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, dict):
        return dict(_plain_item(key, item) for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, Decimal):
        return show.exact(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()  # a lone surrogate is no JSON
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return str(value)  # beyond what JSON readers hold exactly
    if value is None or isinstance(value, bool | int | float | orjson.Fragment):
        return value
    return str(value)


def _plain_item(key: Any, item: Any) -> tuple[str, Any]:
    name = str(key)
    if name.endswith("_ms") and (item is None or isinstance(item, int)):
        return name.removesuffix("_ms"), None if item is None else show.rfc3339(item)
    return name, plain(item)
