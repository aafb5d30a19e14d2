"""The header by which a request is followed through many services: W3C Trace Context, level 1.

It is passed on as it came: from capture's request to its records, with a record into its dead letter, and back when
the dead letter is sent again. No spans are made here; histograms name one trace a chunk as an exemplar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

HEADER = "traceparent"
BYTES_MAX = 256  # later versions of the standard may add fields

_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?", re.DOTALL)


def trace_id(headers: Iterable[tuple[str, bytes | None]]) -> str:
    """The trace id that a record's headers name, 32 hexadecimal digits; empty where there is none."""
    for name, content in headers:
        if name == HEADER and content is not None:
            match = _PARENT.fullmatch(content)
            return "" if match is None else match[1].decode()
    return ""
