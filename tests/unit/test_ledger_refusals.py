"""What does not count, and why: every refusal is a value, and moves nothing (decisions 8, 9, 13, 14)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from usage_log import Rec, Table, at, event, refused, stated


def test_an_event_more_than_five_minutes_ahead_is_refused_and_does_not_move_the_watermark() -> None:
    table = Table()
    table.apply(event("10:30"))
    early = replace(event("11:05:00.001"), timestamp=at("11:00"))
    outcome = table.apply(early)
    assert refused(outcome) == [(1, "timestamp_in_future")]
    assert stated(outcome) == []
    assert table.task.memory.position.watermark_ms == at("10:30")
    assert refused(table.apply(replace(event("11:05:00.000"), timestamp=at("11:00")))) == []
    assert stated(table.statements()) == ["10:00 team_a r0: 1 at 11:05"]


def test_older_than_the_retention_is_too_late() -> None:
    table = Table()
    table.apply(event("2025-01-29T12:00"))
    outcome = table.apply(event("11:59:59.999"), event("12:00"))
    assert refused(outcome) == [(1, "too_late")]
    assert stated(table.apply(event("2025-01-29T12:05"))) == ["12:00 team_a r0: 1 at 2025-01-29T12:05"]


def test_a_refused_id_may_come_again() -> None:
    table = Table()
    table.apply(event("2025-01-29T12:00"))
    assert refused(table.apply(event("11:00", id="x"))) == [(1, "too_late")]
    outcome = table.apply(event("2025-01-29T11:59", id="x"))
    assert (outcome.accepted, refused(outcome)) == (1, [])


@pytest.mark.parametrize("key", [None, b"", b"team_b", b"TEAM_A"])
@pytest.mark.parametrize("known", [False, True])
def test_the_record_key_must_be_the_team(key: bytes | None, known: bool) -> None:
    table = Table()
    if known:
        table.apply(event("10:00"))
    outcome = table.apply(replace(event("10:01"), key=key))
    assert [reason for _, reason in refused(outcome)] == ["wrong_partition"]
    assert outcome.accepted == 0


def test_a_team_at_home_elsewhere_is_refused() -> None:
    table = Table(partition=1, partitions=2)  # the home of team_a and team_b
    outcome = table.apply(event("10:00"), event("10:01", "team_c"), event("10:02", "team_b"))
    assert refused(outcome) == [(1, "wrong_partition")]


def test_a_team_stays_checked_when_it_comes_again_with_another_key() -> None:
    table = Table()
    table.apply(event("10:00"), event("10:01"))
    assert refused(table.apply(replace(event("10:02"), key=b"team_z"), event("10:03"))) == [(2, "wrong_partition")]


def test_the_org_is_the_event_s_then_the_directory_s_else_unresolved() -> None:
    table = Table()
    outcome = table.apply(
        event("10:00", "team_listed", "org_event"),
        event("10:01", "team_listed", None),
        event("10:02", "team_unlisted", None),
        event("11:05"),
    )
    assert [one.key.org for one in outcome.statements] == ["org_event", "org_listed"]
    assert refused(outcome) == [(2, "org_unresolved")]


def test_an_unresolved_event_can_be_redriven() -> None:
    table = Table()
    lost = event("10:02", "team_new", None, id="x")
    assert refused(table.apply(lost)) == [(0, "org_unresolved")]
    assert table.task.memory.position.watermark_ms == -1
    assert table.apply(event("10:02", "team_new", "org_new", id="x")).accepted == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [(None, "empty_value"), (b"", "empty_value"), (b"{", "malformed_json"), (b"{}", "invalid_envelope")],
)
def test_poison_is_refused_with_its_record_and_the_chunk_goes_on(value: Any, reason: str) -> None:
    table = Table()
    outcome = table.apply(event("10:00"), Rec(b"team_a", value, at("10:01")), event("10:02"))
    (refusal,) = outcome.refusals
    assert (refusal.record.offset, refusal.record.value, refusal.reason) == (1, value, reason)
    assert (outcome.accepted, table.task.memory.position.next_offset) == (2, 3)


def test_a_chunk_of_refusals_only_moves_the_position() -> None:
    table = Table()
    table.apply(Rec(None, b"?", at("10:00")))
    table.restart()
    assert table.task.memory.position.next_offset == 1
    assert table.apply(*table.log).skipped == 1


def test_records_below_the_position_are_skipped() -> None:
    table = Table()
    table.apply(event("10:00"), event("10:01"), Rec(None, b"?", at("10:02")))
    again = table.apply(*table.log)
    assert (again.skipped, again.accepted, again.duplicates, again.refusals) == (3, 0, 0, [])
    assert table.writes == {}, "a chunk that was applied before changes no row"
    half = table.apply(*table.log[1:], event("10:03"))
    assert (half.skipped, half.accepted, half.chunk) == (2, 1, 3)
    assert stated(table.apply(event("11:05"))) == ["10:00 team_a r0: 3 at 11:05"]


def test_skipping_holds_across_a_restart_and_over_gaps_in_the_offsets() -> None:
    table = Table()
    table.apply(replace(event("10:00"), offset=7), replace(event("10:01"), offset=10))
    table.restart()
    assert table.task.memory.position.next_offset == 11
    outcome = table.apply(replace(event("10:02"), offset=10), replace(event("10:03"), offset=15))
    assert (outcome.skipped, outcome.accepted, outcome.chunk) == (1, 1, 11)
    assert table.task.memory.position.next_offset == 16
