"""When an event happened: the client's text in every form its own server accepts, put right by the client's clock.

    timestamp and sent_at    now - (sent_at - timestamp): a wrong clock of the client does not matter
    timestamp alone          as it is
    offset                   that many milliseconds ago; wins over timestamp
    none, or unreadable      now; unreadable ones are counted by library

More than 23 hours ahead is a broken clock: now. What the envelope cannot say (before 1970, after 9999) is 1970.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any

from dateutil import parser as dateutil_parser

from streamapp.schemas.values.timestamp import END_MS, format_ms, parse_ms

AHEAD_MAX_MS = 23 * 3_600_000
TEXT_MAX = 200  # JavaScript writes the zone's name, in the language of its user, behind the date
DATE_MAX = 64  # without that name
SENT_MIN_MS = 1_577_836_800_000  # 2020: a smaller `_` is in seconds, from libraries of long ago

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[0-9]{1,19}(?:\.[0-9]+)?", re.ASCII)
_COMMENT = re.compile(r"\s*\(.*\)$")  # "(Central European Standard Time)"
_TIME = re.compile(r"\b[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?![0-9:])")
_TAIL = re.compile(
    r"(?P<half>\s*[ap]\.?m\.?(?![a-z]))?\s*(?P<name>[a-z]+)?\s*(?P<offset>[+-][0-9]{1,2}(?::?[0-9]{2})?)?(?P<year>\s+[0-9]{4})?\s*",
    re.IGNORECASE,
)
_ZONES = {
    # dead letters → hours: RFC 5322, 4.3. All others mean several things.
    **dict.fromkeys(("Z", "UTC", "UT", "GMT"), 0),
    **{"EDT": -4, "EST": -5, "CDT": -5, "CST": -6, "MDT": -6, "MST": -7, "PDT": -7, "PST": -8},
}
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
    text = _COMMENT.sub("", text.strip())
    if len(text) > DATE_MAX:
        return None
    if _NUMBER.fullmatch(text):
        return _epoch_ms(text)
    for read in (_iso, _with_zone):
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


def _with_zone(text: str) -> datetime:
    """A date in words. Its zone is read here: libraries ignore some, guess others, and turn the sign of `UTC+3`."""
    time = _TIME.search(text)
    tail = None if time is None else _TAIL.fullmatch(text, time.end())
    if time is None or tail is None:
        return _anything(text)
    zone = _zone(tail["name"], tail["offset"])
    rest = f"{text[: time.end()]}{tail['half'] or ''}{tail['year'] or ''}"
    return _anything(rest).replace(tzinfo=zone)


def _zone(name: str | None, offset: str | None) -> tzinfo:
    """East of Greenwich is +, whatever dead letters of UTC stand before it. Raises ValueError for other dead
    letters."""
    hours = 0 if name is None else _ZONES.get(name.upper())
    if hours is None or (hours and offset):
        raise ValueError(f"{name} is no zone that all agree on")
    if not offset:
        return timezone(timedelta(hours=hours))
    digits = offset[1:].replace(":", "")
    away = (
        timedelta(hours=int(digits[:-2] or 0), minutes=int(digits[-2:]))
        if len(digits) > 2
        else timedelta(hours=int(digits))
    )
    return timezone(-away if offset[0] == "-" else away)


def _anything(text: str) -> datetime:
    if _YEAR.search(text) is None:
        raise ValueError("a date without a year")  # dateutil would take the present one
    moment: datetime = dateutil_parser.parse(text, default=_EPOCH, tzinfos=_named)
    return moment


def _named(name: str | None, offset: int | None) -> tzinfo | None:
    """What dateutil asks for each zone that it finds in an unusual place."""
    if name is None:
        return None if offset is None else timezone(timedelta(seconds=offset))
    if offset:
        raise ValueError("dead letters and an offset in an unusual place")
    return _zone(name, None)


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
