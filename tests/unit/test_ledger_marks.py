"""When an hour is stated: marks, grace, lateness, idle closing (decisions 9 and 10)."""

from __future__ import annotations

import pytest
from usage_log import Table, event, refused, stated

from tables.window import MINUTE_MS, Rules


def test_one_bucket_per_org_team_currency_and_hour() -> None:
    table = Table()
    table.apply(
        event("10:00", "team_a", "org_a"),
        event("10:10", "team_a", "org_b"),
        event("10:20", "team_a", "org_a", currency="EUR"),
        event("10:30", "team_b", "org_a"),
        event("10:40", "team_a", "org_a", model="o1"),
        event("11:00", "team_a", "org_a"),
    )
    outcome = table.apply(event("11:05", "team_c"))
    assert [(*one.key[1:], one.events) for one in outcome.statements] == [
        ("org_a", "team_a", "EUR", 1),
        ("org_a", "team_a", "USD", 2),
        ("org_a", "team_b", "USD", 1),
        ("org_b", "team_a", "USD", 1),
    ]


def test_an_hour_is_half_open_to_the_millisecond() -> None:
    table = Table()
    outcome = table.apply(
        event("09:59:59.999"), event("10:00:00.000"), event("10:59:59.999"), event("11:00:00.000"), event("11:05")
    )
    assert stated(outcome) == ["09:00 team_a r0: 1 at 10:05", "10:00 team_a r0: 2 at 11:05"]


def test_an_hour_closes_at_the_record_that_brings_the_watermark_to_its_end_and_grace() -> None:
    table = Table()
    assert stated(table.apply(event("10:30"), event("11:04:59.999"))) == []
    assert stated(table.apply(event("11:05:00.000"))) == ["10:00 team_a r0: 1 at 11:05"]


def test_without_grace_an_hour_closes_at_its_end() -> None:
    table = Table(Rules(grace_ms=0))
    assert stated(table.apply(event("10:30"), event("10:59:59.999"))) == []
    assert stated(table.apply(event("11:00"))) == ["10:00 team_a r0: 2 at 11:00"]


def test_a_long_grace_keeps_several_hours_open() -> None:
    table = Table(Rules(grace_ms=90 * MINUTE_MS))
    table.apply(event("10:30"), event("11:30"), event("12:29"))
    assert stated(table.apply(event("10:59:59.999"), event("12:30"))) == ["10:00 team_a r0: 2 at 12:30"]


def test_a_mark_is_crossed_in_the_middle_of_a_chunk() -> None:
    table = Table()
    outcome = table.apply(event("10:30"), event("11:05"), event("10:31"), event("11:06"))
    assert stated(outcome) == ["10:00 team_a r0: 1 at 11:05"]
    assert stated(table.apply(event("11:10"))) == ["10:00 team_a r1: 2 at 11:10"]


def test_a_record_in_an_open_bucket_counts_however_old() -> None:
    table = Table(Rules(grace_ms=MINUTE_MS, retention_ms=MINUTE_MS))
    outcome = table.apply(event("10:59:59"), event("10:00"), event("11:00:59"), event("10:00:01"), event("11:01"))
    assert (stated(outcome), refused(outcome)) == (["10:00 team_a r0: 3 at 11:01"], [])


def test_the_watermark_never_goes_back() -> None:
    table = Table()
    table.apply(event("10:30"), event("11:04"))
    table.apply(event("10:00"))
    assert stated(table.apply(event("11:04:59"))) == []
    assert stated(table.apply(event("11:05"))) == ["10:00 team_a r0: 2 at 11:05"]
    assert stated(table.apply(event("10:59"), event("11:04"), event("11:09"))) == []


@pytest.mark.parametrize(
    ("watermark", "before", "mark"),
    [
        ("11:05", "11:09:59.999", "11:10"),  # on a mark: the first one above it
        ("11:05:00.001", "11:09:59.999", "11:10"),
        ("11:09:59.999", "11:09:59.999", "11:10"),
        ("11:58", "11:59:59.999", "12:00"),
    ],
)
def test_late_usage_is_stated_at_the_next_five_minute_mark(watermark: str, before: str, mark: str) -> None:
    table = Table()
    table.apply(event("10:30"), event(watermark))
    table.apply(event("10:40"))
    assert stated(table.apply(event(before))) == []
    assert stated(table.apply(event(mark))) == [f"10:00 team_a r1: 2 at {mark}"]


def test_several_late_records_are_one_revision() -> None:
    table = Table()
    table.apply(event("10:30"), event("11:06"))
    table.apply(event("10:31"))
    table.apply(event("11:08"), event("10:32"), event("10:33"))
    assert stated(table.apply(event("11:12"))) == ["10:00 team_a r1: 4 at 11:10"]
    assert stated(table.apply(event("10:34"), event("11:15"))) == ["10:00 team_a r2: 5 at 11:15"]


