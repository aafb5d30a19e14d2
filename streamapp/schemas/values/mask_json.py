"""JSON with every digit and every repeated key as written, and the secrets in it masked (decision 17).

The pages, the terminal and the archive use the same walk; they differ in their `Rules` alone. Nothing here recurses
with the depth of a tree: 400 levels are valid, and Python's stack ends before that. JSON inside of texts is followed
`TEXTS_MAX` levels; what is deeper is masked as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from streamapp.schemas.envelope import SCHEMA
from streamapp.schemas.values.mask import MASKED, Holds, is_secret, is_value, mask_text, named_secret, secret_places
from streamapp.schemas.values.strict_json import too_deep

TEXTS_MAX = 8


class Digits(str):
    """A number as it is written."""


class Pairs(list[tuple[str, Any]]):
    """An object, repeated keys included."""


class Rules(NamedTuple):
    """What is masked. `text` masks a text that is not JSON, `name` the name of a field."""

    holds: Holds
    text: Callable[[str], str]
    name: Callable[[str], str]


SHOWN = Rules(is_secret, mask_text, mask_text)
"""For people: pages, the terminal. E-mail addresses are masked, too."""


def mask_value(raw: bytes) -> str:
    """A record's value for a person: indented JSON, else text. Never raises."""
    text = raw.decode(errors="replace")
    tree = parsed(text)
    if tree is None:
        return mask_text(text)
    masked, _ = mask_tree(tree, SHOWN, envelope=is_envelope(tree))
    return written(masked, indented=True)


def mask_field(name: str, text: str) -> str:
    """The value of a header for a person. It may be JSON."""
    return MASKED if is_secret(name) else mask_inside(text, SHOWN)


def is_envelope(tree: Any) -> bool:
    """Whether the tree is an event. Its `type` then names what happened, and not a field beside its value."""
    return isinstance(tree, Pairs) and ("schema", SCHEMA) in tree


def parsed(text: str) -> Any:
    """The tree of a text; None for `null` and for what is not JSON, or is nested deeper than JSON may be here."""
    try:
        return None if too_deep(text) else read(text)
    except (ValueError, RecursionError):
        return None


def read(raw: bytes | str) -> Any:
    """The tree of JSON, with `Digits` for numbers and `Pairs` for objects. Raises ValueError."""
    return json.loads(raw, parse_float=Digits, parse_int=Digits, parse_constant=Digits, object_pairs_hook=Pairs)


def mask_tree(tree: Any, rules: Rules, *, envelope: bool = False, level: int = 0) -> tuple[Any, bool]:
    """Mask a tree in place. Returns it, and whether anything was masked. `level`: of how many texts it is inside.

    Masked are fields by their names, values beside the name of a field, pairs, command lines, and what texts hold.
    `true`, `false` and `null` are no secrets: whether there is a password is no secret either.
    """
    root, changed = [tree], False
    todo: list[Any] = [root]
    while todo:
        node = todo.pop()
        for at, name, value, secret in _members(node, rules, envelope and node is tree):
            new_name = name if name is None else rules.name(name)
            new = _masked(value, secret, rules, level)
            if new is not value or new_name != name:
                node[at] = new if name is None else (new_name, new)
                changed = True
            if isinstance(new, list):
                todo.append(new)
    return root[0], changed


def mask_inside(text: str, rules: Rules, level: int = 0) -> str:
    """A text without its secrets. JSON inside of it is written anew only if it holds one."""
    while True:
        masked = _inside(text, rules, level + 1)
        if masked == text:
            return text
        text = masked  # what was masked may have made JSON of it


def written(tree: Any, *, indented: bool = False) -> str:
    """A tree as JSON, on one line or, indented, on many."""
    pieces: list[str] = []
    todo: list[tuple[Any, int]] = [(tree, 0)]
    while todo:
        node, depth = todo.pop()
        if isinstance(node, list):
            todo += _opened(node, depth, indented)
        elif isinstance(node, _Piece | Digits):
            pieces.append(node)
        else:
            pieces.append(quoted(node) if isinstance(node, str) else json.dumps(node))
    return "".join(pieces)


def quoted(text: str) -> str:
    """A text as JSON. One with half of a surrogate pair, which has no UTF-8, stays escaped."""
    as_json = json.dumps(text, ensure_ascii=False)
    return as_json if as_json.isascii() or _is_utf8(as_json) else json.dumps(text)


class _Piece(str):
    """JSON that is written as it is."""


def _members(node: list[Any], rules: Rules, envelope: bool) -> Iterator[tuple[int, str | None, Any, bool]]:
    """Place, name, value, and whether the value is a secret."""
    if isinstance(node, Pairs):
        named = not envelope and named_secret(node, rules.holds)
        for at, (name, value) in enumerate(node):
            yield at, name, value, rules.holds(name) or (named and is_value(name))
    else:
        secret = secret_places(node, rules.holds)
        for at, value in enumerate(node):
            yield at, None, value, at in secret


def _masked(value: Any, secret: bool, rules: Rules, level: int) -> Any:
    """The value that takes its place; the same object where nothing is to be masked here."""
    if secret and value is not None and not isinstance(value, bool):
        return value if value == MASKED else MASKED
    if not isinstance(value, str) or isinstance(value, Digits):
        return value
    masked = mask_inside(value, rules, level)
    return value if masked == value else masked


def _inside(text: str, rules: Rules, level: int) -> str:
    tree = parsed(text) if text.lstrip()[:1] in ("{", "[", '"') else None
    if tree is None:
        return rules.text(text)
    if level > TEXTS_MAX:
        return MASKED
    masked, changed = mask_tree(tree, rules, level=level)
    return written(masked) if changed else text


def _opened(node: list[Any], depth: int, indented: bool) -> list[tuple[Any, int]]:
    """What an array or an object is made of, the last piece first."""
    begin, end = "{}" if isinstance(node, Pairs) else "[]"
    inner, outer = (f"\n{'  ' * (depth + 1)}", f"\n{'  ' * depth}") if indented else ("", "")
    colon = ": " if indented else ":"
    if not node:
        return [(_Piece(begin + end), 0)]
    pieces: list[tuple[Any, int]] = [(_Piece(outer + end), 0)]
    for at in range(len(node) - 1, -1, -1):
        lead = (begin if at == 0 else ",") + inner
        if isinstance(node, Pairs):
            name, value = node[at]
            lead += quoted(name) + colon
        else:
            value = node[at]
        pieces += [(value, depth + 1), (_Piece(lead), 0)]
    return pieces


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
