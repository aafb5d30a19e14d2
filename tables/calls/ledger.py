"""A partition of metered calls: hours that are open, accounts that owe, and what closing an hour settles (decision 16).

How records are read is in `fold.py`; time closes hours as it does for bills. Hours close one after the other and for
all accounts at once: at the record that brings the watermark to the end of the hour and the grace beyond, or by the
wall clock in a silent partition. Closing moves the hour's calls to the accounts, and settles every account that owes
at least the minimum, with the end of that hour as the end of the period; so no account is settled twice for one period.

A late call's way: `_row_for` finds its hour closed, `_add` counts it among the pending ones of its account, and the
next hour that closes settles it with the others. Accounts that come from another partition may bring along open hours
that are closed here: when their time has come, their calls are late ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from tables.admission import Admission
from tables.calls.open_calls import OpenCalls
from tables.calls.settlement import (
    OTHER_METHOD,
    Account,
    AccountRow,
    CallsKey,
    HourCalls,
    Payment,
    Settlement,
    settle,
)
from tables.fold import NEVER, Fold
from tables.outcome import Folded, Position, Record, Waiting
from tables.seen import Seen, StoredIds, expiry_of
from tables.window import HOUR_MS, Rules, hour_of


class Accounts(Protocol):
    """The stored rows of one partition, as of the last chunk."""

    def account(self, account: Account) -> AccountRow | None: ...

    def settled_between(self, after_ms: int, until_ms: int) -> Iterable[tuple[Account, int]]:
        """Account and end of period of settlements that end in `(after_ms, until_ms]`."""


@dataclass
class CallsOutcome(Folded):
    """What a chunk changed. Rows are final; None: the row is gone."""

    hours: Mapping[bytes, bytes] = field(default_factory=dict)  # rows of open hours, as they are stored
    closed: list[CallsKey] = field(default_factory=list)  # these rows are gone
    accounts: dict[Account, AccountRow | None] = field(default_factory=dict)
    settlements: list[Settlement] = field(default_factory=list)
    old_settlements: list[tuple[Account, int]] = field(default_factory=list)  # end of the period


ACCOUNTS_MAX = 5_000  # that need not be read again when they change next; some megabytes


class RpcLedger(Fold[CallsOutcome, CallsKey | AccountRow]):
    """One partition of the table of calls.

    Promises beside those of a fold: every counted call is in exactly one settlement, or pending, or in an open hour;
    an amount below `min_amount`, which is above zero, waits and is never dropped. Whoever keeps the open hours, the
    same is written.
    """

    lane: OpenCalls

    def __init__(
        self,
        rules: Rules,
        min_amount: Decimal,
        admission: Admission,
        rows: Accounts,
        position: Position,
        seen: Seen,
        calls: OpenCalls,
    ) -> None:
        assert min_amount > 0, "free calls would settle nothing for ever"
        super().__init__(rules, admission, position, seen, calls)
        self.min_amount = min_amount
        self.rows = rows
        self.open: set[int] = set()  # hours with calls
        self._recent: dict[Account, AccountRow] = {}  # some that changed last
        self.due: dict[Account, AccountRow] = {}  # these owe enough: the next hour that closes settles them
        self._due_ms = NEVER  # when that is
        self.next_mark_ms = self._next_mark()

    def restore(
        self,
        hours: Iterable[HourCalls],
        owing: Iterable[AccountRow],
        ids: Iterable[tuple[int, StoredIds]],
    ) -> None:
        """Rebuild the memory from stored rows: the open hours, the accounts that owe, each chunk's remembered ids."""
        for row in hours:
            self._open(row.key.start_ms)
            self.lane.admit(row)
        for account in owing:
            self._weigh(account)
        self.remember(ids)

    def idle(self, now_ms: int) -> CallsOutcome:
        """Close by the wall clock what a silent, fully read partition leaves behind: hours whose end and grace have
        passed, and with them what late calls owe."""
        outcome = self._outcome = CallsOutcome()
        self._close_until(now_ms, now_ms)
        self._keep()
        self.next_mark_ms = self._next_mark()
        return outcome

    def idle_due(self, now_ms: int) -> bool:
        """Whether `idle` would close anything."""
        return self._next_close_ms() <= now_ms

    def waiting(self) -> Waiting:
        return self._waits(len(self.lane))

    @property
    def closed_until_ms(self) -> int:
        """Hours that ended at or before this are closed."""
        return max(self.position.closed_ms, hour_of(self.position.watermark_ms - self.rules.grace_ms))

    # -- records -------------------------------------------------------------------------------------------------

    def _begun(self, chunk: int) -> CallsOutcome:
        return CallsOutcome(chunk=chunk)

    def _row_for(self, event: Any, org: str, record: Record) -> CallsKey | AccountRow | None:
        """The row a call counts in: that of its open hour, or its account's if the hour is closed."""
        data, hour_ms = event.data, hour_of(event.at_ms)
        account = Account(org, data.agent_id, data.consumer_id, data.currency)
        if hour_ms not in self.open:
            if hour_ms + HOUR_MS <= self.closed_until_ms:
                return None if self._too_late(event.at_ms, record) else self._account(account)
            self._open(hour_ms)
        return CallsKey(hour_ms, account)

    def _add(self, row: CallsKey | AccountRow, event: Any, record: Record) -> None:
        data, at = event.data, record.offset
        payment = Payment(data.chain, data.chain_id, data.agent_wallet, data.consumer_wallet)
        if isinstance(row, CallsKey):
            self.lane.add(row, data.method, event.amount, at, payment)
            return
        calls = row.wait(hour_of(event.at_ms))
        sums = calls.method(data.method, self.rules.names_max)
        sums.add(1, event.amount)
        self._outcome.others += sums is calls.methods.get(OTHER_METHOD)
        calls.cover(at, at, payment)
        self._outcome.accounts[row.account] = row
        self._weigh(row)
        self.next_mark_ms = min(self.next_mark_ms, self._due_ms)

    def _gather(self) -> None:
        self._outcome.hours = self.lane.changed()
        self._outcome.others += self.lane.others()
        self._keep()

    def _keep(self) -> None:
        """Accounts that changed are as the chunk leaves them."""
        if len(self._recent) > ACCOUNTS_MAX:
            self._recent.clear()
        for account, row in self._outcome.accounts.items():
            if row is None:
                self._recent.pop(account, None)
            else:
                self._recent[account] = row

    # -- rows ----------------------------------------------------------------------------------------------------

    def _open(self, hour_ms: int) -> None:
        """An hour has calls from now on."""
        if hour_ms not in self.open:
            self.open.add(hour_ms)
            closes_ms = self._closes_ms(hour_ms)
            until_ms = max(closes_ms, self.position.watermark_ms)
            self.lane.open(hour_ms, expiry_of(hour_ms, until_ms, self.rules))
            self.next_mark_ms = min(self.next_mark_ms, closes_ms)

    def _account(self, account: Account) -> AccountRow:
        return self._known(account) or AccountRow(account)

    def _known(self, account: Account) -> AccountRow | None:
        touched = self._outcome.accounts
        if account in touched:
            return touched[account]
        return self.due.get(account) or self._recent.get(account) or self.rows.account(account)

    def _weigh(self, row: AccountRow) -> None:
        """An account that owes enough is settled by the next hour that closes."""
        if row.account not in self.due and row.is_due(self.min_amount):
            if not self.due:
                self._due_ms = self.closed_until_ms + HOUR_MS + self.rules.grace_ms
            self.due[row.account] = row

    # -- marks ---------------------------------------------------------------------------------------------------

    def _cross(self, watermark_ms: int) -> None:
        self._close_until(watermark_ms, None)
        self._outcome.old_ids += self.seen.forget(watermark_ms)
        self._expire(hour_of(max(watermark_ms - self.rules.retention_ms, 0)))

    def _close_until(self, limit_ms: int, stated_ms: int | None) -> None:
        """Close every hour that the limit brings due, one after the other. `stated_ms` None: the mark of each."""
        while (mark_ms := self._next_close_ms()) <= limit_ms:
            end_ms = mark_ms - self.rules.grace_ms
            self._end(end_ms - HOUR_MS)
            if end_ms > self.position.closed_ms:
                self._settle(end_ms, mark_ms if stated_ms is None else stated_ms)
                self.position.closed_ms = end_ms

    def _end(self, hour_ms: int) -> None:
        """The hour's calls become pending."""
        if hour_ms not in self.open:
            return
        outcome = self._outcome
        self.open.remove(hour_ms)
        for calls in self.lane.close(hour_ms):
            account = calls.key.account
            row = outcome.accounts[account] = self._account(account)
            row.wait(hour_ms).absorb(calls, self.rules.names_max)
            outcome.closed.append(calls.key)
            self._weigh(row)

    def _settle(self, end_ms: int, stated_ms: int) -> None:
        """Whoever owes enough is settled."""
        for account in sorted(self.due):
            row = self._outcome.accounts[account] = self.due[account]
            self._outcome.settlements.append(settle(row, end_ms, stated_ms, self.rules.names_max))
        self.due.clear()
        self._due_ms = NEVER

    def _expire(self, until_ms: int) -> None:
        """Let go of settlements whose period ended by then, and of accounts that owe nothing since."""
        position, outcome = self.position, self._outcome
        if 0 <= position.expired_ms < until_ms:
            old = set(self.rows.settled_between(position.expired_ms, until_ms))
            new = (one for one in outcome.settlements if position.expired_ms < one.end_ms <= until_ms)
            old |= {(one.account, one.end_ms) for one in new}
            for account, end_ms in sorted(old):
                outcome.old_settlements.append((account, end_ms))
                row = self._known(account)
                if row is not None and not row.owes and row.settled_until_ms <= until_ms:
                    outcome.accounts[account] = None
        position.expired_ms = max(position.expired_ms, until_ms)

    def _next_close_ms(self) -> int:
        """The mark of the next hour that has something to close."""
        return min(self._closes_ms(min(self.open)) if self.open else NEVER, self._due_ms)

    def _due_next_ms(self) -> int:
        return min(self._next_close_ms(), self.position.expired_ms + HOUR_MS + self.rules.retention_ms)
