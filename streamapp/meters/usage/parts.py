"""The table of hourly usage: outcomes become rows and bills."""

from __future__ import annotations

from collections.abc import Iterable

from streamapp.exact.partition.chunk import Send
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.task import Opening, Parts, TableTask
from streamapp.meters.usage import codec, crossing, statement
from streamapp.meters.usage.lane import CompiledHours
from streamapp.meters.usage.store import Overlay, unsettled
from streamapp.store.ids import remembered
from streamapp.store.rows import Writes
from tables.admission import Admission
from tables.outcome import Outcome
from tables.usage.budget import Limits
from tables.usage.hourly import HourKey
from tables.usage.ledger import Ledger
from tables.window import Rules

BILLS = "billing_events"

UsageTask = TableTask[Ledger, Outcome]


def usage_parts(rules: Rules, admission: Admission, limits: Limits | None = None) -> Parts[Ledger, Outcome]:
    """A partition of usage whose records pass `admission`. `limits`: of teams' months, by default none."""

    def memory(at: Opening) -> Ledger:
        place, store = at.place, at.rows.store
        lane = CompiledHours(at.seen, place.partition, place.partitions, rules.future_ms, rules.names_max)
        ledger = Ledger(rules, admission, at.rows, at.position, at.seen, lane, limits)
        ledger.restore(unsettled(store), remembered(store), at.moved_ms)
        return ledger

    return Parts(memory, changed, Overlay, stated)


def stated(outcome: Outcome, place: Place) -> Iterable[tuple[Send, Writes]]:
    """The bills, with the rows that keep them, and the limits that were crossed, in the order of the log."""
    crossings = iter(outcome.crossings)
    ahead = next(crossings, None)
    for number, one in enumerate(outcome.statements):
        while ahead is not None and ahead.after == number:
            yield crossing.send(ahead, place, BILLS), {}
            ahead = next(crossings, None)
        yield statement.send(one, place, BILLS)
    if ahead is not None:
        yield from ((crossing.send(one, place, BILLS), {}) for one in (ahead, *crossings))


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
