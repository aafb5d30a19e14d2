"""The code in Markdown texts: what the documentation tells people to type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

CODE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$|(?<!`)`((?:[^`\n]|\n(?!\s*\n))+)`(?!`)", re.MULTILINE | re.DOTALL)
CONTINUED = re.compile(r" *\\\n\s*")


def code(text: str) -> Iterator[tuple[str, str]]:
    """The code in a text, in order: ("inline", span) or (language of a block, one line of it). A line break in a span
    is a space, as Markdown has it; a line of a block that ends with a backslash goes on with the next."""
    for language, block, span in CODE.findall(text):
        if span:
            yield "inline", re.sub(r"\s*\n\s*", " ", span)
        for line in CONTINUED.sub(" ", block).splitlines():
            yield language or "text", line


def commands(text: str, program: str) -> Iterator[list[str]]:
    """Each call of a program in a text's code, as words without the program."""
    for kind, line in code(text):
        if kind not in {"inline", "sh"}:
            continue
        for part in re.split(r"&&|\|\||[|;]", line.partition(" #")[0].removeprefix("#")):
            words = part.split()
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                del words[0]
            if words[:1] == [program] and not (words[1:] and words[1][0] in "=:…"):
                yield shlex.split(" ".join(words[1:]))
