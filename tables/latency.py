"""Calls of models by minute and hour: counts, tokens, money, durations with mergeable sketches. Pure.

A partition counts exactly the events that the ledger (`tables/ledger.py`) counts: the same door, the same memory of
ids, the same end of lateness; so its hours sum up to the bills. Refused records are counted here, too, but say
nothing: the ledger writes their letters.

What is counted goes into the rows of `tables/latency_windows.py`. What they say is a function of the log, whatever the
chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tables.cause import quoted
from tables.door import Door, unresolved
from tables.latency_windows import LatencyOutcome, WindowRows, Windows
from tables.outcome import Position, Record, Refusal
from tables.places import Places
from tables.seen import Known, Seen, SeenIds, StoredIds, expiry_of
from tables.tally import OTHERS, REST, Name, Series, Tally
from tables.tally_lane import NoTallyLane, TallyLane
from tables.window import HOUR_MS, MINUTE_MS, Rules, hour_of

NEVER = 1 << 62
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


class Latency:
    """One partition of the latency table.

    Promises: the watermark never goes back; a record counts at most once while its id is remembered; totals never go
    back, but for a model that has lost its place: its counts are the rest's from then on. With an express lane
    everything is the same.
    """

    def __init__(
        self,
        rules: Rules,
        door: Door,
        rows: WindowRows,
        position: Position,
        seen: Seen | None = None,
        lane: TallyLane | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self.rules, self.door, self.position, self.limits = rules, door, position, limits
        self.seen: Seen = SeenIds() if seen is None else seen
        self.lane: TallyLane = NoTallyLane() if lane is None else lane
        self.places = Places(limits.models)
        self.windows = Windows(rows, position, limits.minutes_ms)
        self.passed_over: dict[str, int] = {}
        self._currencies: set[str] = set()
        self._learned: set[tuple[Name, str]] = set()
        self._open: set[int] = set()  # hours that are open on the lane
        self._outcome = LatencyOutcome()
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
        for chunk, stored in ids:
            self.seen.restore(chunk, stored, self.position.watermark_ms)
        self.next_mark_ms = self._next_mark()

    def apply(self, records: Sequence[Record]) -> LatencyOutcome:
        """Fold consecutive records. Records below the position were applied before and are passed over."""
        position = self.position
        outcome = self._outcome = LatencyOutcome(chunk=max(records[0].offset, position.next_offset))
        self.windows.begin(outcome)
        new = records
        if records[0].offset < position.next_offset:
            new = [record for record in records if record.offset >= position.next_offset]
            outcome.skipped = len(records) - len(new)
        self._count(new)
        self._gather()
        self.windows.expire(position.watermark_ms - self.rules.retention_ms, self._open)
        self._note_passed_over()
        outcome.places, outcome.candidates = self.places.changes()
        outcome.ids = self.seen.keep(outcome.chunk)
        position.next_offset = max(position.next_offset, records[-1].offset + 1)
        outcome.accepted = len(new) - len(outcome.refusals) - outcome.duplicates
        return outcome

    # -- records -------------------------------------------------------------------------------------------------

    def _count(self, records: Sequence[Record]) -> None:
        """Count records: plain ones on the express lane, the others one by one."""
        position, lane, at = self.position, self.lane, 0
        lane.load(records)
        while at < len(records):
            at, position.watermark_ms, duplicates = lane.run(at, position.watermark_ms, self.next_mark_ms)
            self._outcome.duplicates += duplicates
            if at < len(records):
                self._fold(records[at])
                at += 1

    def _fold(self, record: Record) -> None:
        """Count a record: whether it counts is decided as in `tables/ledger.py:Ledger._fold`."""
        door, event = self.door, self.door.let_in(record, self.rules.future_ms)
        if isinstance(event, Refusal):
            self._outcome.refusals.append(event)
            return
        known = self.seen.look(event.id, record.value)
        if known != Known.NEW:
            if known == Known.SAME:
                self._outcome.duplicates += 1
            else:
                self._refuse(
                    record, "conflicting_duplicate", f"id {quoted(event.id)} was counted before, with other bytes"
                )
            return
        if event.org_id is None and door.org_of(event.team_id) is None:
            self._refuse(record, "org_unresolved", unresolved(event))
            return
        if event.at_ms > self.position.watermark_ms:
            self.position.watermark_ms = event.at_ms
            if event.at_ms >= self.next_mark_ms:
                self._cross(event.at_ms)
        if event.at_ms < self.position.watermark_ms - self.rules.retention_ms:
            self._refuse(record, "too_late", "it is older than the topic's retention behind the watermark")
            return
        expiry_ms = expiry_of(event.at_ms, self.position.watermark_ms, self.rules)
        self.seen.add(event.id, record.value, expiry_ms)
        self.next_mark_ms = min(self.next_mark_ms, expiry_ms)
        self._open_hour(hour_of(event.at_ms), expiry_ms)
        self._add(event.at_ms, event.data)

    def _add(self, at_ms: int, data: Any) -> None:
        name = self._place(Name(data.provider, data.model))
        currency = self._currency(data.currency)
        self.windows.delta(at_ms - at_ms % MINUTE_MS, Series(*name, data.stream)).count_one(data, currency)
        if name != OTHERS and currency != REST and (name, currency) not in self._learned:
            self._learned.add((name, currency))
            self.lane.learn(name, currency)

    def _refuse(self, record: Record, reason: str, error: str) -> None:
        self._outcome.refusals.append(Refusal(record, reason, error))

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
        self.next_mark_ms = self._next_mark()

    def _closes_ms(self, hour_ms: int) -> int:
        return hour_ms + HOUR_MS + self.rules.grace_ms

    def _next_mark(self) -> int:
        """The lowest watermark at which anything is due. Before the first record: at once."""
        if self.position.watermark_ms < 0:
            return 0
        closes_ms = self._closes_ms(min(self._open)) if self._open else NEVER
        return min(closes_ms, self.seen.next_expiry_ms or NEVER)
