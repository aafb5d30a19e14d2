"""The table of metered calls as the task of a partition: outcomes become rows, settlements and letters."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from streamapp.exact.chunk import Send
from streamapp.exact.place import Place, Producer
from streamapp.exact.poison import PoisonLimit
from streamapp.lane.ids import CompactSeen
from streamapp.meters.calls import rpc_codec, settled
from streamapp.meters.calls.lane import CompiledCalls
from streamapp.meters.fold_task import FoldTask
from streamapp.meters.usage.store import remembered
from streamapp.store.position import StoredPosition
from streamapp.store.rows import Store, Writes
from tables.door import Door
from tables.rpc_hourly import CallsOutcome, RpcLedger
from tables.window import Rules


class RpcTask(FoldTask[CallsOutcome]):
    """Folds metered calls and says what must be written."""

    ledger: RpcLedger
    rows: rpc_codec.RpcRows

    def __init__(
        self,
        place: Place,
        store: Store,
        producer: Producer,
        position: StoredPosition | None,
        rules: Rules,
        min_amount: Decimal,
        door: Door,
        poison: PoisonLimit | None = None,
    ) -> None:
        super().__init__(place, store, producer, position, poison)
        self.rows = rpc_codec.RpcRows(store)
        seen = CompactSeen(self.secret, place.folder)
        lane = CompiledCalls(seen, place.partition, place.partitions, rules.future_ms, rules.names_max)
        self.ledger = RpcLedger(rules, min_amount, door, self.rows, self.start, seen, lane)
        self.ledger.restore(*rpc_codec.unsettled(store), remembered(store))

    def _stated(self, outcome: CallsOutcome) -> Iterable[tuple[Send, Writes]]:
        place = self.place
        bills = place.outputs[self.BILLS]
        for settlement in outcome.settlements:
            yield settled.send(settlement, place.topic, place.partition, self.BILLS, bills)

    def _changed(self, outcome: CallsOutcome) -> Writes:
        writes: Writes = {**outcome.hours}
        for key in outcome.closed:
            writes[rpc_codec.hour_key(key)] = None
        for account, row in outcome.accounts.items():
            writes[rpc_codec.account_key(account)] = None if row is None else rpc_codec.pack_account(row)
        for account, end_ms in outcome.old_settlements:
            writes[rpc_codec.settlement_key(settled.settlement_id(account, end_ms))] = None
        return writes
