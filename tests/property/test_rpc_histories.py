"""Settlements are a function of the log: any cutting, any restarts, the same bytes; and what the rules alone say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from rpc_histories import logs
from rpc_log import WEEK, Calls
from rpc_oracle import EXACT, Expected, stated
from searches import search
from usage_log import Rec

from tables.calls.settlement import Account
from tables.window import HOUR_MS, MINUTE_MS, Rules

OFFSETS = st.sets(st.integers(1, 40))
SHORT = Rules(retention_ms=3 * HOUR_MS, remember_ms=HOUR_MS)
RULES = [WEEK, SHORT, replace(WEEK, names_max=1), replace(SHORT, grace_ms=7_000, names_max=1)]


def settled(log: Sequence[Rec], rules: Rules, cuts: set[int], restarts: set[int]) -> list[bytes | None]:
    """The settlements' bytes when the log is cut before these offsets, and the process restarted before those."""
    table, begin = Calls(rules), 0
    for end in [*sorted(cut for cut in cuts if 0 < cut < len(log)), len(log)]:
        table.apply(*log[begin:end])
        begin = end
        if end in restarts:
            table.restart()
    return [send.value for send in table.sends if send.topic == "billing_events"]


@given(logs(), OFFSETS, OFFSETS, st.sampled_from(RULES))
@search(150)
def test_any_cutting_and_any_restarts_give_the_same_bytes(
    log: list[Rec], cuts: set[int], restarts: set[int], rules: Rules
) -> None:
    whole = settled(log, rules, set(), set())
    assert settled(log, rules, cuts | restarts, restarts) == whole
    assert settled(log, rules, set(range(41)), set(range(0, 41, 2))) == whole


@given(logs(), OFFSETS, st.lists(st.integers(0, 40), max_size=4))
@search(60)
def test_reading_records_again_changes_nothing(log: list[Rec], cuts: set[int], backs: list[int]) -> None:
    table, begin = Calls(SHORT), 0
    for end in [*sorted(cut for cut in cuts if cut < len(log)), len(log)]:
        if backs:
            begin = min(begin, backs.pop())
            table.restart()
        table.apply(*log[begin:end])
        begin = end
    again = [send.value for send in table.sends if send.topic == "billing_events"]
    assert again == settled(log, SHORT, set(), set())


@given(
    logs(jump_ms=30 * MINUTE_MS),
    OFFSETS,
    st.sampled_from([WEEK, replace(WEEK, grace_ms=0), replace(WEEK, names_max=1)]),
)
@search(150)
def test_settlements_are_what_the_rules_alone_say(log: list[Rec], cuts: set[int], rules: Rules) -> None:
    expected = Expected(grace=rules.grace_ms, names_max=rules.names_max).read(log)
    events = [json.loads(value or b"") for value in settled(log, rules, cuts, cuts)]
    assert [stated(event) for event in events] == expected.settled


@given(logs(jump_ms=30 * MINUTE_MS), OFFSETS, st.lists(st.integers(0, 6 * HOUR_MS), max_size=8), OFFSETS)
@search(100)
def test_every_call_is_settled_once_or_waits(
    log: list[Rec], cuts: set[int], idles: list[int], restarts: set[int]
) -> None:
    """Whatever the wall clock closes: settled, pending and open calls are those that were accepted."""
    expected = Expected(minimum=Decimal("1e40")).read(log)  # nothing settles: all that counts is open or pending
    table, begin = Calls(), 0
    for end in [*sorted(cut for cut in cuts if cut < len(log)), len(log)]:
        table.apply(*log[begin:end])
        begin = end
        if idles:
            table.idle_ms(log[end - 1].timestamp + idles.pop())
        if end in restarts:
            table.restart()
    calls: Counter[tuple[str, ...]] = Counter()
    costs: dict[tuple[str, ...], Decimal] = {}
    for groups in (expected.pending, *expected.open.values()):
        for who, each in groups.items():
            for call in each:
                calls[who] += 1
                costs[who] = EXACT.add(costs.get(who, Decimal(0)), call.cost)
    ledger = table.task.memory
    found = [(one.account, one.calls, one.amount) for one in table.settlements()]
    found += [(row.key.account, row.count, row.amount) for row in ledger.lane.rows()]
    for _, *parts in table.rows("account"):
        row = table.task.memory.rows.account(Account(*parts))
        if row is not None:
            found.append((row.account, row.pending.count, row.pending.amount))
    counted: Counter[tuple[str, ...]] = Counter()
    owed: dict[tuple[str, ...], Decimal] = {}
    for account, count, amount in found:
        counted[account] += count
        owed[account] = EXACT.add(owed.get(account, Decimal(0)), amount)
    assert +counted == +calls
    assert owed == costs
    ids = [event["id"] for event in table.events()]
    assert len(ids) == len(set(ids))
