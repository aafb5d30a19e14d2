"""Filtering, sorting and keyset paging of hours: every page sequence shows every row once, whatever the sort."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from time import process_time

import pytest
from web_fake import FakeWorker, World

from streamapp.facts.worker import HourFacts
from streamapp.web.lists import hours, keyset
from streamapp.web.lists.hours import hours_query

WORLD = World(hours_back=60)
HALVES = (FakeWorker(WORLD, "a", range(3)), FakeWorker(WORLD, "b", range(3, 8)))
ROWS = [worker.hours() for worker in HALVES]
ALL = sorted((row for rows in ROWS for row in rows), key=lambda row: -row.start_ms)
KEPT = [hours.by_hour() for _ in HALVES]  # as workers keep them from one question to the next


def merged(query: hours.HoursQuery) -> hours.HoursPage:
    each = zip("ab", ROWS, KEPT, strict=True)
    parts = [(name, False, hours.select(rows, query, kept)) for name, rows, kept in each]
    return hours.merge(parts, frozenset(range(8)), query)


def key(row: HourFacts) -> tuple[str, str, str, int]:
    return (row.org, row.team, row.currency, row.start_ms)


@pytest.mark.parametrize("sort", hours.SORTS)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_next_and_previous_walk_every_row_once(sort: str, order: str) -> None:
    query = hours_query({"sort": sort, "order": order, "limit": "97"})
    seen: list[HourFacts] = []
    while True:
        page = merged(query)
        assert page.first == len(seen) + 1
        seen += [row for row, _, _ in page.rows]
        if not page.next:
            break
        query = dataclasses.replace(query, after=page.next)
    assert len(seen) == len(ALL) == page.matching
    assert {key(row) for row in seen} == {key(row) for row in ALL}
    back: list[HourFacts] = [row for row, _, _ in page.rows]
    while page.previous:
        page = merged(dataclasses.replace(query, after="", before=page.previous))
        back = [row for row, _, _ in page.rows] + back
        assert page.next
    assert [key(row) for row in back] == [key(row) for row in seen]
    assert page.first == 1


def test_sorted_by_cost_means_sorted_by_cost() -> None:
    page = merged(hours_query({"sort": "cost", "limit": "500"}))
    costs = [row.cost for row, _, _ in page.rows]
    assert costs == sorted((row.cost for row in ALL), reverse=True)[:500]


def test_live_order_puts_what_still_grows_first() -> None:
    page = merged(hours_query({}))
    states = [row.state == "open" for row, _, _ in page.rows]
    assert states == sorted(states, reverse=True)
    assert states[0]


@pytest.mark.parametrize("state", ["open", "closed", "revised", "pending"])
def test_filter_by_state_counts_the_others_too(state: str) -> None:
    page = merged(hours_query({"state": state, "limit": "500"}))
    expected = [row for row in ALL if (row.pending if state == "pending" else row.state == state)]
    assert page.matching == len(expected)
    assert page.counts["open"] + page.counts["closed"] + page.counts["revised"] == len(ALL)
    assert all(row.pending if state == "pending" else row.state == state for row, _, _ in page.rows)


def test_filter_by_parts_of_names_and_hour() -> None:
    page = merged(hours_query({"org": "HANZO", "team": "abc", "hour_ms": str(ALL[5].start_ms), "limit": "500"}))
    assert {(row.org, row.start_ms) for row, _, _ in page.rows} == {("org_hanzo", ALL[5].start_ms)}
    assert all("abc" in row.team for row, _, _ in page.rows)


def test_a_stale_row_gives_way_to_the_new_owner() -> None:
    query = hours_query({"limit": "500"})
    old = [dataclasses.replace(row, cost=Decimal(1)) for row in ROWS[0]]
    parts = [
        ("gone", True, hours.select(old, query, hours.by_hour())),
        ("b", False, hours.select(ALL, query, hours.by_hour())),
    ]
    page = hours.merge(parts, frozenset(range(8)), query)
    assert page.matching == len(ALL)
    assert not any(stale for _, _, stale in page.rows)


def test_rows_of_a_silent_worker_stay_and_are_marked() -> None:
    query = hours_query({"limit": "500"})
    parts = [("gone", True, hours.select(ROWS[0], query, KEPT[0])), ("b", False, hours.select(ROWS[1], query, KEPT[1]))]
    page = hours.merge(parts, frozenset(range(3, 8)), query)
    assert page.matching == len(ALL)
    assert {worker for _, worker, stale in page.rows if stale} == {"gone"}


@pytest.mark.parametrize(
    "params",
    [
        {"sort": "color"},
        {"state": "lost"},
        {"limit": "0"},
        {"limit": "501"},
        {"limit": "٣"},
        {"order": "up"},
        {"after": "nonsense"},
        {"sort": "cost", "after": '["abc",1,"o","t","USD"]'},
    ],
)
def test_what_cannot_be_shown_is_refused_with_a_sentence(params: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"\w+ .*"):
        hours_query(params)


def test_a_late_page_of_100_000_rows_costs_no_more_than_the_first() -> None:
    row = ALL[0]
    many = [
        dataclasses.replace(row, start_ms=n // 100 * 3_600_000, team=f"t{n % 100}", cost=Decimal(n))
        for n in range(100_000)
    ][::-1]
    kept = hours.by_hour()
    query = hours_query({"sort": "cost"})

    def seconds(one: hours.HoursQuery) -> tuple[float, hours.HoursSlice]:
        begun = process_time()
        found = hours.select(many, one, kept)
        return process_time() - begun, found

    first, found = min((seconds(query) for _ in range(3)), key=lambda run: run[0])
    assert [r.cost for r in found.rows[:2]] == [99_999, 99_998]
    deep_cursor = keyset.cursor(hours.sort_key(query)(many[-5_001]))
    deep, found = min(
        (seconds(dataclasses.replace(query, after=deep_cursor)) for _ in range(3)), key=lambda run: run[0]
    )
    assert found.rows[0].cost == 4_999
    assert deep < 2 * first + 0.05


def test_names_are_those_of_the_newest_hours_first() -> None:
    kept = hours.by_hour()
    found = hours.names(ALL, "ACME", 3, kept)
    assert found == sorted(found, key=hours.newest_first)
    every = {(row.org, row.team) for row in ALL if "acme" in row.org or "acme" in row.team}
    assert {(one.org, one.team) for one in found} <= every
    assert len(found) == min(3, len(every))
    assert found[0].start_ms == max(row.start_ms for row in ALL if "acme" in row.org)
    assert hours.names(ALL, "nobody", 3, kept) == []
