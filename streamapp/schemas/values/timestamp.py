"""RFC 3339 text ↔ UTC milliseconds (decision 3).

Reading is fast because time stands nearly still: the second (`text[:19]`) and the rest (`text[19:]`: fraction and
offset) each mean a number of milliseconds whatever the other is, so both are remembered and added.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache

DAY_MS = 86_400_000
END_MS = 253_402_300_800_000  # 10000-01-01T00:00:00Z: the first moment that four digits cannot name

SECONDS_MAX = 32_768  # nine hours of distinct seconds, about 5 MB
TAILS_MAX = 8_192  # every millisecond in eight offsets
TAIL_LENGTH_MAX = len(".123+05:30")  # microseconds hardly come twice; they would only push the others out

_SECOND = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})", re.ASCII)
_TAIL = re.compile(r"(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))", re.ASCII)
_EPOCH_DAY = date(1970, 1, 1).toordinal()

# Read by `parse_ms`, and by `decode` in place of calling it; written here only.
seconds: dict[str, int] = {}
tails: dict[str, int] = {}


def parse_ms(text: str) -> int | None:
    """Milliseconds since 1970 of an RFC 3339 timestamp, or None if it is not one.

    Any offset up to 23:59, any fraction (cut to milliseconds, never rounded up), `T` and `Z` in either case; no space
    for `T`. Second 60 is the first millisecond of the next minute. Only real dates from 1970 to the end of 9999 UTC.
    """
    try:
        return seconds[text[:19]] + tails[text[19:]]
    except KeyError:
        return _parse(text)


def written_ms(text: str) -> int:
    """The same of a time that is known to be one: we wrote it, or it was judged before."""
    at_ms = parse_ms(text)
    assert at_ms is not None, text
    return at_ms


@lru_cache(maxsize=1024)  # statements name the same few hours and marks
def format_ms(at_ms: int) -> str:
    """`2025-01-15T10:30:00.123Z`. Defined for 0 ≤ at_ms < the year 10000."""
    assert 0 <= at_ms < END_MS, at_ms
    second, ms = divmod(at_ms, 1000)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03d}Z"


def _parse(text: str) -> int | None:
    second = text[:19]
    base = seconds.get(second)
    if base is None:
        base = _second_ms(second)
    if base is None:
        return None
    tail = _TAIL.fullmatch(text, 19)
    if tail is None:
        return None
    fraction, sign, hours, minutes = tail.groups()
    delta = 0
    if sign is not None:
        if int(hours) > 23 or int(minutes) > 59:
            return None
        offset = (int(hours) * 60 + int(minutes)) * 60_000
        delta = offset if sign == "-" else -offset
    if second.endswith("60"):
        at_ms = base + delta  # a leap second is one moment, whatever its fraction; so it may not be remembered
    else:
        delta += int((fraction or "")[:3].ljust(3, "0"))
        at_ms = base + delta
        _remember(second, base, text[19:], delta)
    return at_ms if 0 <= at_ms < END_MS else None


def _second_ms(text: str) -> int | None:
    match = _SECOND.fullmatch(text)
    if match is None:
        return None
    day, hour, minute, second = match.group(1), int(match.group(2)), int(match.group(3)), int(match.group(4))
    if hour > 23 or minute > 59 or second > 60:
        return None
    try:
        days = date.fromisoformat(day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    return days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000


def _remember(second: str, base: int, tail: str, delta: int) -> None:
    # Seconds within a day of either end stay out: with some offsets they leave the range, which a hit cannot check.
    if DAY_MS <= base < END_MS - DAY_MS:
        if len(seconds) >= SECONDS_MAX:
            seconds.clear()
        seconds[second] = base
    if len(tail) <= TAIL_LENGTH_MAX:
        if len(tails) >= TAILS_MAX:
            tails.clear()
        tails[tail] = delta
