"""The windows of an exact table's rows, read as Faust's users read theirs: `hourly[key].at(hour)`, `.current()`.

As in Faust, `now` is the window of the wall clock, and `current` and `value` are that of the stream. The stream's time
is the partition's watermark, or the time of an event that is handed in. Times are datetimes or seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple, NoReturn

from faust.types import EventT

Moment = datetime | float
"""A datetime with its time zone, or seconds since the epoch."""

Duration = timedelta | float
"""Or seconds."""


class Side(NamedTuple):
    """A partition in hand: its watermark (ms; -1 before the first event), and start of a window (ms) → row or None."""

    watermark_ms: int
    row_at: Callable[[int], Any]


class Windows:
    """All windows of one key, in the partitions in hand. A window that has no row raises KeyError."""

    def __init__(
        self,
        key: Any,
        span_ms: int,
        sides: Callable[[], Iterable[Side]],
        now_ms: Callable[[], int],
        read_only: Callable[[], TypeError],
        event: EventT | None = None,
    ) -> None:
        self.key = key
        self.span_ms = span_ms
        self._sides, self._now_ms, self._read_only, self._event = sides, now_ms, read_only, event

    def at(self, moment: Moment) -> Any:
        """The row of the window that holds the moment."""
        return self._row(_ms(moment))

    def now(self) -> Any:
        """The row of the window that holds the wall clock's time."""
        return self._row(self._now_ms())

    def current(self, event: EventT | None = None) -> Any:
        """The row of the window that holds the stream's time, or an event's."""
        return self.delta(0.0, event)

    value = current

    def delta(self, ago: Duration, event: EventT | None = None) -> Any:
        """The row of the window that held the stream's time so long before."""
        event = event or self._event
        seconds = ago.total_seconds() if isinstance(ago, timedelta) else ago
        at_ms = None if event is None else _ms(event.message.timestamp)
        return self._row(at_ms, round(seconds * 1000))

    def __getitem__(self, window: EventT | tuple[float, float]) -> Any:
        """`[event]`: the same windows, with the event's time as the stream's. `[start, end]`: that window's row."""
        if isinstance(window, EventT):
            return Windows(self.key, self.span_ms, self._sides, self._now_ms, self._read_only, window)
        return self.at(window[0])

    def _row(self, at_ms: int | None, ago_ms: int = 0) -> Any:
        """`at_ms` None: each partition's watermark."""
        for side in self._sides():
            time_ms = (side.watermark_ms if at_ms is None else at_ms) - ago_ms
            row = side.row_at(time_ms - time_ms % self.span_ms)
            if row is not None:
                return row
        raise KeyError(self.key)

    def _change(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise self._read_only()

    apply = __setitem__ = __delitem__ = _change
    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ior__ = __iand__ = _change

    def __repr__(self) -> str:
        return f"<windows of {self.key!r}, {self.span_ms} ms each>"


def _ms(moment: Moment) -> int:
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ValueError(f"{moment} has no time zone; windows are in UTC: `datetime(…, tzinfo=UTC)`")
        moment = moment.timestamp()
    return round(moment * 1000)
