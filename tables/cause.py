"""Why dead letters are written, told apart: one cause is a topic, who refused, the reason, and the shape of the
error."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

OTHER = "other"
QUOTED_CHARS_MAX = 100


def quoted(text: str) -> str:
    """A text of a record as it stands in a sentence: cut, in double quotes, as JSON spells it. Every sentence about a
    record quotes its words so, because what stands in quotes is left out of causes."""
    return json.dumps(text[:QUOTED_CHARS_MAX], ensure_ascii=False)


class Cause(NamedTuple):
    """`by` is the consumer group or the producer that refused the records; `shape` is the error without what belongs to
    one record."""

    topic: str
    by: str
    reason: str
    shape: str

    @property
    def id(self) -> str:
        """The fingerprint: 16 hexadecimal digits, the same everywhere and always."""
        parts = (part.encode(errors="replace") for part in self)
        return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).hexdigest()[:16]

    def without_shape(self) -> Cause:
        """For causes beyond those that are told apart."""
        return self._replace(shape=OTHER)


NAMELESS = Cause(OTHER, OTHER, OTHER, OTHER)
