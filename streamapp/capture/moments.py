"""When an event happened: the client's text in every form its own server accepts, put right by the client's clock.

    timestamp and sent_at    now - (sent_at - timestamp): a wrong clock of the client does not matter
    timestamp alone          as it is
    offset                   that many milliseconds ago; wins over timestamp
    none, or unreadable      now

More than 23 hours ahead is a broken clock: now. What the envelope cannot say (before 1970, after 9999) is 1970.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

from dateutil import parser as dateutil_parser

from streamapp.schemas.timestamp import END_MS, format_ms, parse_ms

AHEAD_MAX_MS = 23 * 3_600_000
TEXT_MAX = 64  # the longest date that a client writes, JavaScript's with the zone's name, has 63 letters
SENT_MIN_MS = 1_577_836_800_000  # 2020: a smaller `_` is in seconds, from libraries of long ago

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TAILS = tuple(f"{ms:03d}Z" for ms in range(1000))
_NUMBER = re.compile(r"[0-9]{1,19}(?:\.[0-9]+)?", re.ASCII)
_ZONE_NAME = re.compile(r"\s*\([^)]*\)$")  # "(Central European Standard Time)"
_SHORT_ZONE = re.compile(r"(T.*[+-][0-9]{2})$")
_YEAR = re.compile(r"[0-9]{4}")
_FRACTIONS = tuple(f"{ms:03d}Z" for ms in range(1000))


def happened_ms(stated_ms: int | None, offset: Any, sent_ms: int | None, now_ms: int) -> int:
    """UTC milliseconds of an event, always something that `format_ms` can write. `stated_ms`: its read timestamp."""
    at_ms = now_ms
    if offset is not None and (ago_ms := _whole(offset)) is not None:
        at_ms = now_ms - ago_ms
    elif stated_ms is not None:
        at_ms = stated_ms if sent_ms is None else now_ms - (sent_ms - stated_ms)
    if at_ms - now_ms > AHEAD_MAX_MS:
        return now_ms
    return at_ms if 0 <= at_ms < END_MS else 0


def read_ms(value: Any) -> int | None:
    """UTC milliseconds of a date in any of the forms, or None. A time without a zone is UTC."""
    if isinstance(value, str):
        at_ms = parse_ms(value)
        return _read_text(value) if at_ms is None else at_ms
    return _epoch_ms(str(value)) if type(value) is int else None


def sent_query_ms(text: str | None) -> int | None:
    """`_` of the query: the client's clock in milliseconds when it sent the request."""
    if not text or not text.isascii() or not text.isdigit() or len(text) > len(str(END_MS)):
        return None
    at_ms = int(text)
    return at_ms if SENT_MIN_MS <= at_ms < END_MS else None


def text_of(at_ms: int) -> str:
    """What `format_ms` writes, faster: events of one body share their second."""
    return _second(at_ms // 1000) + _FRACTIONS[at_ms % 1000]


@lru_cache(maxsize=4096)
def _second(second: int) -> str:
    return format_ms(second * 1000)[:-4]


def _read_text(text: str) -> int | None:
    if len(text) > TEXT_MAX:
        return None
    text = _ZONE_NAME.sub("", text.strip())
    if _NUMBER.fullmatch(text):
        return _epoch_ms(text)
    for read in (_iso, parsedate_to_datetime, _anything):
        try:
            moment = read(text)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            return int((moment - _EPOCH).total_seconds() * 1000 // 1)
        except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
            continue
    return None


def _iso(text: str) -> datetime:
    return datetime.fromisoformat(_SHORT_ZONE.sub(r"\1:00", text) if "T" in text else text)


def _anything(text: str) -> datetime:
    if _YEAR.search(text) is None:
        raise ValueError("a date without a year")  # dateutil would take the present one
    moment: datetime = dateutil_parser.parse(text, default=_EPOCH)
    return moment


def _epoch_ms(digits: str) -> int | None:
    """A number is seconds, milliseconds, microseconds or nanoseconds: whichever is nearest to the present."""
    whole, _, fraction = digits.partition(".")
    if not whole.isdigit():
        return None
    length = len(whole)
    if length <= 11:
        return int(whole) * 1000 + int(fraction[:3].ljust(3, "0"))
    return int(whole) // (1 if length <= 14 else 1_000 if length <= 17 else 1_000_000)


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        whole = value.partition(".")[0]
        digits = whole.removeprefix("-")
        return int(whole) if digits.isascii() and digits.isdigit() and len(digits) < 18 else None
    return value if type(value) is int else None
