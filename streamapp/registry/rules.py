"""What may be registered: a JSON Schema that the judge of compatibility understands, and that keeps what was valid
valid (decision 27). Pure, and bounded: a text gets its verdict against one version within a tenth of a second."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from streamapp.schemas.compatibility.rules import incompatibilities

POLICY = "LENIENT"
"""Confluent's name for how decision 27 reads `BACKWARD`."""

SCHEMA_BYTES_MAX = 64 << 10
DEPTH_MAX = 64
LEVELS = (
    "NONE",
    "BACKWARD",
    "BACKWARD_TRANSITIVE",
    "FORWARD",
    "FORWARD_TRANSITIVE",
    "FULL",
    "FULL_TRANSITIVE",
)
MODES = ("READWRITE", "READONLY", "READONLY_OVERRIDE")


class Invalid(Exception):
    """This is no schema that can be registered: why."""


def parsed(text: str) -> Any:
    """A schema's document. Raises `Invalid`."""
    if len(text) > SCHEMA_BYTES_MAX or len(text.encode("utf-8", "surrogatepass")) > SCHEMA_BYTES_MAX:
        raise Invalid(f"the schema has more than {SCHEMA_BYTES_MAX >> 10} KiB")
    if _depth(text) > DEPTH_MAX:
        raise Invalid(f"the schema is nested more than {DEPTH_MAX} levels deep")
    try:
        text.encode()
        document = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
        json.dumps(document, ensure_ascii=False).encode()  # an escape may hold one, too
    except UnicodeEncodeError:
        raise Invalid("the schema holds half of a surrogate pair") from None
    except json.JSONDecodeError as error:
        raise Invalid(f"the schema is not JSON: {error.msg.lower()} at character {error.pos}") from None
    except ValueError:  # an integer of thousands of digits
        raise Invalid("the schema holds a number that is too long") from None
    if not isinstance(document, dict | bool):
        raise Invalid("a schema is an object, true or false")
    return document


def understood(document: Any) -> None:
    """Raises `Invalid` with the place when the judge could never compare this schema, not even with itself."""
    if problems := incompatibilities(document, document):
        first = problems[0]
        raise Invalid(f"{first} (at {first.pointer or '/'})")


def problems(level: str, older: Sequence[str], new: Any, *, every: bool = False) -> list[str]:
    """Why the new schema may not follow the older ones (the oldest first) at this level, as sentences; [] if it may.

    The reasons are those of the newest version that it may not follow, or of `every` one. Added optional fields are
    fine: Confluent's policy LENIENT.
    """
    looked_at = older if level.endswith("_TRANSITIVE") else older[-1:]
    found: list[str] = []
    for text in reversed(looked_at):
        old = json.loads(text)
        if level.startswith(("BACKWARD", "FULL")):
            found += [f"{one} (at {one.pointer or '/'})" for one in incompatibilities(old, new)]
        if level.startswith(("FORWARD", "FULL")):
            found += [f"to readers of before, {one}" for one in incompatibilities(new, old)]
        if found and not every:
            break
    # A schema of another registry may hold half of a surrogate pair, which no answer can.
    return list(dict.fromkeys(one.encode("utf-8", "replace").decode() for one in found))


def _depth(text: str) -> int:
    """How deep brackets are nested, at most; those within strings count, too."""
    deepest = depth = 0
    for letter in text:
        if letter in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif letter in "]}":
            depth -= 1
    return deepest


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Invalid("an object of the schema has a key twice")
    return found


def _no_number(name: str) -> float:
    raise Invalid(f"{name} is no number of JSON")
