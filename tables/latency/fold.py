"""Calls of models by minute and hour: counts, tokens, money, durations with mergeable sketches. Pure.

How records are read is in `fold.py`. A partition counts exactly the events that the ledger (`tables/usage/ledger.py`)
counts: the same admission, the same memory of ids, the same end of lateness; so its hours sum up to the bills. Refused
records are counted here, too, but say nothing: the ledger writes their dead letters.

What is counted goes into the rows of `tables/latency/windows.py`. What they say is a function of the log, whatever the
chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tables.admission import Admission
from tables.fold import NEVER, Fold
from tables.latency.lane import TallyLane
from tables.latency.tally import OTHERS, REST, Name, Series, Tally
from tables.latency.top_models import TopModels
from tables.latency.windows import LatencyOutcome, WindowRows, Windows
from tables.outcome import Position, Record
from tables.seen import Seen, StoredIds, expiry_of
from tables.window import HOUR_MS, MINUTE_MS, Rules, hour_of

DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Limits:
    """What keeps the table small.

    models      told apart in each partition; the rest counts as one
    minutes_ms  how long minutes are kept; hours stay as long as their events may come
    currencies  told apart, for ever; further ones count as one, which is no money but keeps the sum
    """

    models: int = 50
    minutes_ms: int = 2 * HOUR_MS
    currencies: int = 32


LIMITS = Limits()


class Latency(Fold[LatencyOutcome, int]):
    """One partition of the latency table.

    Promises beside those of a fold: totals never go back, but for a model that has lost its place: its counts are the
    rest's from then on. With a fast path everything is the same.
    """

    lane: TallyLane

    def __init__(
        self,
        rules: Rules,
        admission: Admission,
        rows: WindowRows,
        position: Position,
        seen: Seen,
        lane: TallyLane,
        limits: Limits = LIMITS,
    ) -> None:
        self.limits = limits
        self.places = TopModels(limits.models)
        self.windows = Windows(rows, position, limits.minutes_ms)
        self.passed_over: dict[str, int] = {}
        self._currencies: set[str] = set()
        self._learned: set[tuple[Name, str]] = set()
        self._open: set[int] = set()  # hours that are open on the lane
        super().__init__(rules, admission, position, seen, lane)
        self.next_mark_ms = self._next_mark()

    def restore(
        self,
        totals: Iterable[tuple[Series, Tally]],
        passed_over: Iterable[tuple[str, int]],
        places: Iterable[tuple[Name, int]],
        candidates: Iterable[tuple[Name, int]],
        ids: Iterable[tuple[int, StoredIds]],
    ) -> None:
        """Rebuild the memory from stored rows. Windows are read when something counts in them."""
        self.windows.totals, self.passed_over = dict(totals), dict(passed_over)
        self.places.restore(places, candidates)
        self._currencies = {currency for total in self.windows.totals.values() for currency in total.cost} - {REST}
        self.remember(ids)

    # -- records -------------------------------------------------------------------------------------------------

    def _begun(self, chunk: int) -> LatencyOutcome:
        outcome = LatencyOutcome(chunk=chunk)
        self.windows.begin(outcome)
        return outcome

    def _count(self, records: Sequence[Record]) -> None:
        super()._count(records)
        self.windows.expire(self.position.watermark_ms - self.rules.retention_ms, self._open)
        self._note_passed_over()
        self._outcome.places, self._outcome.candidates = self.places.changes()

    def _row_for(self, event: Any, org: str, record: Record) -> int | None:
        """The minute an event counts in; None if it is too late for any."""
        if self._too_late(event.at_ms, record):
            return None
        at_ms: int = event.at_ms
        self._open_hour(hour_of(at_ms), expiry_of(at_ms, self.position.watermark_ms, self.rules))
        return at_ms - at_ms % MINUTE_MS

    def _add(self, row: int, event: Any, record: Record) -> None:
        data = event.data
        name = self._place(Name(data.provider, data.model))
        currency = self._currency(data.currency)
        self.windows.delta(row, Series(*name, data.stream)).count_one(data, currency)
        if name != OTHERS and currency != REST and (name, currency) not in self._learned:
            self._learned.add((name, currency))
            self.lane.learn(name, currency)

    # -- names ---------------------------------------------------------------------------------------------------

    def _place(self, name: Name) -> Name:
        place, lost = self.places.place(name, self._weights)
        if lost is not None:
            self.windows.retire(lost, OTHERS)
            self.lane.forget()
            self._learned.clear()
        return place

    def _weights(self) -> dict[Name, int]:
        self._gather()
        return self.windows.weights()

    def _currency(self, currency: str) -> str:
        if currency not in self._currencies:
            if len(self._currencies) >= self.limits.currencies:
                return REST
            self._currencies.add(currency)
        return currency

    # -- rows ----------------------------------------------------------------------------------------------------

    def _gather(self) -> None:
        """Add to the rows what was counted."""
        for key, tally in self.lane.take():
            self.windows.add(key, tally)
        self.windows.gather()

    def _note_passed_over(self) -> None:
        outcome, known = self._outcome, self.passed_over
        reasons = [str(refusal.reason) for refusal in outcome.refusals]
        if outcome.duplicates:
            known[DUPLICATE] = known.get(DUPLICATE, 0) + outcome.duplicates
            outcome.passed_over[DUPLICATE] = known[DUPLICATE]
        for reason in reasons:
            known[reason] = outcome.passed_over[reason] = known.get(reason, 0) + 1

    # -- marks ---------------------------------------------------------------------------------------------------

    def _open_hour(self, hour_ms: int, expiry_ms: int) -> None:
        """Let the lane count in an hour, as long as all its ids expire together: until it would have closed."""
        if hour_ms not in self._open and self._closes_ms(hour_ms) > self.position.watermark_ms:
            self._open.add(hour_ms)
            self.lane.open(hour_ms, expiry_ms)
            self.next_mark_ms = min(self.next_mark_ms, self._closes_ms(hour_ms))

    def _cross(self, watermark_ms: int) -> None:
        """Forget what the watermark's new place brings due."""
        for hour_ms in [hour_ms for hour_ms in self._open if self._closes_ms(hour_ms) <= watermark_ms]:
            self._open.remove(hour_ms)
            self.lane.close(hour_ms)
        self._outcome.old_ids += self.seen.forget(watermark_ms)

    def _due_next_ms(self) -> int:
        return self._closes_ms(min(self._open)) if self._open else NEVER
