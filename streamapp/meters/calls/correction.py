"""Putting accounts right: what was settled is paid and stays as it is; what it should have stated is carried into the
account's next settlement (decisions 14 and 16).

Open hours and pending calls are replaced. An account is compared part by part: each settlement that is still kept, what
is pending, each open hour. A part with calls before the range is left alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from streamapp.exact.correction import Change, Comparison, Kept, Money, Range, Shadow
from streamapp.exact.declaration import Making
from streamapp.exact.partition.task import Opening, Parts
from streamapp.meters.calls import rpc_codec
from streamapp.meters.calls.rpc_codec import MethodStated
from streamapp.schemas.values.timestamp import written_ms
from streamapp.store.rows import Store, Writes
from tables.calls.recount import AccountCalls, Chains, Closing, Counted, Marks, Recount, difference
from tables.calls.settlement import (
    Account,
    AccountRow,
    Calls,
    CallsKey,
    HourCalls,
    Methods,
    MethodSum,
    cost_of,
    method_of,
)
from tables.counters import EXACT
from tables.outcome import Folded
from tables.window import HOUR_MS, hour_of

Made = TypeVar("Made", bound=Calls)


def counts(made: Making, kept: Kept) -> Parts[Recount, Folded]:
    """In memory: what must be in each settlement, in each open hour, and pending."""

    def memory(at: Opening) -> Recount:
        chains = settled_of(kept.store)
        return Recount(made.rules, made.admission(), at.position, at.seen, chains, marks_of(kept))

    return Parts(memory, nothing_changed)


def nothing_changed(outcome: Folded) -> Writes:
    """A recount has no rows."""
    return {}


def marks_of(kept: Kept) -> Marks:
    """Where the table stands."""
    position = kept.position
    return Marks(max(position.closed_ms, hour_of(position.watermark_ms - kept.rules.grace_ms)), position.expired_ms)


def settled_of(store: Store) -> Chains:
    """Every settlement that is kept."""
    chains: dict[Account, list[Closing]] = defaultdict(list)
    for _, value in store.scan(b"s", b"t"):
        one = rpc_codec.unpack_settlement(value)
        data, coverage = one.data, one.data.coverage
        at = written_ms(data.period_start), one.end_ms, coverage.partition, coverage.first_offset, coverage.last_offset
        chains[one.account].append(Closing(*at, _methods(data.methods), _methods(data.carried)))
    return {account: sorted(chain, key=lambda one: one.end_ms) for account, chain in chains.items()}


def compare(kept: Kept, shadow: Shadow, range_: Range) -> Comparison:
    """The table's accounts beside the recounted calls."""
    found = Comparison(kept)
    chains, recounted = settled_of(kept.store), shadow.task.memory.accounts
    rows = {row.account: row for row in rpc_codec.accounts_of(kept.store)}
    hours: dict[Account, dict[int, HourCalls]] = defaultdict(dict)
    for hour in rpc_codec.unsettled(kept.store)[0]:
        hours[hour.key.account][hour.key.start_ms] = hour
    for account in sorted({*rows, *chains, *hours, *recounted}):
        chain, must = chains.get(account, ()), recounted.get(account) or AccountCalls(())
        row = rows.get(account) or _made_again(account, chain)
        one = _Beside(kept, range_, row, chain, hours.get(account, {}), must)
        if shadow.disputes(account.agent, *one.offsets()):
            found.contradicted += 1
        elif one.compare():
            found.compared += 1 + len(one.hours)
            found.changes += sorted(one.changes, key=lambda change: change.key)
        else:
            found.out_of_reach += 1
    return found


def _made_again(account: Account, chain: Sequence[Closing]) -> AccountRow:
    row = AccountRow(account)
    if chain:
        row.settlements, row.settled_until_ms, row.since_ms = len(chain), chain[-1].end_ms, chain[0].start_ms
    return row


