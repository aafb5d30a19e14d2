"""What is kept of rows is as good as what is made anew, whichever rows have changed, come or gone."""

from __future__ import annotations

import dataclasses
import random
from decimal import Decimal

from web_fake import FakeWorker, World

from streamapp.facts.worker import AccountFacts, HourFacts
from streamapp.web.lists import agents as agents_list
from streamapp.web.lists import hours, runs, sums
from streamapp.web.lists.hours import hours_query

HOUR_MS = 3_600_000
ROWS = FakeWorker(World(hours_back=60), "a").hours()
MIDDLE_MS = ROWS[len(ROWS) // 2].start_ms
HOURS = [
    hours_query({"sort": sort, "order": order, "state": state, "org": org, "limit": "7", **span})
    for sort, order, state, org in (("live", "", "", ""), ("cost", "desc", "pending", ""), ("team", "desc", "", "acme"))
    for span in ({}, {"from_ms": str(MIDDLE_MS), "until_ms": str(MIDDLE_MS + 9 * HOUR_MS)})
]
SUMS = [
    sums.SumsQuery(by, org, from_ms=MIDDLE_MS, before_from_ms=MIDDLE_MS - 8 * HOUR_MS, before_until_ms=MIDDLE_MS)
    for by in ("", "hour", "day", "org", "team")
    for org in ("", "acme")
]


def changed(rows: list[HourFacts], chance: random.Random) -> list[HourFacts]:
    """Some rows cost more, some are gone, some come again; those of an hour in another order."""
    some = [row for row in rows if chance.random() > 0.02] + chance.sample(ROWS, 3)
    known = {(row.start_ms, row.org, row.team, row.currency): row for row in some}
    for at, row in list(known.items()):
        if chance.random() < 0.02:
            known[at] = dataclasses.replace(row, cost=row.cost + Decimal("0.000000000001"), pending=not row.pending)
    return sorted(known.values(), key=lambda row: (-row.start_ms, chance.random()))


def test_lists_and_sums_are_those_of_the_rows_as_they_are() -> None:
    chance, kept, rows = random.Random(5), hours.by_hour(), ROWS
    for _ in range(12):
        for query in HOURS:
            assert hours.select(rows, query, kept) == hours.select(rows, query, hours.by_hour())
        for one in SUMS:
            found, anew = sums.of_hours(rows, one, kept), sums.of_hours(rows, one, hours.by_hour())
            assert sums.merge([(False, found)], frozenset()) == sums.merge([(False, anew)], frozenset())
        rows = changed(rows, chance)


def test_sums_of_hours_are_those_of_their_rows() -> None:
    for query in SUMS:
        group = sums.group_of(query.by)
        each = sums.add_up(((row, group(row)) for row in sums.wanted(ROWS, query, hours.by_hour())), query)
        found = sums.of_hours(ROWS, query, hours.by_hour())
        assert sums.merge([(False, found)], frozenset()) == sums.merge([(False, each)], frozenset())


def account(number: int, calls: int) -> AccountFacts:
    agent, zero = f"agent_{number % 40}", Decimal(0)
    return AccountFacts(
        "org_a", agent, f"consumer_{number}", "AI", number % 40 % 4, calls, Decimal(calls), 0, zero, 0, zero, 0, None,
        None, None,
    )  # fmt: skip


def test_agents_are_those_of_the_accounts_as_they_are() -> None:
    chance, kept = random.Random(6), agents_list.by_partition()
    accounts = [account(number, number) for number in range(400)]
    queries = [
        agents_list.agents_query({"sort": sort, "agent": agent, "limit": "9"})
        for sort, agent in (("agent", ""), ("calls", ""), ("open", "3"))
    ]
    for turn in range(8):
        for query in queries:
            assert agents_list.select(accounts, query, kept) == agents_list.select(
                accounts, query, agents_list.by_partition()
            )
        at = chance.randrange(len(accounts))
        accounts = [*accounts[:at], *accounts[at + 1 :], account(at, 1_000 + turn)]


def test_what_has_not_changed_is_not_made_again() -> None:
    made: list[int] = []

    def make(run: list[HourFacts]) -> int:
        made.append(run[0].start_ms)
        return len(run)

    kept = hours.by_hour()
    before = kept.each(ROWS, "count", make)
    assert len(made) == len({row.start_ms for row in ROWS})
    made.clear()
    other = dataclasses.replace(ROWS[0], cost=Decimal(7))
    assert kept.each([other, *ROWS[1:]], "count", make) == before
    assert made == [ROWS[0].start_ms]


def test_answers_to_few_questions_are_kept() -> None:
    made: list[int] = []
    kept: runs.Runs[int] = runs.Runs(lambda row: row)
    for question in (*range(runs.QUESTIONS_MAX + 1), runs.QUESTIONS_MAX, 0):
        kept.each([1, 2], question, made.extend)
    assert len(made) == 2 * (runs.QUESTIONS_MAX + 2), "the last was kept, the first was not"
