"""With the fast path or without: the same rows, statements, dead letters and remembered ids, whatever the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from searches import search
from usage_histories import FEW, LIMITS, OFFSETS, SHORT, logs
from usage_log import Rec, SetLimits, Table, at, value, without_lane

from streamapp.lane.records import Records, Stretch, payload_of
from streamapp.meters.usage import codec
from streamapp.meters.usage.statement import event
from streamapp.meters.usage.store import USAGE
from tables.outcome import Outcome
from tables.window import Rules


def told(outcome: Outcome) -> Any:
    """Everything an outcome says, as values that compare."""
    hours = {key: USAGE.readable(*codec.stored_hour(row)) for key, row in outcome.hours.items()}
    others = set(Outcome.__dataclass_fields__) - {"hours", "refusals", "statements"}
    statements = [(one._replace(counted=()), one.lines, event(one, "llm_usage", 0)) for one in outcome.statements]
    refused = [(refusal.record.offset, refusal.reason, refusal.error) for refusal in outcome.refusals]
    return hours, refused, statements, {name: getattr(outcome, name) for name in others}


def stretched(records: Sequence[Rec], rng: Random) -> Records:
    """The records as they come in batches: in stretches of payloads that hold more than is asked for."""
    parts, at = [], 0
    while at < len(records):
        some = records[at : at + rng.randrange(1, 8)]
        before, behind = ([replace(records[0], key=b"other", value=b"{}")] * rng.randrange(3) for _ in range(2))
        parts.append(Stretch(payload_of([*before, *some, *behind]), len(before), len(before) + len(some)))
        at += len(some)
    return Records(parts)


def histories(
    log: Sequence[Rec], cuts: set[int], restarts: set[int], idles: set[int], rules: Rules
) -> tuple[list[Any], list[Any]]:
    """What the same chunks do, with the lane and without."""
    both: list[list[Any]] = []
    rng = Random(len(log))
    for lane in (True, False):
        limits = SetLimits(**LIMITS) if len(log) % 2 else SetLimits()
        table, begin, all_told = Table(rules, limits=limits), 0, list[Any]()
        for end in [*sorted(cut for cut in cuts if 0 < cut < len(log)), len(log)]:
            if end in restarts:
                table.restart()
            if end % 5 == 0:
                limits.set(**(LIMITS if limits.changes % 3 else {}))
            if not lane:
                without_lane(table)
            if lane:
                table.commit(table.task.fold(stretched(log[begin:end], rng), log[end - 1].timestamp))
            else:
                table.apply(*log[begin:end])
            all_told += [told(table.outcomes[-1]), dict(table.task.memory.lane.costs())]
            begin = end
            if end in idles:
                idle = table.idle_ms(log[end - 1].timestamp + rules.grace_ms)
                all_told.append(idle and told(idle))
        both.append(all_told)
    return both[0], both[1]


@given(logs(), OFFSETS, OFFSETS, OFFSETS, st.sampled_from([SHORT, FEW]))
@search(600)
def test_the_lane_changes_nothing(
    log: list[Rec], cuts: set[int], restarts: set[int], idles: set[int], rules: Rules
) -> None:
    with_lane, without = histories(log, cuts | restarts | idles, restarts, idles, rules)
    assert with_lane == without


@pytest.mark.parametrize("budgets", [0, 5])
def test_most_of_a_usual_log_is_counted_on_the_lane(budgets: int) -> None:
    table = Table(limits=SetLimits(**{f"team_{number}": {"soft": "0.1"} for number in range(budgets)}))
    log = [record for hour in range(3) for record in busy_hour(hour)]
    ledger = table.task.memory
    folded: list[Rec] = []
    slow = ledger._fold

    def fold(record: Any) -> None:
        folded.append(record)
        slow(record)

    ledger._fold = fold  # type: ignore[method-assign]  # counts what the lane leaves
    for begin in range(0, len(log), 500):
        table.apply(*log[begin : begin + 500])
    marks, rows = 3, 3 * 20
    if budgets:
        crossed = [crossing for outcome in table.outcomes for crossing in outcome.crossings]
        assert len(crossed) == budgets
        assert len(folded) <= rows + marks + budgets, (
            "the first of each hour and team, and those that reach a limit, too"
        )
    else:
        assert len(folded) <= 3 + marks, "the first record of an hour, and the one that crosses the mark"


def busy_hour(hour: int) -> list[Rec]:
    """A thousand calls of two hundred lines."""
    log = []
    for number in range(1000):
        at_ms, team = at(f"{10 + hour}:00") + number * 3_600, f"team_{number % 20}"
        content = value(f"id-{hour}-{number}", at_ms, team, "org", model=f"m{number % 200}")
        log.append(Rec(team.encode(), content, at_ms, offset=hour * 1000 + number))
    return log


def test_a_restored_hour_is_counted_on_the_lane_again() -> None:
    table = Table()
    log = busy_hour(0)
    table.apply(*log[:500])
    table.restart()
    whole = Table()
    whole.apply(*log[:500])
    for one in (table, whole):
        one.apply(*[replace(record) for record in log[500:]])
    assert told(table.outcomes[-1]) == told(whole.outcomes[-1])


def test_a_row_that_came_from_another_partition_keeps_its_coverage() -> None:
    tables = []
    for lane in (True, False):
        table = Table()
        table.apply(*[replace(record, offset=record.offset + 5_000) for record in busy_hour(0)[:300]])
        table.task.memory.position.next_offset = 0  # its rows were moved here: offsets begin anew
        if not lane:
            without_lane(table)
        tables.append([told(table.apply(*busy_hour(0)[300:600])), told(table.apply(*busy_hour(0)[600:]))])
    assert tables[0] == tables[1]
