"""With the fast path or without: the same rows, settlements, dead letters and remembered ids, whatever the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from plain_open_calls import PlainCalls
from rpc_histories import logs
from rpc_log import WEEK, Calls, call
from searches import search
from test_fast_path import stretched
from usage_log import Rec

from streamapp.meters.calls.parts import CallsTask
from streamapp.meters.calls.rpc_codec import unsettled
from tables.window import Rules

OFFSETS = st.sets(st.integers(1, 40))
FEW = replace(WEEK, names_max=1)  # of two methods


def without_lane(task: CallsTask) -> None:
    """The same task with its open hours in dicts, as they are stored."""
    ledger = task.memory
    ledger.lane = PlainCalls(ledger.rules.names_max)
    ledger.open.clear()
    ledger.restore(*unsettled(task.store), ())


def histories(log: Sequence[Rec], cuts: set[int], restarts: set[int], idles: set[int], rules: Rules) -> list[Any]:
    """What the same chunks write, with the lane and without."""
    both = []
    rng = Random(len(log))
    for with_lane in (True, False):
        table, begin = Calls(rules), 0
        if not with_lane:
            table.prepare = without_lane
            table.restart()
        written: list[Any] = []
        for end in [*sorted(cut for cut in cuts if 0 < cut < len(log)), len(log)]:
            if end in restarts:
                table.restart()
            chunk = stretched(log[begin:end], rng) if with_lane else list(log[begin:end])
            transaction = table.task.fold(chunk, log[end - 1].timestamp)
            written.append((transaction.writes, transaction.sends))
            table.commit(transaction)
            begin = end
            if end in idles:
                idle = table.task.tick(log[end - 1].timestamp + WEEK.grace_ms)
                if idle is not None:
                    written.append((idle.writes, idle.sends))
                    table.commit(idle)
        both.append(written)
    return both


@given(logs(), OFFSETS, OFFSETS, OFFSETS, st.sampled_from([WEEK, FEW]))
@search(300)
def test_the_lane_changes_nothing(
    log: list[Rec], cuts: set[int], restarts: set[int], idles: set[int], rules: Rules
) -> None:
    with_lane, without = histories(log, cuts | restarts | idles, restarts, idles, rules)
    assert with_lane == without


def test_most_of_a_usual_log_is_counted_on_the_lane() -> None:
    table = Calls()
    ledger = table.task.memory
    folded: list[Any] = []
    slow = ledger._fold

    def fold(record: Any) -> None:
        folded.append(record)
        slow(record)

    ledger._fold = fold  # type: ignore[method-assign]
    agents = [f"agent_{number}" for number in range(20)]
    log = [call(f"1{hour}:{at:02d}", agents[at % 20], method=f"m{at % 3}") for hour in range(3) for at in range(60)]
    table.apply(*log)
    assert len(folded) <= 12  # the first, each new hour, each mark
    assert sum(row.count for row in ledger.lane.rows()) == 60
    assert len(ledger.lane) == 20
