"""What consumers owe agents: calls by method, an account's pending calls, and what settling states (decision 16).

An account is org × agent × consumer × currency. Calls are counted in the row of their hour while it is open; when it
closes they move to the account's pending calls, and an account that owes enough is settled: everything pending is
stated once, and nothing is pending any more.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from tables.counters import EXACT, NOTHING
from tables.window import EVERY

ELSEWHERE = 1 << 62
"""So far below their numbers lie offsets of calls that an account has brought along from another partition."""


class Account(NamedTuple):
    """Whose account it is. Settlements of one closing go out in the order of these fields."""

    org: str
    agent: str
    consumer: str
    currency: str


class CallsKey(NamedTuple):
    """Whose calls of which hour."""

    start_ms: int
    account: Account


class Payment(NamedTuple):
    """How a call is paid, as it says itself."""

    chain: str
    chain_id: int
    agent_wallet: str | None
    consumer_wallet: str | None


OTHER_METHOD = ""
"""The method under which calls count whose own one a row does not tell apart. No call has an empty one."""


class MethodSum:
    """Calls of one method, and what they cost. Mutable: the fold adds to it in place."""

    __slots__ = ("calls", "cost")

    def __init__(self, calls: int = 0, cost: Decimal = NOTHING) -> None:
        self.calls = calls
        self.cost = cost

    def add(self, calls: int, cost: Decimal) -> None:
        """Count as much again."""
        self.calls += calls
        self.cost = EXACT.add(self.cost, cost)


Methods = dict[str, MethodSum]


class Calls:
    """Calls counted together: of an open hour, or pending. Mutable: the fold adds to it in place."""

    __slots__ = ("first_offset", "last_offset", "methods", "payment")

    def __init__(self) -> None:
        self.methods: Methods = {}
        self.first_offset = -1  # -1: no calls; below: of calls on the partition before
        self.last_offset = -1
        self.payment: Payment | None = None  # of the call at `last_offset`; None: no calls

    def method(self, name: str, names_max: int = EVERY) -> MethodSum:
        """What is counted of a method; made when it is the first call and there is room."""
        return method_of(self.methods, name, names_max)

    def cover(self, first_offset: int, last_offset: int, payment: Payment) -> None:
        """Calls were counted that lie from one offset to another; the last one was paid like this."""
        if self.first_offset < 0 or 0 <= first_offset < self.first_offset:
            self.first_offset = first_offset
        if last_offset > self.last_offset or self.payment is None:
            self.last_offset, self.payment = last_offset, payment

    def leave(self) -> None:
        """The account moves to another partition, whose offsets are others: every call there is newer than these."""
        if self.first_offset >= 0:
            self.first_offset -= ELSEWHERE
        if self.last_offset >= 0:
            self.last_offset -= ELSEWHERE

    def absorb(self, other: Calls, names_max: int = EVERY) -> None:
        """Count another one's calls, too. The other one is ours from now on."""
        assert other.payment is not None, "there is nothing to count"
        if self.payment is None:
            self.methods = other.methods
            self.first_offset, self.last_offset, self.payment = other.first_offset, other.last_offset, other.payment
            return
        for name, sums in sorted(other.methods.items(), key=_name):  # the order must not depend on who counted them
            self.method(name, names_max).add(sums.calls, sums.cost)
        self.cover(other.first_offset, other.last_offset, other.payment)

    @property
    def count(self) -> int:
        """How many calls."""
        return sum([sums.calls for sums in self.methods.values()])

    def cost_at_least(self, minimum: Decimal) -> bool:
        """Whether they cost so much together. No call costs less than nothing; `minimum` may be less."""
        amount = NOTHING
        for sums in self.methods.values():
            amount = EXACT.add(amount, sums.cost)
            if amount >= minimum:
                return True
        return False

    @property
    def amount(self) -> Decimal:
        """What they cost together."""
        return cost_of(self.methods)


def cost_of(methods: Methods) -> Decimal:
    """What methods cost together."""
    amount = NOTHING
    for sums in methods.values():
        amount = EXACT.add(amount, sums.cost)
    return amount


