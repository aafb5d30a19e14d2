"""The table of hourly usage: outcomes become rows and bills."""

from __future__ import annotations

from collections.abc import Iterable

from streamapp.exact.partition.chunk import Send
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.task import Opening, Parts, TableTask
from streamapp.meters.usage import codec, statement
from streamapp.meters.usage.lane import CompiledHours
from streamapp.meters.usage.store import Overlay, Writes, unsettled
from streamapp.store.ids import remembered
from tables.admission import Admission
from tables.outcome import Outcome
from tables.usage.hourly import HourKey
from tables.usage.ledger import Ledger
from tables.window import Rules

BILLS = "billing_events"

UsageTask = TableTask[Ledger, Outcome]


def usage_parts(rules: Rules, admission: Admission) -> Parts[Ledger, Outcome]:
    """A partition of usage whose records pass `admission`."""

    def memory(at: Opening) -> Ledger:
        place, store = at.place, at.rows.store
        lane = CompiledHours(at.seen, place.partition, place.partitions, rules.future_ms, rules.names_max)
        ledger = Ledger(rules, admission, at.rows, at.position, at.seen, lane)
        ledger.restore(unsettled(store), remembered(store), at.moved_ms)
        return ledger

    return Parts(memory, changed, Overlay, stated)


def stated(outcome: Outcome, place: Place) -> Iterable[tuple[Send, Writes]]:
    """The bills, and the rows that keep them."""
    for one in outcome.statements:
        yield statement.send(one, place.topic, place.partition, BILLS, place.outputs[BILLS])


def changed(outcome: Outcome) -> Writes:
    """Hours, months, and the bills of hours that expired."""
    writes: Writes = dict(map(codec.stored_hour, outcome.hours.values()))
    writes |= outcome.open
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
