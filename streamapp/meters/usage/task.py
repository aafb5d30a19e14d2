"""The hourly ledger as the task of a partition: outcomes become rows, bills and letters."""

from __future__ import annotations

from collections.abc import Iterable

from streamapp.exact.chunk import Send
from streamapp.exact.place import Place, Producer
from streamapp.exact.poison import PoisonLimit
from streamapp.lane.ids import IN_MEMORY, CompactSeen
from streamapp.meters.fold_task import FoldTask
from streamapp.meters.usage import codec, statement
from streamapp.meters.usage.lane import Lane
from streamapp.meters.usage.store import Overlay, Store, Writes, remembered, unsettled
from streamapp.store.position import StoredPosition
from tables.door import Door
from tables.ledger import Ledger
from tables.outcome import Outcome
from tables.usage_hourly import HourKey
from tables.window import Rules


class LedgerTask(FoldTask[Outcome]):
    """Folds usage and says what must be written."""

    ledger: Ledger
    rows: Overlay

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
        super().__init__(place, store, producer, position, poison)
        self.rows = Overlay(store)
        seen = CompactSeen(self.secret, place.folder, ids_in_memory)
        lane = Lane(seen, place.partition, place.partitions, rules.future_ms, rules.names_max)
        self.ledger = Ledger(rules, door, self.rows, self.start, seen, lane)
        self.ledger.restore(unsettled(store), remembered(store), self.moved_ms)

    def _stated(self, outcome: Outcome) -> Iterable[tuple[Send, Writes]]:
        place = self.place
        bills = place.outputs[self.BILLS]
        for stated in outcome.statements:
            yield statement.send(stated, place.topic, place.partition, self.BILLS, bills)

    def _changed(self, outcome: Outcome) -> Writes:
        writes: Writes = {codec.hour_key(key): codec.pack_hour(row) for key, row in outcome.hours.items()}
        for month, totals in outcome.months.items():
            writes[codec.month_key(month)] = codec.pack_month(totals)
        for key, revision in outcome.expired:
            writes |= _expired(key, revision)
        for month in outcome.old_months:
            writes[codec.month_key(month)] = None
        return writes


def _expired(key: HourKey, revision: int) -> Writes:
    """An hour that no record can reach any more goes, with every statement of it."""
    gone: Writes = {codec.hour_key(key): None}
    for number in range(revision + 1):
        gone[codec.bill_key(statement.bill_id(key, number))] = None
    return gone
