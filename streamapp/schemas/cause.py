"""Why letters were written, so that a thousand of one cause are one thing to look at."""

from __future__ import annotations

import hashlib
import re

from streamapp.schemas.mask import mask_text

SHAPE_CHARS_MAX = 160
ERROR_CHARS_MAX = 1000  # as in a letter

# What differs from record to record: quoted values, ids, numbers. Field names stay.
_QUOTED = re.compile(r"'[^']*+'|\"[^\"]*+\"|`[^`]*+`")
_ID = re.compile(r"\b(?=\w*\d)\w{8,}\b")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d++(?:[.,:TZ+-]++\d++)*+Z?")


def shape(error: str) -> str:
    """The sentence without what belongs to one record only, secrets and addresses included. The shape of a shape is
    itself."""
    text = error[:ERROR_CHARS_MAX]
    while (found := _shaped(text)) != text:
        text = found  # what is left out may uncover the edge of something else
    return text


def _shaped(text: str) -> str:
    text = mask_text(text)
    for pattern in (_QUOTED, _ID, _NUMBER):
        text = pattern.sub("…", text)
    return text[:SHAPE_CHARS_MAX]


def fingerprint(source_topic: str, reason: str, error: str) -> str:
    """Twelve hex digits; the same for letters of one cause: source topic, reason, and shape of the error."""
    facts = "\0".join((source_topic, reason, shape(error)))
    return hashlib.sha256(facts.encode(errors="replace")).hexdigest()[:12]
