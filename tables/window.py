"""Hours, marks, months: the arithmetic of event time. All times are milliseconds since the epoch, UTC."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
MARK_MS = 5 * MINUTE_MS
"""Late usage is stated at multiples of this."""

EVERY = 1 << 62
"""As `Rules.names_max`: all names are told apart."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How time closes hours (decision 9).

    grace_ms      how far the watermark must pass an hour's end to close it
    retention_ms  how far behind the watermark a record may be and still count; older rows expire
    future_ms     how far ahead of its broker timestamp a record may be
    remember_ms   how long an event id is remembered after its hour closed, at least
    names_max     how many names a row tells apart: models of a bill, methods of an account; the rest counts as one
    """

    grace_ms: int = 5 * MINUTE_MS
    retention_ms: int = 14 * DAY_MS
    future_ms: int = 5 * MINUTE_MS
    remember_ms: int = 24 * HOUR_MS
    names_max: int = 200


def hour_of(at_ms: int) -> int:
    """Start of the hour `[start, start + HOUR_MS)` that holds the moment."""
    return at_ms - at_ms % HOUR_MS


def hour_at_or_after(at_ms: int) -> int:
    """The first full hour at or after the moment."""
    return -(-at_ms // HOUR_MS) * HOUR_MS


def next_close(watermark_ms: int, grace_ms: int) -> int:
    """The lowest watermark above this one that closes an hour."""
    return hour_of(watermark_ms - grace_ms) + HOUR_MS + grace_ms


def mark_after(watermark_ms: int) -> int:
    """The first five-minute mark above the watermark."""
    return watermark_ms - watermark_ms % MARK_MS + MARK_MS


@lru_cache(maxsize=1024)  # every row of an hour asks for the same moment
def month_of(at_ms: int) -> str:
    """The UTC month that holds the moment, like `2025-01`."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m")


def month_start(month: str) -> int:
    """The moment the month (`2025-01`) begins."""
    return int(datetime(int(month[:4]), int(month[5:]), 1, tzinfo=UTC).timestamp()) * 1000


def month_end(month: str) -> int:
    """The moment the month (`2025-01`) ends."""
    return month_start(month) + monthrange(int(month[:4]), int(month[5:]))[1] * 24 * HOUR_MS
