"""The hours of one partition as the pages see them, as of the last commit."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from streamapp.facts.worker import HourFacts
from streamapp.meters.listed import PartitionRows
from streamapp.meters.usage import codec
from streamapp.meters.usage.parts import UsageTask
from streamapp.meters.usage.statement import bill_id
from streamapp.meters.view import add
from tables.counters import NOTHING, Counters
from tables.outcome import Outcome
from tables.usage.hourly import HourKey, UsageRow
from tables.window import DAY_MS, HOUR_MS

CLOSED_MAX = 100_000  # closed hours the pages can list, over all partitions of a worker


class HoursView(PartitionRows[HourKey, "HourFacts | _Seen"]):
    """Facts about one partition's hours. They are made when asked for, once for each change of an hour."""

    task: UsageTask

    def __init__(self, task: UsageTask, rows_max: int) -> None:
        super().__init__(task, rows_max)
        self._open: dict[bytes, tuple[bytes, HourFacts]] = {}

    def landed(self, outcome: Outcome) -> None:
        if self.live is not None:
            self.live.update(bill_id(statement.key, statement.revision) for statement in outcome.statements)
        sums: dict[tuple[int, bool, str], Decimal] = {}
        for statement in outcome.statements:
            alike = statement.key.start_ms, statement.revision > 0, statement.key.currency
            add(sums, alike, statement.delta.cost)
        for (start_ms, is_revision, currency), cost in sums.items():
            add(self.stated[start_ms - start_ms % DAY_MS][is_revision], currency, cost)
        for key, row in outcome.hours.items():
            if row.revision is not None:
                self.rows.pop(key, None)
                self.rows[key] = self._seen(row)
        for key, _ in outcome.expired:
            self.rows.pop(key, None)
        self._forget_oldest()

    def _stored(self, now_ms: int) -> Iterator[tuple[HourKey, _Seen] | None]:
        last_hour = now_ms - now_ms % HOUR_MS
        for hour in range(last_hour, last_hour - self.task.memory.rules.retention_ms, -HOUR_MS):
            for key, value in self.task.store.scan(codec.hour_prefix(hour), codec.hour_prefix(hour + HOUR_MS)):
                row = codec.unpack_hour(key, value)
                yield None if row.revision is None else (row.key, self._seen(row))

    def _stated_on(self, day_ms: int) -> tuple[bytes, bytes]:
        """By the hour, whose end is in the id."""
        return codec.bill_prefix(day_ms + 1), codec.bill_prefix(day_ms + DAY_MS + 1)

    def _amount(self, statement: bytes) -> tuple[bool, str, Decimal]:
        data = _decode_bill(statement).data
        return data.revision > 0, data.currency, Decimal(data.delta.cost)

    def open(self) -> Iterator[HourFacts]:
        """Open hours, and closed ones without a bill whose late usage waits for its mark, as of the newest chunk. The
        facts of a row that has not changed are made once."""
        fresh: dict[bytes, tuple[bytes, HourFacts]] = {}
        ledger = self.task.memory
        unbilled = [row for row in ledger.unsettled.pending.values() if row.revision is None]
        for key, value in (*ledger.lane.stored_rows(), *map(codec.stored_hour, unbilled)):
            made = self._open.get(key)
            if made is None or made[0] != value:
                row = codec.unpack_hour(key, value)
                made = (value, self._facts(row.key, self._seen(row)))
            fresh[key] = made
            yield made[1]
        self._open = fresh

    def closed(self) -> Iterator[HourFacts]:
        """Closed hours, the last ones to change at the end. The facts of an hour are made when asked for first,
        because most hours are not looked at between two changes."""
        for key, seen in self.rows.items():
            if isinstance(seen, _Seen):
                seen = self.rows[key] = self._facts(key, seen)
            yield seen

    def _seen(self, row: UsageRow) -> _Seen:
        ledger, key, revision = self.task.memory, row.key, row.revision
        waits = key in ledger.unsettled.pending
        pending = waits or (revision is not None and not row.settled)
        return _Seen(  # by position: as names they take twice as long
            row.totals() if pending or revision is None else row.stated,
            revision,
            pending,
            row.unstated if pending else NOTHING,
            row.first_offset,
            row.last_offset,
            ledger.unsettled.due_ms if waits and revision is None else key.start_ms + HOUR_MS + ledger.rules.grace_ms,
            ledger.position.watermark_ms,
        )

    def _facts(self, key: HourKey, seen: _Seen) -> HourFacts:
        """One row as facts."""
        totals, revision = seen.totals, seen.revision
        return HourFacts(
            org=key.org,
            team=key.team,
            currency=key.currency,
            start_ms=key.start_ms,
            state="open" if revision is None else "revised" if revision else "closed",
            pending=seen.pending,
            requests=totals.requests,
            errors=totals.errors,
            cache_hits=totals.cache_hits,
            prompt_tokens=totals.prompt_tokens,
            completion_tokens=totals.completion_tokens,
            total_tokens=totals.total_tokens,
            cost=totals.cost,
            rounded=totals.rounded,
            revision=revision,
            bill_id=None if revision is None else bill_id(key, revision),
            partition=self.task.place.partition,
            first_offset=seen.first_offset,
            last_offset=seen.last_offset,
            closes_at_ms=seen.closes_at_ms,
            watermark_ms=None if seen.watermark_ms < 0 else seen.watermark_ms,
            pending_cost=seen.pending_cost,
        )


class _Seen(msgspec.Struct, frozen=True, gc=False):
    """What facts are made of: a row as it was when it changed last."""

    totals: Counters
    revision: int | None
    pending: bool
    pending_cost: Decimal
    first_offset: int
    last_offset: int
    closes_at_ms: int
    watermark_ms: int


class _Delta(msgspec.Struct):
    cost: str


class _Data(msgspec.Struct):
    revision: int
    currency: str
    delta: _Delta


class _Bill(msgspec.Struct):
    data: _Data


_decode_bill = msgspec.json.Decoder(_Bill).decode