def test_a_closed_hour_is_closed_for_teams_not_seen_in_it_before() -> None:
    table = Table()
    assert stated(table.apply(event("11:07"), event("10:30", "team_b"))) == []
    assert stated(table.apply(event("11:10"))) == ["10:00 team_b r0: 1 at 11:10"]


def test_a_jump_over_several_marks_states_each_with_its_own_mark_in_key_order() -> None:
    table = Table()
    table.apply(event("08:30", "team_b"), event("09:06"), event("08:31", "team_a"))
    table.apply(event("09:30", "team_b"), event("09:30", "team_a"), event("10:01", "team_a", "org_0"))
    assert stated(table.statements()) == [
        "08:00 team_b r0: 1 at 09:05",
        "08:00 team_a r0: 1 at 09:10",
    ]
    table.apply(event("08:32", "team_b"))
    assert stated(table.apply(event("15:00"))) == [
        "08:00 team_b r1: 2 at 10:05",
        "09:00 team_a r0: 2 at 10:05",
        "09:00 team_b r0: 1 at 10:05",
        "10:00 team_a r0: 1 at 11:05",
    ]


def test_statements_of_one_record_are_sorted_by_start_org_team_currency() -> None:
    table = Table()
    buckets = [("org_b", "team_a", "USD"), ("org_a", "team_b", "USD"), ("org_a", "team_b", "EUR")]
    table.apply(
        *(event(when, team, org, currency=currency) for when in ("11:30", "10:30") for org, team, currency in buckets)
    )
    keys = [one.key for one in table.apply(event("13:00", "team_z")).statements]
    assert keys == sorted(keys)
    assert len(keys) == 6


def test_idle_closes_by_the_wall_clock() -> None:
    table = Table()
    table.apply(event("10:30"), event("11:04"))
    assert table.idle("11:04:59.999") is None
    assert stated(table.idle("11:05:07")) == ["10:00 team_a r0: 1 at 11:05:07.000"]
    assert table.idle("11:06") is None
    assert stated(table.idle("12:05")) == ["11:00 team_a r0: 1 at 12:05"]


def test_idle_states_every_pending_revision() -> None:
    table = Table()
    table.apply(event("10:30"), event("11:06"), event("10:31"), event("09:31", "team_b"))
    assert stated(table.idle("11:08")) == ["09:00 team_b r0: 1 at 11:08", "10:00 team_a r1: 2 at 11:08"]
    assert stated(table.apply(event("11:10"))) == []


def test_records_after_an_idle_close_revise_it_at_the_next_mark() -> None:
    table = Table()
    table.apply(event("10:30"))
    table.idle("11:05")
    table.apply(event("10:50"))
    assert stated(table.apply(event("10:54:59.999"))) == []
    assert stated(table.apply(event("10:55"))) == ["10:00 team_a r1: 3 at 10:55"]
    assert stated(table.apply(event("11:04:59"))) == ["10:00 team_a r2: 4 at 11:00"]
    assert stated(table.apply(event("11:05"))) == []


def test_after_an_idle_close_the_hour_is_still_open_for_another_team() -> None:
    table = Table()
    table.apply(event("10:30"))
    table.idle("11:05")
    table.apply(event("10:40", "team_b"), event("11:00"))
    assert stated(table.apply(event("11:05"))) == ["10:00 team_b r0: 1 at 11:05"]


def test_an_idle_close_survives_a_restart() -> None:
    table = Table()
    table.apply(event("10:30"))
    table.idle("11:05")
    table.restart()
    assert table.idle("11:06") is None
    table.apply(event("10:50"))
    table.restart()
    assert stated(table.apply(event("10:55"))) == ["10:00 team_a r1: 2 at 10:55"]


def test_an_idle_tick_moves_neither_watermark_nor_position() -> None:
    table = Table()
    table.apply(event("10:30"))
    before = table.task.memory.position.watermark_ms, table.task.memory.position.next_offset
    table.idle("18:00")
    assert (table.task.memory.position.watermark_ms, table.task.memory.position.next_offset) == before


@pytest.mark.parametrize("restart", [False, True])
def test_open_and_pending_hours_survive_a_restart(restart: bool) -> None:
    table = Table()
    table.apply(event("10:30"), event("11:06"), event("10:31"))
    if restart:
        table.restart()
    assert stated(table.apply(event("11:09"), event("10:32"), event("11:10"))) == ["10:00 team_a r1: 3 at 11:10"]
    assert stated(table.apply(event("12:05"))) == ["11:00 team_a r0: 3 at 12:05"]
