"""How lag, age and time to loss of a group went in the last hour, as `streamapp watch` tells it, ready to be drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from streamapp.web.pages.asked import asked
from streamapp.web.pages.models.charts import MINUTE_MS, Panel
from streamapp.web.peers import Sign, unsigned


class Minute(msgspec.Struct, frozen=True, array_like=True):
    """A group at the end of a minute: records behind, seconds since the oldest of them was written, seconds until one
    of them is deleted. None: not known."""

    start_ms: int
    lag: int | None = None
    age_s: float | None = None
    to_loss_s: float | None = None


Hours = Mapping[str, Sequence[Minute]]
"""Group → the minutes of the last hour, oldest first."""


class _Told(msgspec.Struct):
    groups: dict[str, list[Minute]]


async def ask_watch(url: str, timeout_s: float, sign: Sign = unsigned) -> Hours:
    """What the watch at `url` says. Raises `Unavailable`."""
    return (await asked(url.rstrip("/") + "/watch.json", _Told, timeout_s, sign)).groups


def whole(minutes: Sequence[Minute]) -> tuple[Minute, ...]:
    """The same without a gap: of a minute in which nobody looked, or Kafka was away, nothing is known."""
    by_start = {one.start_ms: one for one in minutes}
    if not by_start:
        return ()
    starts = range(min(by_start), max(by_start) + 1, MINUTE_MS)
    return tuple(by_start.get(start) or Minute(start) for start in starts)


def panels(minutes: Sequence[Minute]) -> list[Panel]:
    """The three charts. Floats: for the eye only."""
    lags = tuple(None if one.lag is None else float(one.lag) for one in minutes)
    ages, losses = tuple(one.age_s for one in minutes), tuple(one.to_loss_s for one in minutes)
    return [
        Panel("lag", "Lag", "records", (("records", "p50", lags),), bars=False),
        Panel("age", "Oldest unread record", "s", (("age", "p95", ages),), bars=False),
        Panel("loss", "Time to loss", "s", (("left", "p99", losses),), bars=False),
    ]
