"""usage=counters: what the worker's table says agrees with the log, and every planted fault is found."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from decimal import Decimal

from hypothesis import Phase, given
from hypothesis import strategies as st
from latency_log import LatencyTable
from searches import search
from usage_histories import OFFSETS, SHORT, START, logs
from usage_log import DIRECTORY, Rec, value
from verify_logs import TEN, Logs
from verify_sides import sides

from streamapp.kafka.log.reader import Record
from streamapp.meters.latency import codec
from streamapp.schemas.judging.letter import Refused, letter
from streamapp.verify.report import PairReport
from streamapp.verify.usage_counters import CHANGELOG, PAIR
from tables.latency.fold import LIMITS, Limits
from tables.latency.tally import ALL, Series
from tables.latency.windows import HOUR, WindowKey
from tables.window import HOUR_MS

FEW = Limits(models=1, currencies=1)
CALLS = 20
RULES = replace(SHORT, remember_ms=200 * HOUR_MS)  # to the check, an id counts once in the whole log


def counted(log: list[Rec], cuts: Collection[int] = (), limits: Limits = LIMITS) -> LatencyTable:
    table, begin = LatencyTable(RULES, limits), 0
    for end in [*sorted(cut for cut in cuts if 0 < cut < len(log)), len(log)]:
        table.apply(*log[begin:end])
        begin = end
    return table


def compared(
    log: list[Rec],
    table: LatencyTable,
    *,
    committed: int | None = None,
    judged: int | None = None,
    start: int = 0,
    bills: Collection[Record] = (),
) -> PairReport:
    """The check of a log in one partition, with the dead letters that billing-agg writes of it."""
    rows = table.store.scan(b"d", b"z")
    changelog = [Record("changelog", 0, at, 0, key, row) for at, (key, row) in enumerate(rows)]
    letters: list[Record] = []
    for refusal in (refusal for outcome in table.outcomes for refusal in outcome.refusals):
        one = refusal.record
        refused = Refused(
            topic="llm_usage", partition=0, offset=one.offset, group="billing-agg", reason=str(refusal.reason),
            error=refusal.error, key=one.key, value=one.value, timestamp_ms=one.timestamp,
        )  # fmt: skip
        made = letter(refused, one.timestamp)
        letters.append(Record("dead_letter", 0, len(letters), 0, made.key, made.value))
    end = len(log)
    usage = [Record("llm_usage", 0, one.offset, one.timestamp, one.key, one.value) for one in log]
    topics = {CHANGELOG: changelog, "dead_letter": letters, "billing_events": bills, "llm_usage": usage[start:]}
    both = sides(
        PAIR,
        topics,
        committed={0: end if committed is None else committed},
        starts={("llm_usage", 0): start},
        org_of=DIRECTORY.get,
        refusing={0: end if judged is None else judged},
    )
    PAIR.judge(both)
    report: PairReport = both.report
    return report


def calls() -> list[Rec]:
    """Two hours of calls, of two models."""
    made = []
    for number in range(CALLS):
        at_ms = START + number * (2 * HOUR_MS // CALLS)
        content = value(f"id-{number}", at_ms, model=f"m{number % 2}")
        made.append(Rec(b"team_a", content, at_ms, offset=number))
    return made


@given(logs(), OFFSETS, st.sampled_from([LIMITS, FEW]))
@search(40, phases=(Phase.explicit, Phase.generate))
def test_the_table_agrees_with_the_log(log: list[Rec], cuts: set[int], limits: Limits) -> None:
    table = counted(log, cuts, limits)
    report = compared(log, table)
    assert (report.difference, report.waiting) == (0, 0), report.as_json()
    assert report.events == sum(outcome.accepted for outcome in table.outcomes)


def test_what_both_sides_have_of_an_hour_is_told() -> None:
    report = compared(calls(), counted(calls()))
    assert [(start - START, left == right, left.events) for start, (left, right) in report.hours.items()] == [
        (0, True, CALLS // 2),
        (HOUR_MS, True, CALLS // 2),
    ]
    left, _ = report.hours[START]
    assert (left.amounts["cost USD"], int(left.amounts["total_tokens"])) == (Decimal("0.01"), CALLS // 2 * 15)
    assert report.as_json()["name"] == "usage=counters"


def change(table: LatencyTable, requests: int = 0, prompt_tokens: int = 0) -> None:
    """Spoil a stored hour."""
    key = codec.window_key(WindowKey(HOUR, START, Series("openai", "m0", None)))
    tally = codec.unpack_tally(table.store.get(key) or b"")
    tally.numbers[0] += requests
    tally.numbers[5] += prompt_tokens
    table.store.write({key: codec.pack_tally(tally)}, table.store.checkpoint())


def test_planted_faults_are_found() -> None:
    for requests, prompt_tokens, kind in ((-1, 0, "lost"), (2, 0, "doubled"), (0, 1, "wrong")):
        table = counted(calls())
        change(table, requests, prompt_tokens)
        found = {name: findings.count for name, findings in compared(calls(), table).faults()}
        assert found == {"lost": 0, "doubled": 0, "wrong": 0} | {kind: abs(requests) or 1}


def test_a_wrong_row_of_all_together_and_a_wrong_name_are_found() -> None:
    table = counted(calls())
    key = codec.window_key(WindowKey(HOUR, START, ALL))
    table.store.write({key: None}, table.store.checkpoint())
    assert compared(calls(), table).wrong.count == 1
    table = counted(calls())
    key = codec.window_key(WindowKey(HOUR, START, Series("openai", "m0", None)))
    moved = codec.window_key(WindowKey(HOUR, START, Series("openai", "m9", None)))
    table.store.write({key: None, moved: table.store.get(key)}, table.store.checkpoint())
    assert compared(calls(), table).wrong.count == 1


def test_what_is_not_counted_or_not_judged_yet_waits() -> None:
    table = counted(calls()[:15])
    report = compared(calls(), table, committed=15)
    assert (report.difference, report.waiting) == (0, 5)
    report = compared(calls(), counted(calls()), judged=5)
    assert (report.difference, report.waiting, report.hours) == (0, CALLS - 5, {})


def test_a_group_ahead_of_its_table_is_wrong() -> None:
    assert compared(calls(), counted(calls()[:15]), committed=16).wrong.count == 1


def test_hours_of_which_the_log_has_lost_events_are_out_of_reach() -> None:
    report = compared(calls(), counted(calls()), start=3)
    assert (report.difference, report.out_of_reach) == (0, CALLS // 2)
    assert list(report.hours) == [START + HOUR_MS]


def test_a_repeated_id_counts_once() -> None:
    log = [*calls(), replace(calls()[3], offset=CALLS)]
    assert compared(log, counted(log)).difference == 0


def test_bills_say_on_which_partitions_teams_have_been() -> None:
    logs = Logs()
    logs.use(TEN, team="team_a")
    logs.state(TEN, team="team_a")
    assert compared(calls(), counted(calls()), bills=logs.bills).difference == 0
