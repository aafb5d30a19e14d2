"""Random histories of usage: the latency table counts what the ledger counts, and rows are a function of the log."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import Phase, given
from hypothesis import strategies as st
from latency_log import LatencyTable, Numbers, numbers, summed
from searches import search
from usage_histories import OFFSETS, SHORT, logs
from usage_log import Rec, Table, at, refused, value

from tables.counters import EXACT, Counters
from tables.latency.fold import LIMITS, Limits
from tables.latency.tally import ALL, Tally
from tables.latency.windows import HOUR, MINUTE, LatencyOutcome
from tables.window import HOUR_MS

FEW = Limits(models=1, currencies=1)
PHASES = (Phase.explicit, Phase.generate)  # a history is short enough to be read as it is


def applied(
    log: list[Rec], cuts: set[int], restarts: set[int], limits: Limits = LIMITS, lane: bool = True
) -> LatencyTable:
    table, begin = LatencyTable(SHORT, limits, lane=lane), 0
    for end in [*sorted(cut for cut in cuts | restarts if 0 < cut < len(log)), len(log)]:
        table.apply(*log[begin:end])
        if end in restarts:
            table.restart()
        begin = end
    return table


def billed(log: list[Rec], cuts: set[int]) -> tuple[Table, dict[int, Numbers]]:
    """What the ledger counted in each hour that it still has, over all teams."""
    table, begin = Table(SHORT), 0
    for end in [*sorted(cut for cut in cuts if 0 < cut < len(log)), len(log)]:
        table.apply(*log[begin:end])
        begin = end
    hours: dict[int, tuple[Counters, dict[str, Decimal]]] = {}
    for row in table.task.memory.rows.hours_ending(HOUR_MS, 1 << 60):
        counted, cost = hours.setdefault(row.key.start_ms, (Counters(), {}))
        counted.add(row.totals().numbers())
        cost[row.key.currency] = EXACT.add(cost.get(row.key.currency, Decimal(0)), row.totals().cost)
    return table, {hour: Numbers(*counted.numbers()[:5], cost) for hour, (counted, cost) in hours.items()}


@given(logs(), OFFSETS, OFFSETS, st.sampled_from([LIMITS, FEW]))
@search(60, phases=PHASES)
def test_rows_are_a_function_of_the_log_and_the_lane_changes_nothing(
    log: list[Rec], cuts: set[int], restarts: set[int], limits: Limits
) -> None:
    with_lane = applied(log, cuts, restarts, limits)
    assert with_lane.rows() == applied(log, set(), set(), limits, lane=False).rows()
    without = applied(log, cuts, restarts, limits, lane=False)
    assert [told(one) for one in with_lane.outcomes] == [told(one) for one in without.outcomes]


def told(outcome: LatencyOutcome) -> tuple[object, ...]:
    counts = outcome.accepted, outcome.duplicates, outcome.skipped, refused(outcome)
    return (*counts, outcome.windows, outcome.totals, outcome.places, outcome.candidates, outcome.ids, outcome.old_ids)


def test_most_of_a_usual_log_is_counted_on_the_lane() -> None:
    table, folded = LatencyTable(), list[object]()
    latency, slow = table.task.memory, table.task.memory._fold

    def fold(record: object) -> None:
        folded.append(record)
        slow(record)  # type: ignore[arg-type]

    latency._fold = fold  # type: ignore[method-assign]  # counts what the lane leaves
    for hour in range(3):
        for begin in range(0, 1000, 250):
            table.apply(*(call(hour, number) for number in range(begin, begin + 250)))
    assert len(folded) <= 20 + 2 * 3, "the first of each model, the first of each hour, and the one at its mark"
    assert sum(tally.requests for tally in table.totals().values()) == 3000


def call(hour: int, number: int) -> Rec:
    """One of a thousand calls of twenty models in an hour."""
    at_ms = at(f"{10 + hour}:00") + number * 3_600
    more = f'"latency_ms":{number}.25,"ttft_ms":{number % 7},"stream":{"true" if number % 3 else "false"}'
    content = value(f"id-{hour}-{number}", at_ms, "team_a", model=f"m{number % 20}", more=more)
    return Rec(b"team_a", content, at_ms)


@given(logs(), OFFSETS, OFFSETS)
@search(60, phases=PHASES)
def test_hours_sum_up_to_the_bills(log: list[Rec], cuts: set[int], others: set[int]) -> None:
    table = applied(log, cuts, set())
    ledger, hours = billed(log, others)
    windows = table.windows()
    assert {hour: numbers(tally) for hour, tally in summed(windows, HOUR).items()} == hours
    mine = sorted(item for outcome in table.outcomes for item in refused(outcome))
    assert mine == sorted(item for outcome in ledger.outcomes for item in refused(outcome))
    assert sum(one.duplicates for one in table.outcomes) == sum(one.duplicates for one in ledger.outcomes)


@given(logs(), OFFSETS, st.sampled_from([LIMITS, FEW]))
@search(60, phases=PHASES)
def test_every_sum_agrees_with_every_other(log: list[Rec], cuts: set[int], limits: Limits) -> None:
    table = applied(log, cuts, set(), limits)
    windows, totals = table.windows(), Tally()
    for span in (MINUTE, HOUR):
        together = {key.start_ms: tally for key, tally in windows.items() if key.span == span and key.series == ALL}
        assert together == summed(windows, span)
    for tally in table.totals().values():
        assert not tally.latency.bins
        totals.add(tally)
    assert totals.requests == sum(outcome.accepted for outcome in table.outcomes)
    names = {series.name for series in table.totals()}
    assert len(names) <= limits.models + 1
