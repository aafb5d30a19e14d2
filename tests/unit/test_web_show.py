"""How values look, and how statements and groups are read."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest
from web_fake import GRACE_MS, NOW_MS, FakeWorker, World

from streamapp.facts.worker import TeamFacts, WorkerFacts
from streamapp.web import render, show, static
from streamapp.web.pages import chart
from streamapp.web.pages.usage import bill
from streamapp.web.workers import group, wire
from streamapp.web.workers.fleet import Answer

WORLD = World(hours_back=40)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("0", "USD", "$0.00"),
        ("0.003800000000", "USD", "$0.0038"),
        ("0.000000000001", "USD", "$0.000000000001"),
        ("0.999999999999", "USD", "$0.99"),
        ("1234567.891", "USD", "$1,234,567.89"),
        ("-0.12", "USD", "\u2212$0.12"),
        ("12.5", "AI", "12.50\u00a0AI"),
        ("999999999999999999.000000000001", "USD", "$999,999,999,999,999,999.00"),
        ("1E-7", "EUR", "€0.00000010"),
    ],
)
def test_money_reads_short_and_stays_exact(amount: str, currency: str, text: str) -> None:
    assert show.money(Decimal(amount), currency) == text
    assert Decimal(show.exact(Decimal(amount))) == Decimal(amount)
    assert len(show.exact(Decimal(amount)).partition(".")[2]) == 12
    head, rest = show.money_parts(Decimal(amount), currency)
    assert (head.partition(".")[2] + rest) == show.exact(Decimal(amount)).partition(".")[2]


def test_times_are_rfc_3339_with_milliseconds() -> None:
    assert show.rfc3339(1_736_937_000_123) == "2025-01-15T10:30:00.123Z"
    assert show.day_clock(1_736_937_000_123) == "Jan 15, 10:30"


@pytest.mark.parametrize(("seconds", "text"), [(0, "just now"), (5, "5 s ago"), (90, "1 min ago"), (7200, "2 h ago")])
def test_ages(seconds: int, text: str) -> None:
    assert show.age(NOW_MS - seconds * 1000, NOW_MS) == text


def test_characters_without_a_shape_become_visible() -> None:
    assert show.visible("team\u202egnp.exe") == "team\\u202egnp.exe"
    assert show.visible("") == "(empty)"
    assert show.visible("日本語 チーム") == "日本語 チーム"


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", True),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("application/json, text/html;q=0.5", True),
        ("application/json;q=0.5, text/html", False),
        ("application/json;q=x", False),
    ],
)
def test_json_only_for_those_who_prefer_it(accept: str, json: bool) -> None:
    assert render.wants_json(accept) is json


def test_facts_survive_the_wire() -> None:
    worker = FakeWorker(WORLD, "a", url="http://a")
    facts = worker.worker()
    assert wire.decode(wire.encode(facts), WorkerFacts) == facts
    team = worker.team("org_hanzo", "team_abc123")
    back = wire.decode(wire.encode(team), list[TeamFacts])
    assert [wire.team_with_decimals(one) for one in back] == team


def test_json_twins_name_times_without_unit_and_money_with_12_decimals() -> None:
    assert wire.plain({"at_ms": 0, "cost": Decimal("1.5"), "none_ms": None}) == {
        "at": "1970-01-01T00:00:00.000Z",
        "cost": "1.500000000000",
        "none": None,
    }


def revised() -> list[bytes]:
    worker = FakeWorker(WORLD, "a")
    return next(worker.bill(i) for i, b in WORLD.bills.items() if WORLD.revisions(b) == 3)


def test_a_chain_of_revisions_is_read_and_sound() -> None:
    read = bill.read_all(revised()[::-1], GRACE_MS)
    assert [one.data.revision for one in read] == [0, 1, 2]
    assert [one.cause for one in read] == ["hour closed", "late events", "late events"]
    assert bill.reasonable(read) == []
    assert "late event" in read[1].reason


def test_a_broken_chain_is_told() -> None:
    first, _, last = revised()
    assert bill.reasonable([bill.read(first, GRACE_MS), bill.read(last, GRACE_MS)])


def test_a_statement_off_the_mark_was_closed_by_silence() -> None:
    stated = revised()[0]
    one = bill.read(stated, GRACE_MS)
    moved = stated.replace(show.rfc3339(one.stated_ms).encode(), show.rfc3339(one.stated_ms + 1234).encode())
    assert bill.read(moved, GRACE_MS).cause == "silence"
    assert bill.read(stated, 17).cause == "hour closed"


def answers(*workers: FakeWorker) -> list[Answer[WorkerFacts]]:
    return [Answer(w.name, w.url, w.worker(), NOW_MS) for w in workers]


def test_the_verdict_finds_what_is_wrong() -> None:
    one, two = FakeWorker(WORLD, "one", range(4), "http://1"), FakeWorker(WORLD, "two", range(4, 7), "http://2")
    assert [f.level for f in group.findings(group.gather(answers(one, two)), NOW_MS)] == ["wrong"]  # nobody has 7
    two.owned = set(range(3, 8))
    whole = group.gather(answers(one, two))
    assert whole.contested == (3,)
    two.owned = set(range(4, 8))
    assert group.findings(group.gather(answers(one, two)), NOW_MS) == []
    two.changed = {5: {"high_water": 10**9, "last_commit_ms": NOW_MS - 60_000}}
    texts = [f.text for f in group.findings(group.gather(answers(one, two)), NOW_MS)]
    assert any("stands still" in text for text in texts)
    assert any("behind" in text for text in texts)
    away = "it does not answer, query {0}e1b0c2d-3f4a-4b5c-8d6e-7f8a9b0c1d2e"
    two.changed = {number: {"trouble": away.format(number)} for number in (4, 5, 6)}
    texts = [f.text for f in group.findings(group.gather(answers(one, two)), NOW_MS)]
    assert texts == [f"Partitions 4, 5, 6 stand still: {away.format(4)}"], "one fault is one line"
    ages = {number: NOW_MS - number * 60_000 for number in (4, 5, 6)}
    two.changed = {number: {"high_water": 10**4, "last_commit_ms": ages[number]} for number in ages}
    texts = [f.text for f in group.findings(group.gather(answers(one, two)), NOW_MS)]
    assert texts == ["Partitions 4, 5, 6 stand still with lag; the oldest last commit: 6 min ago."]
    two.changed[5]["last_commit_ms"] = None
    two.changed[5]["last_record_ms"] = NOW_MS - 60_000
    texts = [f.text for f in group.findings(group.gather(answers(one, two)), NOW_MS)]
    assert texts == ["Partitions 4, 5, 6 stand still with lag; the oldest last commit: never."]


@pytest.mark.parametrize(
    ("commit_s", "caught_up_s", "found"),
    [(400, 400, True), (400, 1, False), (5, None, False), (400, None, True), (None, 5, False), (None, 400, True)],
)
def test_records_after_a_long_silence_do_not_stand_still(
    commit_s: int | None, caught_up_s: int | None, found: bool
) -> None:
    worker, now_ms = FakeWorker(World(empty=True), "agg-0"), 10_000_000

    def ago(seconds: int | None) -> int | None:
        return None if seconds is None else now_ms - seconds * 1000

    worker.changed = {
        0: {"high_water": 9, "state": "running", "last_commit_ms": ago(commit_s), "caught_up_ms": ago(caught_up_s)}
    }
    assert group.stuck(worker.facts()[0], now_ms) is found


def test_a_silent_worker_is_named_until_it_was_replaced() -> None:
    one, two = FakeWorker(WORLD, "one", range(4), "http://1"), FakeWorker(WORLD, "two", range(4, 8), "http://2")
    silent = Answer("two", "http://2", two.worker(), NOW_MS - 5000, "no connection")
    whole = group.gather([*answers(one), silent])
    assert whole.silent[0].partitions == (4, 5, 6, 7)
    assert "marked stale" in group.findings(whole, NOW_MS)[0].text
    one.owned = set(range(8))
    whole = group.gather([*answers(one), silent])
    assert [owned.stale for owned in whole.partitions] == [False] * 8
    assert "taken over" in group.findings(whole, NOW_MS)[0].text
    assert len(whole.workers) == 1  # its money is not counted twice


def test_a_takeover_is_told_and_no_sum_lacks_a_part_meanwhile() -> None:
    one, two = FakeWorker(WORLD, "one", range(4), "http://1"), FakeWorker(WORLD, "two", range(4, 7), "http://2")
    two.taking = (7,)
    whole = group.gather(answers(one, two))
    assert (whole.taking, whole.missing) == ((7,), ())
    assert [finding.text for finding in group.findings(whole, NOW_MS)] == [
        "Partition 7 is being taken over: a worker reads the rows."
    ]
    assert {row[2:] for row in whole.money()} == {(None, None)}
    two.owned, two.taking, two.summing = {4, 5, 6, 7}, (), True
    assert {row[2:] for row in group.gather(answers(one, two)).money()} == {(None, None)}
    two.summing = False
    assert all(None not in row for row in group.gather(answers(one, two)).money())


def test_a_worker_is_named_by_its_name_and_where_it_answers() -> None:
    assert show.worker("agg-1", "http://10.0.0.3:6066") == "agg-1 at 10.0.0.3:6066"
    assert show.worker("http://10.0.0.3:6066", "http://10.0.0.3:6066") == "10.0.0.3:6066", "it has told no name"


def test_bars_stand_in_their_hour() -> None:
    hours = FakeWorker(WORLD, "a").team("org_hanzo", "team_abc123")[0].hours
    bars = chart.month_bars(hours, "USD")
    assert bars is not None
    assert len(bars.bars) == len(hours)
    assert all(0 <= bar.x < bars.width and bar.y + bar.height <= bars.height + 0.01 for bar in bars.bars)
    free = chart.month_bars([dataclasses.replace(hour, cost=Decimal(0)) for hour in hours], "USD")
    assert free is not None
    assert chart.month_bars([], "USD") is None
    assert chart.line([1.0]) == ""


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(1, 400, "0.25 %"), (1, 1_000_000, "< 0.01 %"), (0, 9, "0.00 %"), (0, 0, "–")]
)
def test_a_share_that_is_there_is_never_shown_as_nothing(part: int, whole: int, text: str) -> None:
    assert show.percent(part, whole) == text


def test_a_template_is_compiled_once_for_all_renderers_of_a_process() -> None:
    files = static.Files()
    render.Renderer(lambda: NOW_MS, files, ())
    codes = {**render.COMPILED.codes}
    render.Renderer(lambda: NOW_MS, files, ())
    assert codes
    assert all(render.COMPILED.codes[name] is code for name, code in codes.items())