def method_of(methods: Methods, name: str, names_max: int = EVERY) -> MethodSum:
    """The sums of a method, made when they are not there; those of the others when so many are told apart already."""
    sums = methods.get(name)
    if sums is None and len(methods) - (OTHER_METHOD in methods) >= names_max:
        name = OTHER_METHOD
        sums = methods.get(name)
    if sums is None:
        sums = methods[name] = MethodSum()
    return sums


def _name(item: tuple[str, MethodSum]) -> str:
    return item[0]


class HourCalls(Calls):
    """An account's calls of one open hour."""

    __slots__ = ("key",)

    def __init__(self, key: CallsKey) -> None:
        super().__init__()
        self.key = key


class AccountRow:
    """What an account owes, and what of it was settled since the row was made.

    A settlement that was wrong is paid and stays as it is. What it should have stated is `carried` into the next one,
    and `corrected` remembers about which settlement.
    """

    __slots__ = (
        "account",
        "carried",
        "corrected",
        "from_ms",
        "pending",
        "settled",
        "settled_until_ms",
        "settlements",
        "since_ms",
    )

    def __init__(self, account: Account) -> None:
        self.account = account
        self.pending = Calls()
        self.from_ms = -1  # start of the first hour with a pending call; -1: nothing is pending
        self.settled: Methods = {}
        self.settlements = 0
        self.settled_until_ms = -1  # end of the newest settlement's period
        self.since_ms = -1  # start of the first hour that was ever counted here
        self.carried: Methods = {}  # what the next settlement adds; below zero where too much was settled
        self.corrected: dict[int, Methods] = {}  # end of a settlement's period → what was carried on because of it

    @property
    def owes(self) -> bool:
        """Whether calls wait for a settlement, or a correction does."""
        return self.pending.payment is not None or bool(self.carried)

    def is_due(self, minimum: Decimal) -> bool:
        """Whether calls wait, and cost so much together with what is carried."""
        if self.carried:
            minimum = EXACT.subtract(minimum, cost_of(self.carried))
        return self.pending.payment is not None and self.pending.cost_at_least(minimum)

    def wait(self, hour_ms: int) -> Calls:
        """The pending calls, to add some of this hour to."""
        self.from_ms = hour_ms if self.from_ms < 0 else min(self.from_ms, hour_ms)
        self.since_ms = hour_ms if self.since_ms < 0 else min(self.since_ms, hour_ms)
        return self.pending


class Settlement(NamedTuple):
    """One settlement, ready to be written down."""

    account: Account
    start_ms: int  # of the first hour with a call in it
    end_ms: int  # of the hour whose closing settled it
    stated_ms: int  # the mark that caused it, or the wall clock
    amount: Decimal
    calls: int
    methods: tuple[tuple[str, int, Decimal], ...]  # name, calls, cost; sorted
    payment: Payment
    first_offset: int  # on the partition where the account is; where it was before, if no call has come since
    last_offset: int
    carried: tuple[tuple[str, int, Decimal], ...] = ()  # as methods: corrections of settlements before


def settle(row: AccountRow, end_ms: int, at_ms: int, names_max: int = EVERY) -> Settlement:
    """State everything pending. Changes the row: afterwards nothing is."""
    calls = row.pending
    assert calls.payment is not None, "nothing is pending"
    amount, methods = NOTHING, []
    for name, sums in sorted(calls.methods.items(), key=_name):
        amount = EXACT.add(amount, sums.cost)
        methods.append((name, sums.calls, sums.cost))
        method_of(row.settled, name, names_max).add(sums.calls, sums.cost)
    for name, sums in row.carried.items():
        amount = EXACT.add(amount, sums.cost)
        method_of(row.settled, name, names_max).add(sums.calls, sums.cost)
    settlement = Settlement(
        account=row.account,
        start_ms=row.from_ms,
        end_ms=end_ms,
        stated_ms=at_ms,
        amount=amount,
        calls=calls.count,
        methods=tuple(methods),
        payment=calls.payment,
        first_offset=calls.first_offset % ELSEWHERE,
        last_offset=calls.last_offset % ELSEWHERE,
        carried=tuple((name, sums.calls, sums.cost) for name, sums in sorted(row.carried.items(), key=_name)),
    )
    row.pending = Calls()
    row.carried = {}
    row.from_ms = -1
    row.settlements += 1
    row.settled_until_ms = end_ms
    return settlement
