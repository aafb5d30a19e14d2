"""A partition's life: records in; changed rows, statements and refusals out (decisions 8 to 13).

The ledger is arithmetic over a mapping of rows. It keeps open hours, hours with unstated late usage and remembered ids
in memory, reads any other row from the mapping, and writes nothing: `Outcome` says what changed. Marks are crossed at
a record, in the middle of a chunk if need be, so any cutting of the log into chunks states the same bytes.

A late event's way: `_row_for` finds its hour closed and puts the row among the `pending`; `_cross` states it when the
watermark reaches the next five-minute mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tables.counters import EXACT
from tables.door import Door
from tables.outcome import Outcome, Position, Record, Refusal, Rows
from tables.seen import IdsByExpiry, Older, SeenIds, StoredIds, expiry_of
from tables.usage_hourly import HourKey, Line, UsageRow, month_key, state
from tables.window import HOUR_MS, Rules, hour_of, mark_after, month_end, month_of

NEVER = 1 << 62
SLICE = 500
"""Records decoded before they are counted: so few that they are still in the processor's cache then."""


class Ledger:
    """One partition of the hourly usage table.

    Promises: the watermark never goes back; a record counts at most once while its id is remembered; every counted
    record is in exactly one stated delta once its hour is settled.
    """

    def __init__(self, rules: Rules, door: Door, rows: Rows, position: Position, seen: SeenIds | None = None) -> None:
        self.rules = rules
        self.door = door
        self.rows = rows
        self.position = position
        self.seen = SeenIds() if seen is None else seen
        self.open: dict[int, dict[HourKey, UsageRow]] = {}  # hour → its open rows
        self.pending: dict[HourKey, UsageRow] = {}  # closed, with usage that is not stated yet
        self._due_ms = NEVER  # the mark at which the pending are stated
        self._lines: dict[tuple[int, str, str, str, str, str], Line] = {}  # of open rows: the fold's way in
        self._touch = 0  # numbers the chunks, so that a row is noted once per chunk
        self._ids: IdsByExpiry = {}  # the chunk's
        self._outcome = Outcome()
        self.next_mark_ms = self._next_mark()

    def restore(self, unsettled: Iterable[UsageRow], ids: Iterable[tuple[int, StoredIds]]) -> None:
        """Rebuild the memory from stored rows: those not fully stated, and each chunk's remembered ids."""
        for row in unsettled:
            if row.revision is None and not self._closed(row.key.start_ms):
                self._admit(row)
            else:
                self._await_mark(row)
        for chunk, stored in ids:
            self.seen.restore(chunk, stored, self.position.watermark_ms)
        self.next_mark_ms = self._next_mark()

    def apply(self, records: Sequence[Record]) -> Outcome:
        """Fold consecutive records. Records below the position were applied before and are passed over."""
        outcome = self._begin(max(records[0].offset, self.position.next_offset))
        for at in range(0, len(records), SLICE):
            self._fold(records[at : at + SLICE])
        outcome.ids = self.seen.keep(outcome.chunk, self._ids)
        self.position.next_offset = max(self.position.next_offset, records[-1].offset + 1)
        outcome.refusals.sort(key=lambda refusal: refusal.record.offset)
        outcome.accepted = len(records) - len(outcome.refusals) - outcome.duplicates - outcome.skipped
        return outcome

    def _fold(self, records: Sequence[Record]) -> None:
        """Count the records of a slice."""
        fit, events, digests = self._let_in(records)
        position, lines, recent, fingerprint = self.position, self._lines, self.seen.recent, self.door.fingerprint
        older = self.seen.look_up(digests)
        touched, touch, add = self._outcome.hours, self._touch, EXACT.add
        fresh_hour, fresh_ids = -1, list[bytes]()  # the id bucket of the open hour that was counted last
        for record, event, digest in zip(fit, events, digests, strict=True):
            print_, at_ms, team = fingerprint(record.value), event.at_ms, event.team_id
            if (digest in recent or digest in older) and self._repeated(record, event.id, digest, print_, older):
                continue
            org = event.org_id or self.door.org_of(team)
            if org is None:
                self._refuse(record, "org_unresolved", f"no org_id, and the directory does not know team {team!r}")
                continue
            if at_ms > position.watermark_ms:  # first the watermark, then the count
                position.watermark_ms = at_ms
                if at_ms >= self.next_mark_ms:
                    self._cross(at_ms)
                    fresh_hour = -1
            data, hour = event.data, at_ms - at_ms % HOUR_MS
            line = lines.get((hour, org, team, data.currency, data.provider, data.model))
            if line is None:
                line = self._line_for(HourKey(hour, org, team, data.currency), at_ms, record, data)
                if line is None:
                    continue
            if hour != fresh_hour:
                fresh_hour = hour if hour in self.open else -1  # an open hour's closing is a mark: it resets this
                fresh_ids = self._bucket(at_ms)
            recent[digest] = print_
            fresh_ids.append(digest)
            line.requests += 1
            line.prompt_tokens += data.prompt_tokens
            line.completion_tokens += data.completion_tokens
            line.cost = add(line.cost, data.cost_usd)
            if data.cache_hit:
                line.cache_hits += 1
            if data.status != "success":
                line.errors += 1
            row = line.row
            row.last_offset = record.offset
            if row.touch != touch:
                row.touch = touch
                touched[row.key] = row

    def idle(self, now_ms: int) -> Outcome:
        """Close by the wall clock what a silent, fully read partition leaves behind (decision 9): hours whose end and
        grace have passed, and every pending revision."""
        outcome = self._begin(-1)
        rows = [row for hour in self.open for row in self.open[hour].values() if self._closes_ms(hour) <= now_ms]
        self._state([(row, now_ms) for row in [*rows, *self.pending.values()]])
        self.next_mark_ms = self._next_mark()
        return outcome

    def idle_due(self, now_ms: int) -> bool:
        """Whether `idle` would state anything."""
        return bool(self.pending) or any(self._closes_ms(hour) <= now_ms for hour in self.open)

    # -- records -------------------------------------------------------------------------------------------------

    def _let_in(self, records: Sequence[Record]) -> tuple[Sequence[Record], list[Any], list[bytes]]:
        """The new records that are events of this partition, with the events and the digests of their ids."""
        next_offset = self.position.next_offset
        if records[0].offset < next_offset:
            new = [record for record in records if record.offset >= next_offset]
            self._outcome.skipped += len(records) - len(new)
            records = new
        return self.door.let_in(records, self.rules.future_ms, self._outcome.refusals)

    def _repeated(self, record: Record, event_id: str, digest: bytes, print_: bytes, older: Older) -> bool:
        """Whether a record's id is remembered: then it does not count."""
        counted = self.seen.recent.get(digest)
        if counted is None:
            counted, expiry_ms = older[digest]
            if expiry_ms <= self.position.watermark_ms:
                return False
        if counted == print_:
            self._outcome.duplicates += 1
        else:
            self._refuse(record, "conflicting_duplicate", f"id {event_id!r} was counted before, with other bytes")
        return True

    # -- rows ----------------------------------------------------------------------------------------------------

    def _line_for(self, key: HourKey, at_ms: int, record: Record, data: Any) -> Line | None:
        """The line an event counts in, when the fold does not know it yet. None if the event is too late for any."""
        row = self._row_for(key, at_ms, record)
        if row is None:
            return None
        line = row.line(data.provider, data.model)
        if key not in self.pending:
            self._lines[key.start_ms, key.org, key.team, key.currency, data.provider, data.model] = line
        return line

    def _row_for(self, key: HourKey, at_ms: int, record: Record) -> UsageRow | None:
        """The row an event counts in: open, or closed and from now on pending. None if it is too late for any."""
        closed = self._closed(key.start_ms)
        if closed and at_ms < self.position.watermark_ms - self.rules.retention_ms:
            self._refuse(record, "too_late", "it is older than the topic's retention behind the watermark")
            return None
        row = self.open.get(key.start_ms, {}).get(key) or self.pending.get(key)
        if row is None:
            row = self._outcome.hours.get(key) or self.rows.hour(key) or UsageRow(key)
            if row.first_offset < 0:
                row.first_offset = record.offset
            if closed or row.revision is not None:
                self._await_mark(row)
            else:
                self._admit(row)
        return row

    def _admit(self, row: UsageRow) -> None:
        """Make a row one of the open ones."""
        key = row.key
        self.open.setdefault(key.start_ms, {})[key] = row
        for (provider, model), line in row.lines.items():
            self._lines[key.start_ms, key.org, key.team, key.currency, provider, model] = line
        self.next_mark_ms = min(self.next_mark_ms, self._closes_ms(key.start_ms))

    def _await_mark(self, row: UsageRow) -> None:
        """Late usage waits for the next five-minute mark."""
        if not self.pending:
            self._due_ms = mark_after(self.position.watermark_ms)
            self.next_mark_ms = min(self.next_mark_ms, self._due_ms)
        self.pending[row.key] = row

    # -- marks ---------------------------------------------------------------------------------------------------

    def _cross(self, watermark_ms: int) -> None:
        """State, forget and expire what the watermark's new place brings due."""
        due = [
            (row, self._closes_ms(hour))
            for hour in self.open
            if self._closes_ms(hour) <= watermark_ms
            for row in self.open[hour].values()
        ]
        if self._due_ms <= watermark_ms:
            due += [(row, self._due_ms) for row in self.pending.values()]
        self._state(due)
        self._outcome.old_ids += self.seen.forget(watermark_ms)
        self._expire(watermark_ms - self.rules.retention_ms)
        self.next_mark_ms = self._next_mark()

    def _state(self, due: list[tuple[UsageRow, int]]) -> None:
        """State rows, each with the mark that caused it, in the order of their keys; they are settled afterwards."""
        outcome = self._outcome
        for row, mark_ms in sorted(due, key=lambda item: item[0].key):
            month = month_key(row.key)
            before = outcome.months.get(month) or self.rows.month(month)
            statement, outcome.months[month] = state(row, before, mark_ms)
            outcome.statements.append(statement)
            outcome.hours[row.key] = row
            self._settle(row)

    def _settle(self, row: UsageRow) -> None:
        key = row.key
        if self.pending.pop(key, None) is not None:
            if not self.pending:
                self._due_ms = NEVER
            return
        rows = self.open[key.start_ms]
        del rows[key]
        if not rows:
            del self.open[key.start_ms]
        for provider, model in row.lines:
            del self._lines[key.start_ms, key.org, key.team, key.currency, provider, model]

    def _expire(self, limit_ms: int) -> None:
        """Let go of hours and months that no record can reach any more."""
        position, outcome = self.position, self._outcome
        until_ms = hour_of(max(limit_ms, 0))
        if position.expired_ms < 0 or until_ms <= position.expired_ms:
            position.expired_ms = max(position.expired_ms, until_ms)
            return
        stored = {row.key: row for row in self.rows.hours_ending(position.expired_ms, until_ms)}
        for key in [key for key in outcome.hours if key.start_ms + HOUR_MS <= until_ms]:
            stored[key] = outcome.hours.pop(key)
        outcome.expired += [(key, -1 if row.revision is None else row.revision) for key, row in sorted(stored.items())]
        if month_of(position.expired_ms) != month_of(until_ms):
            now = [key for key in outcome.months if month_end(key.month) <= until_ms]
            outcome.old_months += sorted({*self.rows.months_ending(until_ms), *now})
            for month in now:
                del outcome.months[month]
        position.expired_ms = until_ms

    def _closes_ms(self, hour: int) -> int:
        return hour + HOUR_MS + self.rules.grace_ms

    def _closed(self, hour: int) -> bool:
        return self._closes_ms(hour) <= self.position.watermark_ms

    def _next_mark(self) -> int:
        """The lowest watermark at which anything is due. Before the first record: at once."""
        if self.position.watermark_ms < 0:
            return 0
        return min(
            self._closes_ms(min(self.open)) if self.open else NEVER,
            self._due_ms,
            self.seen.next_expiry_ms or NEVER,
            self.position.expired_ms + HOUR_MS + self.rules.retention_ms,
        )

    # -- a chunk's frame -----------------------------------------------------------------------------------------

    def _begin(self, chunk: int) -> Outcome:
        self._touch += 1
        self.seen.settle()
        self._ids = {}
        self._outcome = Outcome(chunk=chunk)
        return self._outcome

    def _bucket(self, at_ms: int) -> list[bytes]:
        expiry_ms = expiry_of(at_ms, self.position.watermark_ms, self.rules)
        self.next_mark_ms = min(self.next_mark_ms, expiry_ms)
        return self.seen.bucket(self._ids, expiry_ms)

    def _refuse(self, record: Record, reason: str, error: str) -> None:
        self._outcome.refusals.append(Refusal(record, reason, error))
