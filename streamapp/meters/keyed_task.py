"""Rows by key (`tables.keyed`) as the task of a partition: a group with one table and no statements needs no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from streamapp.exact.chunk import Transaction
from streamapp.exact.letter import TOPIC as DEAD_LETTER
from streamapp.exact.letter import Origin, letter
from streamapp.exact.place import Place, Producer
from streamapp.exact.poison import PoisonLimit
from streamapp.lane.ids import CompactSeen
from streamapp.meters.row_table import RowTable, StoredRows
from streamapp.meters.usage import codec
from streamapp.meters.usage.store import remembered
from streamapp.store.position import POSITION_KEY, StoredPosition, pack_position, secret_of
from streamapp.store.rows import Overlay, Store, Writes
from tables.keyed import Keyed, KeyedOutcome, Recipe
from tables.outcome import Position
from tables.window import Rules


class KeyedTask:
    """Folds records and says what must be written. Rebuilt from the store at every takeover. Nothing is ever due by
    the clock."""

    def __init__(
        self,
        place: Place,
        store: Store,
        producer: Producer,
        position: StoredPosition | None,
        table: RowTable,
        recipe: Recipe,
        rules: Rules,
        poison: PoisonLimit,
        landed: Callable[[KeyedOutcome], None],
    ) -> None:
        self.place = place
        self.store = store
        self.producer = producer
        self.active_ms = 0 if position is None else position.active_ms
        self._table = table
        self._rows = Overlay(store)
        start = Position() if position is None else position.position()
        seen = CompactSeen(secret_of(position, place.entropy))
        self.keyed = Keyed(recipe, rules, StoredRows(table, self._rows), start, seen)
        self.keyed.restore(remembered(store))
        self._poison = poison
        self._landed = landed  # told of each chunk when it has committed
        self._folded: list[KeyedOutcome] = []

    def fold(self, records: Sequence[Any], now_ms: int) -> Transaction:
        """One chunk."""
        self.active_ms = now_ms
        outcome = self.keyed.apply(records)
        self._folded.append(outcome)
        next_offset = records[-1].offset + 1
        if len(records) == outcome.skipped:  # all were counted before: somebody has put the group back
            return Transaction({}, (), next_offset)
        self._poison.check(len(records) - outcome.skipped, next_offset - 1, outcome.refusals)
        place = self.place
        origin, letters = Origin(place.group, place.topic, place.partition), place.outputs[DEAD_LETTER]
        sends = [letter(each.record, each.reason, each.error, origin, now_ms, letters) for each in outcome.refusals]
        writes = self._writes(outcome)
        self._rows.push(writes)
        return Transaction(writes, sends, next_offset)

    def tick(self, now_ms: int) -> Transaction | None:
        return None

    def tick_due(self, now_ms: int) -> bool:
        return False

    async def commit(self, transaction: Transaction) -> None:
        checkpoint = await self.producer.commit(transaction)
        if checkpoint is not None:  # only now: the store is never ahead of the changelog
            self._rows.land(checkpoint)
        self._landed(self._folded.pop(0))

    def stop_waiting(self) -> None:
        pass  # commits wait for nobody else

    async def close(self) -> None:
        await self.producer.stop()
        self.store.close()

    def _writes(self, outcome: KeyedOutcome) -> Writes:
        table, place, at = self._table, self.place, self.keyed.position
        writes: Writes = {
            table.pack_key(key): None if row is None else table.pack(row) for key, row in outcome.rows.items()
        }
        if outcome.ids:
            writes[codec.ids_key(outcome.chunk)] = codec.pack_ids(outcome.ids)
        for chunk in outcome.old_ids:
            writes[codec.ids_key(chunk)] = None
        position = StoredPosition(
            at.next_offset,
            at.watermark_ms,
            -1,
            place.topic_id,
            place.partitions,
            self.active_ms,
            poison=self._poison.counts,
            secret=self.keyed.seen.secret,
        )
        writes[POSITION_KEY] = pack_position(position)
        return writes