@dataclass
class _Beside:
    """One account beside its recounted calls."""

    kept: Kept
    range_: Range
    row: AccountRow
    chain: Sequence[Closing]
    hours: dict[int, HourCalls]
    must: AccountCalls
    changes: list[Change] = field(default_factory=list)
    reached: bool = False

    def compare(self) -> bool:
        """Find the changes. Returns whether anything could be compared."""
        if self._moved():
            return False
        changed = self._settled() | self._pending()
        if changed:
            amount = EXACT.add(cost_of(self.row.carried), self.row.pending.amount)
            money = self.row.account.currency, EXACT.subtract(amount, self._before)
            value = rpc_codec.pack_account(self.row)
            self.changes.append(Change(rpc_codec.account_key(self.row.account), value, money))
        for hour_ms in sorted({*self.hours, *self.must.open}):
            self._open(hour_ms)
        return self.reached

    def __post_init__(self) -> None:
        self._before: Decimal = EXACT.add(cost_of(self.row.carried), self.row.pending.amount)

    def offsets(self) -> tuple[int, int]:
        """Of the first and the last record that may be compared."""
        parts: list[Closing | Calls] = [*self.chain, *self.hours.values(), self.row.pending]
        known = [(part.first_offset, part.last_offset) for part in parts if part.last_offset >= 0]
        first = max(self.range_.start, min((first for first, _ in known), default=self.range_.start))
        return first, max((last for _, last in known), default=-1)

    def _settled(self) -> bool:
        """What was settled wrongly is carried on."""
        row, changed = self.row, False
        for one in self.chain:
            must = self.must.settled.get(one.end_ms)
            if not self._reaches(one.first_offset, must):
                continue
            corrected = row.corrected.get(one.end_ms, {})
            missing = difference(_methods_in(must), one.methods, corrected)
            if missing:
                row.carried = _added(row.carried, missing)
                row.corrected[one.end_ms] = _added(corrected, missing)
                changed = True
        if len(self.chain) == row.settlements:  # all there ever were: their sum is what was settled
            settled = _added({}, *(part for one in self.chain for part in (one.methods, one.carried)))
            if difference(settled, row.settled):
                row.settled, changed = settled, True
        if changed:
            row.corrected = {one.end_ms: row.corrected[one.end_ms] for one in self.chain if one.end_ms in row.corrected}
        return changed

    def _pending(self) -> bool:
        row, must = self.row, self.must.pending
        owes = row.pending.payment is not None
        if owes and row.from_ms + HOUR_MS <= self.kept.position.expired_ms:
            return False  # calls of such hours may be in settlements that are gone
        if not self._reaches(row.pending.first_offset if owes else self.range_.start, must):
            return False
        if not difference(must.methods, row.pending.methods):
            return False
        row.pending = _told_apart(must, Calls(), self.kept.rules.names_max)
        row.from_ms = -1
        if must.payment is not None:
            row.wait(must.from_ms)
        return True

    def _open(self, hour_ms: int) -> None:
        has, must = self.hours.get(hour_ms), self.must.open.get(hour_ms)
        if not self._reaches(self.range_.start if has is None else has.first_offset, must):
            return
        missing = difference(_methods_in(must), {} if has is None else has.methods)
        if missing:
            key = CallsKey(hour_ms, self.row.account)
            right = None if must is None else _told_apart(must, HourCalls(key), self.kept.rules.names_max)
            value = None if right is None else rpc_codec.pack_hour(right)
            money: Money = self.row.account.currency, cost_of(missing)
            self.changes.append(Change(rpc_codec.hour_key(key), value, money))

    def _reaches(self, first_offset: int, must: Counted | None) -> bool:
        """Whether all calls of a part lie in the range. One that is older than the range may repeat one before it."""
        oldest_ms = None if must is None or must.payment is None else must.oldest_ms
        within = first_offset >= self.range_.start
        reaches = within and (oldest_ms is None or oldest_ms > self.kept.reach_ms(self.range_))
        self.reached |= reaches
        return reaches

    def _moved(self) -> bool:
        """Whether some of it was counted on another partition."""
        moved_ms, place = self.kept.position.moved_ms, self.kept.place
        begins = [one.start_ms for one in self.chain] + list(self.hours)
        begins += [self.row.from_ms] if self.row.pending.payment is not None else []
        return any(ms <= moved_ms for ms in begins) or any(one.partition != place.partition for one in self.chain)


def _told_apart(must: Counted, made: Made, names_max: int) -> Made:
    """The recounted calls, with no more methods than a row tells apart."""
    for name, sums in sorted(must.methods.items()):
        made.method(name, names_max).add(sums.calls, sums.cost)
    made.first_offset, made.last_offset, made.payment = must.first_offset, must.last_offset, must.payment
    return made


def _methods_in(calls: Calls | None) -> Methods:
    return {} if calls is None else calls.methods


def _added(*parts: Methods) -> Methods:
    sums: Methods = {}
    for part in parts:
        for name, one in part.items():
            method_of(sums, name).add(one.calls, one.cost)
    return {name: one for name, one in sums.items() if one.calls or one.cost}


def _methods(stated: dict[str, MethodStated]) -> Methods:
    return {name: MethodSum(one.count, one.cost) for name, one in stated.items()}
