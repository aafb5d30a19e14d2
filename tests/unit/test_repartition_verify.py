"""The independent check after a repartition and after a recomputation: what is right passes, what is not does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from verify_logs import HOUR_MS, TEN, Logs, bill_id, text
from verify_sides import audit

from streamapp.kafka.log.reader import Record
from streamapp.topics.partitioner import partition_for
from streamapp.verify.read.homes import Homes
from streamapp.verify.report import BillsReport

MINUTE_MS = 60_000
ELEVEN, NOON = TEN + HOUR_MS, TEN + 2 * HOUR_MS
FOUR = {("llm_usage", number): 0 for number in range(4)}
TEAMS = [f"team_{number}" for number in range(200)]
MOVED = next(team for team in TEAMS if [partition_for(team.encode(), count) for count in (2, 4)] == [1, 3])
OTHERS = [team for team in TEAMS if partition_for(team.encode(), 4) == partition_for(team.encode(), 2) == 1][:5]


def check(logs: Logs) -> BillsReport:
    """The new partitions are read first: nobody promises an order among partitions."""
    usage = sorted(logs.usage, key=lambda record: (-record.partition, record.offset))
    return audit(usage, logs.bills, logs.letters, starts=FOUR)


def moved() -> Logs:
    """Two partitions became four: MOVED went from 1 to 3. One hour was stated before, one was open, one came later."""
    logs = Logs()
    for other in OTHERS:
        logs.use(TEN, team=other, partition=1)
    logs.use(TEN + 1, team=MOVED, partition=1)
    logs.use(ELEVEN + 5 * MINUTE_MS, team=MOVED, partition=1)
    for team in (*OTHERS, MOVED):
        logs.state(TEN, team=team)
    logs.use(TEN + 1, team=MOVED, partition=3, id="evt_1_5", counts=False)  # a repeat of what was counted on 1
    logs.use(TEN + 2, team=MOVED, partition=3)  # late
    logs.use(ELEVEN + 10 * MINUTE_MS, team=MOVED, partition=3)
    state(logs, TEN, 5, 1)
    logs.use(NOON + 5 * MINUTE_MS, team=MOVED, partition=3)
    state(logs, ELEVEN, 6, 2)
    return logs


def state(logs: Logs, start_ms: int, first: int, last: int, partition: int = 3) -> Record:
    """What the new home states of an hour that began on the former one."""
    events = sum((event.team, event.start_ms) == (MOVED, start_ms) for event in logs.events)
    covered = {"topic": "llm_usage", "partition": partition, "first_offset": first, "last_offset": last}
    return logs.state(start_ms, team=MOVED, coverage={**covered, "events": events})


def test_a_right_log_passes() -> None:
    report = check(moved())
    assert report.ok, report.as_json()
    assert (report.numbers["duplicates"], report.numbers["buckets_waiting"]) == (1, 1)


def test_an_hour_that_the_former_home_stated_and_that_nothing_came_to() -> None:
    logs = moved()
    assert check(logs).ok
    del logs.bills[-1], logs.usage[-1]  # hour 11 waits for its mark on the new home
    report = check(logs)
    assert report.ok, report.as_json()


def _counted_twice(logs: Logs) -> None:
    bill = logs.bills[-2]
    data = json.loads(bill.value or b"")["data"]
    cost = data["totals"]["cost"]
    logs.rewrite(bill, totals__requests=3, lines=[{**data["lines"][0], "requests": 3}], coverage__events=3)
    assert cost == data["totals"]["cost"]


def _forgotten(logs: Logs) -> None:
    logs.bills[:] = [bill for bill in logs.bills if bill is not logs.bills[-2]]


def _elsewhere(logs: Logs) -> None:
    logs.use(NOON, team=MOVED, partition=2)


def _other_coverage(logs: Logs) -> None:
    logs.rewrite(logs.bills[-1], coverage__partition=2)


def _other_first_offset(logs: Logs) -> None:
    logs.rewrite(logs.bills[-1], coverage__first_offset=4)


@pytest.mark.parametrize(
    ("plant", "fault"),
    [
        (_counted_twice, "doubled"),
        (_forgotten, "lost"),
        (_elsewhere, "wrong"),
        (_other_coverage, "wrong"),
        (_other_first_offset, "wrong"),
    ],
)
def test_a_fault_is_found(plant: Callable[[Logs], None], fault: str) -> None:
    logs = moved()
    plant(logs)
    report = check(logs)
    assert dict(report.faults())[fault].count, report.as_json()


def test_a_repartition_is_seen_only_where_one_number_explains_all() -> None:
    right = [(team, partition_for(team.encode(), 8)) for team in TEAMS]
    assert Homes(12, right).before == 8
    assert Homes(16, right).before == 8
    assert Homes(8, right).before == 0
    wrong = [*right, (TEAMS[0], (partition_for(TEAMS[0].encode(), 8) + 1) % 8)]
    assert Homes(12, wrong).before == 0
    homes = Homes(12, wrong)
    assert homes.problem("team", 1) is None
    assert homes.problem("team", 2) == "team team lives on partition 1, too"


def emptied(**change: Any) -> Logs:
    """An hour was stated for org_2; the directory says org_3 now, and a recomputation took the bill back."""
    logs = Logs()
    logs.use(TEN + 1, team="team_b", org=None, home="org_3")
    logs.use(ELEVEN + 5 * MINUTE_MS)
    logs.state(TEN, team="team_b", org="org_3")
    first = json.loads(logs.bills.pop().value or b"")
    data = first["data"]
    hourly, revised = (
        bill_id(kind, "org_2", "team_b", "USD", TEN, revision)
        for revision, kind in enumerate(("billing.usage.hourly", "billing.usage.revised"))
    )
    nothing = {name: "0.000000000000" if name == "cost" else 0 for name in data["totals"]}
    less = {name: f"-{count}" if name == "cost" else -count for name, count in data["totals"].items()}
    running = {"month": text(TEN)[:7], "cost": "0.000000000000", "total_tokens": 0}
    logs.bill({**first, "id": hourly, "org_id": "org_2", "data": {**data, "billing_id": hourly}})
    back = {**data, "billing_id": revised, "revision": 1, "supersedes": hourly, "totals": nothing, "delta": less}
    back |= {"lines": [], "running_total": running, "coverage": {**data["coverage"], "events": 0}} | change
    logs.bill({**first, "id": revised, "type": "billing.usage.revised", "org_id": "org_2", "data": back})
    logs.bill(first)
    return logs


def test_a_bill_that_was_taken_back_passes() -> None:
    report = audit(emptied().usage, emptied().bills, (), org_of={"team_b": "org_3"}.get)
    assert report.ok, report.as_json()


def test_a_bill_that_was_taken_back_in_part_does_not() -> None:
    logs = emptied(delta={"requests": 0})
    assert not audit(logs.usage, logs.bills, (), org_of={"team_b": "org_3"}.get).ok
    logs = emptied()
    del logs.bills[1]
    assert not audit(logs.usage, logs.bills, (), org_of={"team_b": "org_3"}.get).ok
