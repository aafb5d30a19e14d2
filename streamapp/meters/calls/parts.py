"""The table of metered calls: outcomes become rows and settlements."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from streamapp.exact.partition.chunk import Send
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.task import Opening, Parts, TableTask
from streamapp.meters.calls import rpc_codec, settled
from streamapp.meters.calls.lane import CompiledCalls
from streamapp.store.ids import remembered
from streamapp.store.rows import Writes
from tables.admission import Admission
from tables.calls.ledger import CallsOutcome, RpcLedger
from tables.window import Rules

BILLS = "billing_events"

CallsTask = TableTask[RpcLedger, CallsOutcome]


def calls_parts(rules: Rules, min_amount: Decimal, admission: Admission) -> Parts[RpcLedger, CallsOutcome]:
    """A partition of calls whose records pass `admission`; less than `min_amount` is not settled."""

    def memory(at: Opening) -> RpcLedger:
        place, store = at.place, at.rows.store
        lane = CompiledCalls(at.seen, place.partition, place.partitions, rules.future_ms, rules.names_max)
        ledger = RpcLedger(rules, min_amount, admission, at.rows, at.position, at.seen, lane)
        ledger.restore(*rpc_codec.unsettled(store), remembered(store))
        return ledger

    return Parts(memory, changed, rpc_codec.RpcRows, stated)


def stated(outcome: CallsOutcome, place: Place) -> Iterable[tuple[Send, Writes]]:
    """The settlements, and the rows that keep them."""
    for settlement in outcome.settlements:
        yield settled.send(settlement, place, BILLS)


def changed(outcome: CallsOutcome) -> Writes:
    """Open hours, accounts, and the settlements that expired."""
    writes: Writes = {**outcome.hours}
    for key in outcome.closed:
        writes[rpc_codec.hour_key(key)] = None
    for account, row in outcome.accounts.items():
        writes[rpc_codec.account_key(account)] = None if row is None else rpc_codec.pack_account(row)
    for account, end_ms in outcome.old_settlements:
        writes[rpc_codec.settlement_key(settled.settlement_id(account, end_ms))] = None
    return writes
