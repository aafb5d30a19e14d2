"""A time on the command line."""

from __future__ import annotations

from typing import Any

import click

from streamapp.schemas.timestamp import parse_ms


class Moment(click.ParamType):
    """RFC 3339, in UTC when it has no offset."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        at_ms = parse_ms(value)
        at_ms = parse_ms(f"{value}Z") if at_ms is None else at_ms
        if at_ms is None:
            self.fail(f"{value!r} is not a time like 2025-01-15T10:00:00Z", param, ctx)
        return at_ms
