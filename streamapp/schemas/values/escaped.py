"""Text that a producer chose, as it may stand on a page or in a terminal."""

from __future__ import annotations


def escaped(name: str) -> str:
    """The text, in which controls, direction overrides and halves of surrogate pairs are escapes."""
    if name.isprintable():
        return name
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in name)
