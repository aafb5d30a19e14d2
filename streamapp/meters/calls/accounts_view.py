"""The accounts of one partition as the pages see them, as of the last commit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal

from streamapp.facts.worker import AccountFacts, AgentFacts, MethodFacts
from streamapp.meters.calls import rpc_codec
from streamapp.meters.calls.parts import CallsTask
from streamapp.meters.calls.settled import settlement_id
from streamapp.meters.listed import PartitionRows
from streamapp.meters.view import add
from tables.calls.ledger import CallsOutcome
from tables.calls.settlement import Account, AccountRow, HourCalls, Methods, cost_of, method_of
from tables.counters import EXACT, NOTHING
from tables.window import DAY_MS, HOUR_MS

ACCOUNTS_MAX = 100_000  # that the pages can list, over all partitions of a worker
OF_AGENT_MAX = 10_000  # accounts of one agent that its page adds up


class AccountsView(PartitionRows[Account, AccountFacts | None]):
    """Facts about one partition's accounts. They are made when asked for, once for each change of an account's row."""

    task: CallsTask

    def landed(self, outcome: CallsOutcome) -> None:
        for one in outcome.settlements:
            if self.live is not None:
                self.live.add(settlement_id(one.account, one.end_ms))
            add(self.stated[one.end_ms // DAY_MS * DAY_MS][0], one.account.currency, one.amount)
        for account, row in outcome.accounts.items():
            self.rows.pop(account, None)
            if row is not None:
                self.rows[account] = None  # its facts are not made since
        self._forget_oldest()

    def _stored(self, now_ms: int) -> Iterator[tuple[Account, AccountFacts]]:
        return ((row.account, self.facts(row.account, row, ())) for row in rpc_codec.accounts_of(self.task.store))

    def _stated_on(self, day_ms: int) -> tuple[bytes, bytes]:
        """By the end of the settlement's period."""
        return rpc_codec.settled_prefix(day_ms), rpc_codec.settled_prefix(day_ms + DAY_MS)

    def _amount(self, statement: bytes) -> tuple[bool, str, Decimal]:
        data = rpc_codec.unpack_settlement(statement).data
        return False, data.currency, data.amount

    def accounts(self) -> Iterator[AccountFacts]:
        """Every account, as of the newest chunk."""
        hours: dict[Account, list[HourCalls]] = defaultdict(list)
        for calls in self.task.memory.lane.rows():
            hours[calls.key.account].append(calls)
        for account, facts in self.rows.items():
            if account in hours:
                continue
            if facts is None:
                facts = self.rows[account] = self.facts(account, self._account(account), ())
            yield facts
        for account, open_ in hours.items():
            yield self.facts(account, self._account(account), open_)

    def agent(self, org: str, agent: str) -> list[AgentFacts]:
        """One entry per currency."""
        rows = {row.account: row for row in rpc_codec.of_agent(self.task.store, org, agent, OF_AGENT_MAX)}
        hours: dict[Account, list[HourCalls]] = {account: [] for account in rows}
        for calls in self.task.memory.lane.rows():
            account = calls.key.account
            if account[:2] == (org, agent):
                hours.setdefault(account, []).append(calls)
        currencies = sorted({account.currency for account in hours})
        return [self._agent(org, agent, currency, rows, hours) for currency in currencies]

    def facts(self, account: Account, row: AccountRow | None, hours: Iterable[HourCalls]) -> AccountFacts:
        """One account as facts."""
        row = row or AccountRow(account)
        open_calls, open_amount = 0, NOTHING
        for calls in hours:
            open_calls, open_amount = open_calls + calls.count, EXACT.add(open_amount, calls.amount)
        is_settled = row.settled_until_ms >= 0
        return AccountFacts(
            *account,
            partition=self.task.place.partition,
            open_calls=open_calls,
            open_amount=open_amount,
            pending_calls=row.pending.count,
            pending_amount=EXACT.add(row.pending.amount, cost_of(row.carried)),
            settled_calls=sum(sums.calls for sums in row.settled.values()),
            settled_amount=cost_of(row.settled),
            settlements=row.settlements,
            settled_until_ms=row.settled_until_ms if is_settled else None,
            settlement_id=settlement_id(account, row.settled_until_ms) if is_settled else None,
            since_ms=None if row.since_ms < 0 else row.since_ms,
        )

    def _known(self, account: Account, row: AccountRow | None, hours: list[HourCalls]) -> AccountFacts:
        """The same; of an account without open hours they may have been made already."""
        return (None if hours else self.rows.get(account)) or self.facts(account, row, hours)

    def _account(self, account: Account) -> AccountRow | None:
        key = rpc_codec.account_key(account)
        value = self.task.store.get(key)
        return None if value is None else rpc_codec.unpack_account(key, value)

    def _agent(
        self,
        org: str,
        agent: str,
        currency: str,
        rows: dict[Account, AccountRow],
        hours: dict[Account, list[HourCalls]],
    ) -> AgentFacts:
        ledger = self.task.memory
        methods: Methods = {}
        accounts = sorted(account for account in hours if account.currency == currency)
        for account in accounts:
            row = rows.get(account)
            parts = [calls.methods for calls in hours[account]]
            parts += [] if row is None else [row.pending.methods, row.settled]
            for method, totals in (item for part in parts for item in part.items()):
                method_of(methods, method).add(totals.calls, totals.cost)
        open_hours = [calls.key.start_ms for account in accounts for calls in hours[account]]
        watermark_ms = ledger.position.watermark_ms
        return AgentFacts(
            org=org,
            agent=agent,
            currency=currency,
            partition=self.task.place.partition,
            min_amount=ledger.min_amount,
            watermark_ms=None if watermark_ms < 0 else watermark_ms,
            closes_at_ms=min(open_hours) + HOUR_MS + ledger.rules.grace_ms if open_hours else None,
            methods=tuple(MethodFacts(name, methods[name].calls, methods[name].cost) for name in sorted(methods)),
            accounts=tuple(self._known(account, rows.get(account), hours[account]) for account in accounts),
        )
