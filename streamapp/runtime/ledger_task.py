"""The hourly ledger as the task of a partition: outcomes become rows, statements and letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from streamapp.runtime import codec, statement
from streamapp.runtime.chunk import Send, Transaction
from streamapp.runtime.express.ids import IN_MEMORY, CompactSeen
from streamapp.runtime.express.lane import Lane
from streamapp.runtime.letter import TOPIC as DEAD_LETTER
from streamapp.runtime.letter import Origin, letter
from streamapp.runtime.place import Place, Producer
from streamapp.runtime.poison import PoisonLimit
from streamapp.runtime.position import POSITION_KEY, StoredPosition, pack_position
from streamapp.runtime.store import Overlay, Store, Writes, remembered, unsettled
from tables.door import Door
from tables.ledger import Ledger
from tables.outcome import Outcome, Position
from tables.usage_hourly import HourKey
from tables.window import Rules


class LedgerTask:
    """Folds usage and says what must be written. Rebuilt from the store at every takeover."""

    BILLS = "billing_events"

    def __init__(
        self,
        place: Place,
        store: Store,
        producer: Producer,
        position: StoredPosition | None,
        rules: Rules,
        door: Door,
        poison: PoisonLimit | None = None,
        ids_in_memory: int = IN_MEMORY,
    ) -> None:
        self.place = place
        self.store = store
        self.producer = producer
        self.rows = Overlay(store)
        self.active_ms = 0 if position is None else position.active_ms
        self._moved_ms = -1 if position is None else position.moved_ms
        start = Position() if position is None else position.position()
        seen = CompactSeen(place.folder, ids_in_memory)
        lane = Lane(seen, place.partition, place.partitions, rules.future_ms)
        self.ledger = Ledger(rules, door, self.rows, start, seen, lane)
        self.ledger.restore(unsettled(store), remembered(store), self._moved_ms)
        self.poison = poison or PoisonLimit(ratio=1.0, consecutive=1 << 62)
        self.landed: Callable[[Outcome], None] = lambda outcome: None  # told of each chunk when it has committed
        self._folded: list[Outcome] = []

    def fold(self, records: Sequence[Any], now_ms: int) -> Transaction:
        """One chunk of usage."""
        self.active_ms = now_ms
        outcome = self.ledger.apply(records)
        if len(records) > outcome.skipped:
            self.poison.check(len(records) - outcome.skipped, records[-1].offset, outcome.refusals)
        return self._written(outcome, records[-1].offset + 1, now_ms)

    def tick(self, now_ms: int) -> Transaction | None:
        """Idle close."""
        if not self.ledger.idle_due(now_ms):
            return None
        return self._written(self.ledger.idle(now_ms), None, now_ms)

    def tick_due(self, now_ms: int) -> bool:
        return self.ledger.idle_due(now_ms)

    async def commit(self, transaction: Transaction) -> None:
        checkpoint = await self.producer.commit(transaction)
        if checkpoint is not None:  # only now: the store is never ahead of the changelog
            self.rows.land(checkpoint)
        self.landed(self._folded.pop(0))

    def stop_waiting(self) -> None:
        pass  # commits wait for nobody else

    async def close(self) -> None:
        await self.producer.stop()
        self.store.close()

    def _written(self, outcome: Outcome, next_offset: int | None, now_ms: int) -> Transaction:
        place = self.place
        sends: list[Send] = []
        writes: Writes = {}
        for stated in outcome.statements:
            bills = place.outputs[self.BILLS]
            sent, row = statement.send(stated, place.topic, place.partition, self.BILLS, bills)
            sends.append(sent)
            writes |= row
        letters = place.outputs[DEAD_LETTER]
        origin = Origin(place.group, place.topic, place.partition)
        for record, reason, error in outcome.refusals:
            sends.append(letter(record, reason, error, origin, now_ms, letters))
        writes |= self._rows(outcome)  # behind the statements: an hour may expire in the chunk that states it
        self._folded.append(outcome)
        if outcome.skipped and not (outcome.accepted or outcome.refusals or outcome.duplicates):
            return Transaction({}, (), next_offset)
        self.rows.push(writes)
        return Transaction(writes, sends, next_offset)

    def _rows(self, outcome: Outcome) -> Writes:
        """What the chunk changed, as bytes, now: the next chunk's fold goes on changing the rows."""
        writes: Writes = {codec.hour_key(key): codec.pack_hour(row) for key, row in outcome.hours.items()}
        for month, totals in outcome.months.items():
            writes[codec.month_key(month)] = codec.pack_month(totals)
        if outcome.ids:
            writes[codec.ids_key(outcome.chunk)] = codec.pack_ids(outcome.ids)
        for chunk in outcome.old_ids:
            writes[codec.ids_key(chunk)] = None
        for key, revision in outcome.expired:
            writes |= _expired(key, revision)
        for month in outcome.old_months:
            writes[codec.month_key(month)] = None
        writes[POSITION_KEY] = pack_position(self._position())
        return writes

    def _position(self) -> StoredPosition:
        at = self.ledger.position
        place = self.place
        return StoredPosition(
            at.next_offset,
            at.watermark_ms,
            at.expired_ms,
            place.topic_id,
            place.partitions,
            self.active_ms,
            self._moved_ms,
            self.poison.counts,
        )


def _expired(key: HourKey, revision: int) -> Writes:
    """An hour that no record can reach any more goes, with every statement of it."""
    gone: Writes = {codec.hour_key(key): None}
    for number in range(revision + 1):
        gone[codec.bill_key(statement.bill_id(key, number))] = None
    return gone
