"""The rows of the latency table: windows of a minute and of an hour, a series' total for ever, and when they go.

An event counts in four rows, its minute's and its hour's, each for its series and for all together; and in its series'
total. The fast path brings sums of each row; what the table counts itself is gathered by minute and series.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tables.latency.tally import ALL, Name, Series, Tally
from tables.outcome import Folded, Position
from tables.window import HOUR_MS, MINUTE_MS, hour_of

RECENT_MS = 5 * MINUTE_MS  # minutes stay in memory for so long: an event is rarely later
MINUTE, HOUR = "minute", "hour"
SPANS_MS = {MINUTE: MINUTE_MS, HOUR: HOUR_MS}


class WindowKey(NamedTuple):
    """A row: `span` is `MINUTE` or `HOUR`."""

    span: str
    start_ms: int
    series: Series


class WindowRows(Protocol):
    """The stored windows of one partition, as of the last chunk."""

    def window(self, key: WindowKey) -> Tally | None: ...

    def windows_between(self, span: str, start_ms: int, stop_ms: int) -> Iterable[bytes]:
        """Keys of rows with `start_ms <= start < stop_ms`, as they are stored."""


@dataclass
class LatencyOutcome(Folded):
    """What a chunk changed. None: the row is gone."""

    windows: dict[WindowKey, Tally | None] = field(default_factory=dict)
    gone: list[bytes] = field(default_factory=list)  # keys, as stored, of further windows that are gone
    totals: dict[Series, Tally | None] = field(default_factory=dict)  # counts for ever, without bins
    places: dict[Name, int | None] = field(default_factory=dict)
    candidates: Mapping[Name, int] | None = None  # None: as before
    passed_over: dict[str, int] = field(default_factory=dict)  # reason or `DUPLICATE` → records, for ever


class Windows:
    """One partition's rows: recent windows and all totals in memory, the other windows in the mapping."""

    def __init__(self, rows: WindowRows, position: Position, minutes_ms: int) -> None:
        self.rows, self.position, self.minutes_ms = rows, position, minutes_ms
        self.totals: dict[Series, Tally] = {}
        self.outcome = LatencyOutcome()
        self._deltas: dict[tuple[int, Series], Tally] = {}
        self._recent: dict[WindowKey, Tally] = {}
        self._counted_ms = position.watermark_ms  # no row of a window that begins above it can be stored
        self._minutes_from_ms = self._oldest_minute()

    def begin(self, outcome: LatencyOutcome) -> None:
        """A chunk begins."""
        self.outcome = outcome
        self._counted_ms = self.position.watermark_ms

    def delta(self, minute_ms: int, series: Series) -> Tally:
        """What the chunk has counted and not gathered yet."""
        delta = self._deltas.get((minute_ms, series))
        if delta is None:
            delta = self._deltas[minute_ms, series] = Tally()
        return delta

    def gather(self) -> None:
        """Add what was counted to the rows."""
        for (minute_ms, series), delta in self._deltas.items():
            for span, start_ms in ((MINUTE, minute_ms), (HOUR, hour_of(minute_ms))):
                self.add(WindowKey(span, start_ms, ALL), delta.copy())
                self.add(WindowKey(span, start_ms, series), delta.copy())
        self._deltas.clear()

    def add(self, key: WindowKey, delta: Tally) -> None:
        """Count in a row, unless it is too old to be kept. The tally is ours from now on: it may become the row."""
        if key.span == HOUR:
            if key.series != ALL:
                self._total(key.series).add_counts(delta)
        elif key.start_ms < self._oldest_minute():
            return
        row = self._recent.get(key)
        if row is None and key.start_ms <= self._counted_ms:
            row = self.rows.window(key)
        if row is None:
            row = delta
        else:
            row.add(delta)
        self._recent[key] = self.outcome.windows[key] = row

    def weights(self) -> dict[Name, int]:
        """Calls of each name, ever."""
        self.gather()
        weights: dict[Name, int] = {}
        for series, total in self.totals.items():
            weights[series.name] = weights.get(series.name, 0) + total.requests
        return weights

    def retire(self, name: Name, heir: Name) -> None:
        """What a name counted for ever is its heir's from now on. Its windows stay as they are."""
        for series in [series for series in self.totals if series.name == name]:
            self._total(Series(*heir, series.stream)).add_counts(self.totals.pop(series))
            self.outcome.totals[series] = None

    def expire(self, limit_ms: int, open_hours: Iterable[int]) -> None:
        """Let go of old minutes, of hours that ended at or before `limit_ms`, and of what need not be in memory: hours
        that are open may."""
        oldest_ms, position = self._oldest_minute(), self.position
        if oldest_ms > self._minutes_from_ms:
            self._remove(MINUTE, self._minutes_from_ms, oldest_ms)
            self._minutes_from_ms = oldest_ms
        until_ms = hour_of(max(limit_ms, 0))
        if until_ms > position.expired_ms:
            self._remove(HOUR, max(position.expired_ms - HOUR_MS, 0), until_ms - HOUR_MS + 1)
        position.expired_ms = max(position.expired_ms, until_ms)
        first = {MINUTE: position.watermark_ms - RECENT_MS, HOUR: min(open_hours, default=position.watermark_ms)}
        for key in [key for key in self._recent if key.start_ms < first[key.span]]:
            del self._recent[key]

    def _total(self, series: Series) -> Tally:
        total = self.totals.get(series)
        if total is None:
            total = self.totals[series] = Tally()
        self.outcome.totals[series] = total
        return total

    def _remove(self, span: str, start_ms: int, stop_ms: int) -> None:
        self.outcome.gone += self.rows.windows_between(span, start_ms, stop_ms)
        for key in [key for key in self._recent if key.span == span and key.start_ms < stop_ms]:
            del self._recent[key]
            self.outcome.windows[key] = None

    def _oldest_minute(self) -> int:
        oldest_ms = max(self.position.watermark_ms - self.minutes_ms, 0)
        return oldest_ms - oldest_ms % MINUTE_MS
