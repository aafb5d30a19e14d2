"""The worker of metered calls as the pages see it."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from streamapp.facts.events import WindowFacts
from streamapp.facts.worker import AccountFacts, AgentFacts
from streamapp.meters.calls import rpc_codec
from streamapp.meters.calls.accounts_view import ACCOUNTS_MAX, AccountsView
from streamapp.meters.calls.parts import CallsTask
from streamapp.meters.calls.settled import settlement_id
from streamapp.meters.listed import ListedView
from streamapp.meters.view import Sums, add
from tables.calls.ledger import CallsOutcome
from tables.calls.settlement import Account, CallsKey
from tables.counters import EXACT
from tables.window import HOUR_MS, hour_of


class RpcView(ListedView[AccountsView, AccountFacts]):
    """The pages of metered calls; implements `facts.AgentsView`, too."""

    listed = "accounts"

    def _view(self, task: CallsTask, partitions: int) -> AccountsView:
        return AccountsView(task, ACCOUNTS_MAX // partitions)

    def _facts(self) -> list[AccountFacts]:
        return [facts for view in self._views.values() for facts in view.accounts()]

    def accounts(self) -> list[AccountFacts]:
        return self._listed()

    def agent(self, org: str, agent: str) -> list[AgentFacts]:
        return [facts for view in self._views.values() for facts in view.agent(org, agent)]

    def settlement(self, settlement_id: str) -> list[bytes]:
        key = rpc_codec.settlement_key(settlement_id)
        values = (view.task.store.get(key) for view in self._views.values())
        return [value for value in values if value is not None]

    def window(self, names: tuple[str, ...], at_ms: int) -> list[WindowFacts]:
        if len(names) != 4:
            return []
        account = Account(*names)
        return [facts for view in self._views.values() if (facts := _window(view.task, account, at_ms)) is not None]

    def _landed(self, task: CallsTask, outcome: CallsOutcome) -> None:
        super()._landed(task, outcome)
        now_ms = self.clock()
        ended_s = [(now_ms - one.end_ms) / 1000 for one in outcome.settlements]
        self._metrics.stated("settled", len(outcome.settlements), ended_s)

    def _open_events(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for facts in self.accounts():
            counts[facts.currency] += facts.open_calls + facts.pending_calls
        return dict(counts)

    def _money(self) -> tuple[Sums, Sums, Sums]:
        open_: Sums = {}
        for facts in self.accounts():
            add(open_, facts.currency, EXACT.add(facts.open_amount, facts.pending_amount))
        return open_, *self._stated_today()


def _window(task: CallsTask, account: Account, at_ms: int) -> WindowFacts | None:
    ledger, start_ms = task.memory, hour_of(at_ms)
    row = ledger.rows.account(account)
    is_open = any(calls.key == CallsKey(start_ms, account) for calls in ledger.lane.rows())
    if row is None and not is_open:
        return None
    until_ms = row.settled_until_ms if row is not None else -1
    periods = range(start_ms + HOUR_MS, until_ms + 1, HOUR_MS)
    keys = (rpc_codec.settlement_key(settlement_id(account, end_ms)) for end_ms in periods)
    stated = [value.decode() for key in keys if (value := task.store.get(key)) is not None]
    state: Literal["open", "pending", "stated"] = (
        "open" if is_open else "pending" if row is not None and row.owes else "stated"
    )
    watermark_ms = ledger.position.watermark_ms
    due_ms = start_ms + HOUR_MS + ledger.rules.grace_ms if is_open else None
    return WindowFacts(
        task.place.partition,
        state,
        account,
        start_ms,
        None if watermark_ms < 0 else watermark_ms,
        due_ms,
        tuple(stated),
    )
