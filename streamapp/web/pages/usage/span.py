"""What stretch of time a page is about, as its address says it, and the one before it. Pure."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import NamedTuple

from streamapp.web import show
from streamapp.web.problem import Problem
from tables.window import HOUR_MS, month_end, month_start

DAY_MS = 24 * HOUR_MS
COMPARED = ("", "hour", "day", "month")
MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Span(NamedTuple):
    """Hours that start in [from, until), and in what span before they are compared with; None: with none.
    `is_chosen`: the address says which."""

    from_ms: int
    until_ms: int
    words: str
    is_chosen: bool
    before: tuple[int, int] | None = None
    before_words: str = ""

    @property
    def filter(self) -> dict[str, str]:
        """As workers are asked for its hours."""
        return {"from_ms": str(self.from_ms), "until_ms": str(self.until_ms)} if self.is_chosen else {}

    @property
    def compared(self) -> dict[str, str]:
        """As workers are asked for its sums."""
        span = {"from_ms": str(self.from_ms), "until_ms": str(self.until_ms)}
        if self.before is None:
            return span
        return {**span, "before_from_ms": str(self.before[0]), "before_until_ms": str(self.before[1])}


def span_of(params: dict[str, str], now_ms: int) -> Span:
    """`hour`, `month`, or `from` and `to`; by default the present day. A date alone means the whole of its day. Raises
    `Problem` 400."""
    compare = params.get("compare", "")
    if compare not in COMPARED:
        raise Problem(400, "That cannot be compared", "Compare with the hour, the day or the month before.")
    if params.get("hour"):
        begin = moment_of(params["hour"]) // HOUR_MS * HOUR_MS
        end = begin + HOUR_MS
        words = _words(begin, end)
    elif params.get("month"):
        month = month_of(params["month"])
        begin, end, words = *month_span(month), show.month_name(month)
    elif params.get("from") or params.get("to"):
        begin = moment_of(params["from"]) if params.get("from") else 0
        end = _end_of(params["to"]) if params.get("to") else now_ms // HOUR_MS * HOUR_MS + HOUR_MS
        if end <= begin:
            raise Problem(400, "That span is empty", "`to` lies before `from`.")
        words = _words(begin, end) if begin else f"until {show.day_clock(end)}"
    else:
        begin = now_ms - now_ms % DAY_MS
        return _compared(Span(begin, begin + DAY_MS, "Today", False), compare, now_ms)
    return _compared(Span(begin, end, words, True), compare, now_ms)


def moment_of(text: str) -> int:
    """A moment like `2025-01-15T10:00`, in UTC, or a date. Raises `Problem` 400."""
    try:
        at_ms = int(show.in_utc(text).timestamp()) * 1000
        show.moment(at_ms)  # an offset may carry it over the edge of the calendar
        show.moment(at_ms - 32 * DAY_MS)
    except (ValueError, OverflowError):
        raise Problem(
            400, "That is no hour", "Write the hour as 2025-01-15T10:00, or a date, 2025-01-15, in UTC."
        ) from None
    return at_ms


def month_of(text: str) -> str:
    """Raises `Problem` 400."""
    if MONTH.fullmatch(text) is None or text[:4] in ("0000", "0001", "9999"):
        raise Problem(400, "That is no month", "Write the month as 2025-01.")
    return text


def month_span(month: str) -> tuple[int, int]:
    """Its start and its end, in milliseconds."""
    return month_start(month), month_end(month)


def month_before(at_ms: int) -> int:
    """The same day and time in the month before, or its last day where it has no such day."""
    at = show.moment(at_ms)
    last = at.replace(day=1) - timedelta(days=1)
    return int(last.replace(day=min(at.day, last.day)).timestamp()) * 1000


def _end_of(text: str) -> int:
    return moment_of(text) + (DAY_MS if _DATE.fullmatch(text) else 0)


def _compared(span: Span, compare: str, now_ms: int) -> Span:
    """A span that is not over is compared with as much of the one before."""
    if not compare:
        return span
    so_far = now_ms // HOUR_MS * HOUR_MS + HOUR_MS
    until_ms = so_far if span.from_ms < so_far < span.until_ms else span.until_ms
    if compare == "month":
        before = month_before(span.from_ms), month_before(until_ms)
    else:
        shift = HOUR_MS if compare == "hour" else DAY_MS
        before = span.from_ms - shift, until_ms - shift
    return span._replace(before=before, before_words=_words(*before))


def _words(from_ms: int, until_ms: int) -> str:
    """Nov 30, 10:00–11:00, and 24:00 for the end of a day; the day stands twice where it differs."""
    if from_ms // DAY_MS == (until_ms - 1) // DAY_MS:
        return f"{show.day_clock(from_ms)}–{show.clock(until_ms)[:5] if until_ms % DAY_MS else '24:00'}"
    return f"{show.day_clock(from_ms)} – {show.day_clock(until_ms)}"
