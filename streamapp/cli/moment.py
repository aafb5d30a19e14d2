"""A time on the command line."""

from __future__ import annotations

from typing import Any

import click

from streamapp.clock import Clock, wall_ms
from streamapp.schemas.values.timestamp import DAY_MS, parse_ms


class Moment(click.ParamType):
    """RFC 3339, in UTC when it has no offset; a date, `today` or `yesterday` is its midnight in UTC; `now`."""

    name = "time"

    def __init__(self, clock: Clock = wall_ms) -> None:
        self._clock = clock

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        named = self._named(value)
        if named is not None:
            return named
        for text in (value, f"{value}Z", f"{value}T00:00:00Z"):
            at_ms = parse_ms(text)
            if at_ms is not None:
                return at_ms
        self.fail(f"{value!r} is not a time like 2025-01-15T10:00:00Z, 2025-01-15, yesterday, today or now", param, ctx)

    def _named(self, value: str) -> int | None:
        now_ms = self._clock()
        today_ms = now_ms - now_ms % DAY_MS
        return {"now": now_ms, "today": today_ms, "yesterday": today_ms - DAY_MS}.get(value)
