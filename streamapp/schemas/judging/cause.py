"""Why a dead letter was written, so that a thousand of one cause are one thing to look at: its `tables.cause.Cause`."""

from __future__ import annotations

import re

from streamapp.schemas.values.mask import mask_text
from tables.cause import Cause

SHAPE_CHARS_MAX = 160
ERROR_CHARS_MAX = 1000  # as in a dead letter
NAME_CHARS_MAX = 100

# What differs from record to record: quoted values, ids, numbers. Field names stay. A record may hold quotes, too, so
# what is quoted ends at the last quote of the sentence, or at its end. An apostrophe inside of a word is no quote.
_QUOTED = re.compile(r"(?<!\w)['\"`].*(?:[\"`]|(?<!\w)'|'(?!\w))|(?<!\w)['\"`].*|[\"`].*", re.DOTALL)
_OPEN = re.compile(r"(?<!\w)['\"`]")
_ID = re.compile(r"\b(?=\w*\d)\w{8,}\b")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d++(?:[.,:TZ+-]++\d++)*+Z?")


def cause_of(topic: str, by: str, reason: str, error: str) -> Cause:
    """What a dead letter says → its cause. Whoever tells dead letters apart does it by the cause's `id`."""
    topic, by, reason = (text[:NAME_CHARS_MAX] for text in (topic, by, reason))
    return Cause(topic, by, reason, shape(error))


def shape(error: str) -> str:
    """The sentence without what belongs to one record only, secrets and addresses included. The shape of a shape is
    itself."""
    text = error[:ERROR_CHARS_MAX]
    if len(error) >= ERROR_CHARS_MAX and (quote := _OPEN.search(text)):
        text = text[: quote.start()] + "…"  # the closing quote may be what was cut off
    while (found := _shaped(text)) != text:
        text = found  # what is left out may uncover the edge of something else
    return text


def _shaped(text: str) -> str:
    for pattern in (_QUOTED, _ID, _NUMBER):
        text = pattern.sub("…", text)
    text = mask_text(text)
    return text[:SHAPE_CHARS_MAX]
