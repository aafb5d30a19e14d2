"""A windowed table as the task of a partition: outcomes become rows, statements and letters, in one transaction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from streamapp.exact.chunk import Send, Transaction
from streamapp.exact.letter import TOPIC as DEAD_LETTER
from streamapp.exact.letter import Origin, letter
from streamapp.exact.place import Place, Producer
from streamapp.exact.poison import PoisonLimit
from streamapp.meters.usage import codec
from streamapp.store.position import POSITION_KEY, StoredPosition, pack_position, secret_of
from streamapp.store.rows import Overlay, Store, Writes
from tables.fold import Fold
from tables.outcome import Folded, Position

Out = TypeVar("Out", bound=Folded)


class FoldTask(ABC, Generic[Out]):
    """Folds records and says what must be written. Rebuilt from the store at every takeover."""

    BILLS = "billing_events"
    ledger: Fold[Out, Any]
    rows: Overlay

    def __init__(
        self,
        place: Place,
        store: Store,
        producer: Producer,
        position: StoredPosition | None,
        poison: PoisonLimit | None,
    ) -> None:
        self.place = place
        self.store = store
        self.producer = producer
        self.active_ms = 0 if position is None else position.active_ms
        self.moved_ms = -1 if position is None else position.moved_ms
        self.secret = secret_of(position, place.entropy)
        self.start = Position() if position is None else position.position()
        self.poison = poison or PoisonLimit(ratio=1.0, consecutive=1 << 62)
        self.landed: Callable[[Out], None] = lambda outcome: None  # told of each chunk when it has committed
        self._folded: list[Out] = []

    def fold(self, records: Sequence[Any], now_ms: int) -> Transaction:
        """One chunk."""
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

    @abstractmethod
    def _stated(self, outcome: Out) -> Iterable[tuple[Send, Writes]]:
        """What the chunk states, in order: each record, and the row that keeps it."""

    @abstractmethod
    def _changed(self, outcome: Out) -> Writes:
        """The table's rows that the chunk changed, as bytes, now: the next chunk's fold goes on changing them."""

    def _written(self, outcome: Out, next_offset: int | None, now_ms: int) -> Transaction:
        place = self.place
        sends: list[Send] = []
        writes: Writes = {}
        for sent, row in self._stated(outcome):
            sends.append(sent)
            writes |= row
        letters = place.outputs[DEAD_LETTER]
        origin = Origin(place.group, place.topic, place.partition)
        for record, reason, error in outcome.refusals:
            sends.append(letter(record, reason, error, origin, now_ms, letters))
        writes |= self._changed(outcome)  # behind the statements: one may expire in the chunk that states it
        if outcome.ids:
            writes[codec.ids_key(outcome.chunk)] = codec.pack_ids(outcome.ids)
        for chunk in outcome.old_ids:
            writes[codec.ids_key(chunk)] = None
        writes[POSITION_KEY] = pack_position(self._position())
        self._folded.append(outcome)
        if outcome.skipped and not (outcome.accepted or outcome.refusals or outcome.duplicates):
            return Transaction({}, (), next_offset)
        self.rows.push(writes)
        return Transaction(writes, sends, next_offset)

    def _position(self) -> StoredPosition:
        at, place = self.ledger.position, self.place
        return StoredPosition(
            at.next_offset,
            at.watermark_ms,
            at.expired_ms,
            place.topic_id,
            place.partitions,
            self.active_ms,
            self.moved_ms,
            self.poison.counts,
            at.closed_ms,
            self.ledger.seen.secret,
        )
