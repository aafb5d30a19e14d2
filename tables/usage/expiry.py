"""Hours and months that no record can reach any more go (decision 9: expired)."""

from __future__ import annotations

from tables.outcome import Outcome, Position, Rows
from tables.window import HOUR_MS, hour_of, month_end, month_of


def expire(position: Position, rows: Rows, outcome: Outcome, limit_ms: int) -> None:
    """Let go of hours that ended at or before `limit_ms`, and of months when one has ended by then."""
    until_ms = hour_of(max(limit_ms, 0))
    if position.expired_ms < 0 or until_ms <= position.expired_ms:
        position.expired_ms = max(position.expired_ms, until_ms)
        return
    stored = {row.key: row for row in rows.hours_ending(position.expired_ms, until_ms)}
    for key in [key for key in outcome.hours if key.start_ms + HOUR_MS <= until_ms]:
        stored[key] = outcome.hours.pop(key)
    outcome.expired += [(key, -1 if row.revision is None else row.revision) for key, row in sorted(stored.items())]
    if month_of(position.expired_ms) != month_of(until_ms):
        now = [key for key in outcome.months if month_end(key.month) <= until_ms]
        outcome.old_months += sorted({*rows.months_ending(until_ms), *now})
        for month in now:
            del outcome.months[month]
    position.expired_ms = until_ms
