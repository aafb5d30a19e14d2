"""Text that no UTF-8 can hold, mended. Pure."""

from __future__ import annotations

import re

# Half of a surrogate pair: a text cut in the middle of a letter. JavaScript writes it; no UTF-8 can hold it.
# One match is all that is whole, and the half behind it: as many steps as there are halves, whatever the bytes are.
_HALF = rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
_PAIR = rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_UP_TO_A_HALF = re.compile(rb"((?:[^\\]++|" + _PAIR + rb"|(?!" + _HALF + rb")\\.)*+)(" + _HALF + rb")?", re.DOTALL)
HALVES_MAX = 10_000  # texts that were cut; what has more of them is no text


def mend(raw: bytes) -> bytes:
    """What no UTF-8 can hold becomes U+FFFD, as a browser shows it; of halves of surrogate pairs the first
    `HALVES_MAX` do."""
    if not raw.isascii():
        raw = raw.decode(errors="replace").encode()
    return _UP_TO_A_HALF.sub(lambda match: match[1] + (rb"\ufffd" if match[2] else b""), raw, HALVES_MAX)
