"""Counting calls anew, beside a table that has settled some of them: which settlement, open hour or account must have
counted which calls. Pure.

A settlement counts the calls of its account that arrived up to the last one it covers, in hours that end with its
period or before, and that are in no earlier settlement. Other calls of closed hours are pending. So neither grace nor
the wall clock matters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tables.admission import Admission
from tables.calls.settlement import OTHER_METHOD, Account, Calls, Methods, MethodSum, Payment, cost_of, method_of
from tables.counters import EXACT
from tables.fast_path import NoFastPath
from tables.fold import NEVER, Fold
from tables.outcome import Folded, Position, Record
from tables.seen import Seen
from tables.window import HOUR_MS, Rules, hour_of


class Closing(NamedTuple):
    """What counts of a settlement that was stated. `carried`: what it says of settlements before it."""

    start_ms: int
    end_ms: int
    partition: int
    first_offset: int
    last_offset: int
    methods: Methods
    carried: Methods


Chains = Mapping[Account, Sequence[Closing]]
"""Account → its settlements in the order of their periods."""


class Counted(Calls):
    """Calls of one account that belong together. `from_ms` starts their first hour, `oldest_ms` is the first call."""

    __slots__ = ("from_ms", "oldest_ms")

    def __init__(self) -> None:
        super().__init__()
        self.from_ms = self.oldest_ms = NEVER


class Marks(NamedTuple):
    """Where a table stands: hours that ended at or before `closed_ms` are closed, and of those that ended at or before
    `expired_ms` settlements may be gone."""

    closed_ms: int
    expired_ms: int


class AccountCalls:
    """All counted calls of an account, by where they must be."""

    def __init__(self, chain: Sequence[Closing]) -> None:
        self.settled: dict[int, Counted] = {}  # end of the settlement's period
        self.open: dict[int, Counted] = {}  # hour
        self.pending = Counted()
        self.expired = Counted()  # pending, or in a settlement that is gone
        self._chain = list(chain)

    def holds(self, offset: int, hour_ms: int, marks: Marks) -> Counted:
        """Where a call must be. Offsets never fall."""
        chain = self._chain
        while chain and chain[0].last_offset < offset:
            del chain[0]
        for one in chain:
            if offset <= one.last_offset and hour_ms < one.end_ms:
                return self.settled.setdefault(one.end_ms, Counted())
        if hour_ms + HOUR_MS <= marks.expired_ms:
            return self.expired
        if hour_ms + HOUR_MS <= marks.closed_ms:
            return self.pending
        return self.open.setdefault(hour_ms, Counted())


class Recount(Fold[Folded, Counted]):
    """One partition's calls."""

    def __init__(
        self, rules: Rules, admission: Admission, position: Position, seen: Seen, chains: Chains, marks: Marks
    ) -> None:
        super().__init__(rules, admission, position, seen, NoFastPath())
        self.accounts: dict[Account, AccountCalls] = {}
        self._chains, self._marks = chains, marks
        self.next_mark_ms = self._next_mark()

    def _begun(self, chunk: int) -> Folded:
        return Folded(chunk=chunk)

    def _row_for(self, event: Any, org: str, record: Record) -> Counted | None:
        if self._too_late(event.at_ms, record):
            return None
        data, hour_ms = event.data, hour_of(event.at_ms)
        account = Account(org, data.agent_id, data.consumer_id, data.currency)
        calls = self.accounts.get(account)
        if calls is None:
            calls = self.accounts[account] = AccountCalls(self._chains.get(account, ()))
        row = calls.holds(record.offset, hour_ms, self._marks)
        row.from_ms, row.oldest_ms = min(row.from_ms, hour_ms), min(row.oldest_ms, event.at_ms)
        return row

    def _add(self, row: Counted, event: Any, record: Record) -> None:
        data = event.data
        row.method(data.method).add(1, event.amount)
        payment = Payment(data.chain, data.chain_id, data.agent_wallet, data.consumer_wallet)
        row.cover(record.offset, record.offset, payment)

    def _cross(self, watermark_ms: int) -> None:
        self._outcome.old_ids += self.seen.forget(watermark_ms)

    def _due_next_ms(self) -> int:
        return NEVER


def difference(must: Methods, *has: Methods) -> Methods:
    """What is missing, by method; less than nothing where there is too much. Which methods a row tells apart depends on
    when hours closed: what it does not is compared as one."""
    sums: Methods = {}
    for part in has:
        for name, one in part.items():
            method_of(sums, name).add(-one.calls, EXACT.minus(one.cost))
    is_shortened = any(OTHER_METHOD in part for part in has)
    if is_shortened and _within(must, *has):
        return {}
    for name, one in must.items():
        method_of(sums, name if not is_shortened or name in sums else OTHER_METHOD).add(one.calls, one.cost)
    return {name: one for name, one in sums.items() if one.calls or one.cost}


def _within(must: Methods, *has: Methods) -> bool:
    """Whether all together are right, and no method that is told apart has too much."""
    left = {name: MethodSum(one.calls, one.cost) for name, one in must.items()}
    for part in has:
        for name, one in part.items():
            method_of(left, name).add(-one.calls, EXACT.minus(one.cost))
    named = [one for name, one in left.items() if name != OTHER_METHOD]
    calls = sum(one.calls for one in left.values())
    return not calls and not cost_of(left) and all(one.calls >= 0 and one.cost >= 0 for one in named)
