"""When an event happened: every form that clients write, and the clock of the client put right."""

from __future__ import annotations

from typing import Any

import pytest

from streamapp.capture.reading.moments import happened_ms, read_ms, sent_query_ms, text_of
from streamapp.schemas.values.timestamp import END_MS, format_ms

NOW_MS = 1_795_000_000_000
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-18T10:06:40.123Z", "2026-11-18T10:06:40.123Z"),
        ("2026-11-18T10:06:40Z", "2026-11-18T10:06:40.000Z"),
        ("2026-11-18T10:06:40.123456Z", "2026-11-18T10:06:40.123Z"),
        ("2026-11-18T10:06:40.123456789Z", "2026-11-18T10:06:40.123Z"),
        ("2026-11-18T12:06:40.123+02:00", "2026-11-18T10:06:40.123Z"),
        ("2026-11-18T12:06:40.123+02", "2026-11-18T10:06:40.123Z"),
        ("2026-11-18T12:06:40.123+0200", "2026-11-18T10:06:40.123Z"),
        ("2026-11-18T05:06:40-05", "2026-11-18T10:06:40.000Z"),
        ("2026-11-18T10:06:40.123456+00:00", "2026-11-18T10:06:40.123Z"),  # python's isoformat
        ("2026-11-18T10:06:40.123", "2026-11-18T10:06:40.123Z"),
        ("2026-11-18T10:06:40", "2026-11-18T10:06:40.000Z"),
        ("2026-11-18 10:06:40", "2026-11-18T10:06:40.000Z"),
        ("2026-11-18 10:06:40.5+00:00", "2026-11-18T10:06:40.500Z"),
        ("  2026-11-18T10:06:40Z ", "2026-11-18T10:06:40.000Z"),
        ("2026-11-18", "2026-11-18T00:00:00.000Z"),
        ("20261118T100640Z", "2026-11-18T10:06:40.000Z"),
        ("2026-W47-3", "2026-11-18T00:00:00.000Z"),
        ("2026/11/18", "2026-11-18T00:00:00.000Z"),
        ("11/18/2026 10:06", "2026-11-18T10:06:00.000Z"),
        ("Wed, 18 Nov 2026 11:06:40 +0100", "2026-11-18T10:06:40.000Z"),
        ("Wed, 18 Nov 2026 10:06:40 GMT", "2026-11-18T10:06:40.000Z"),
        ("Wed Nov 18 2026 10:06:40 GMT+0000 (Coordinated Universal Time)", "2026-11-18T10:06:40.000Z"),
        ("Mon Jan 15 2024 10:30:00 GMT-0500 (Eastern Standard Time)", "2024-01-15T15:30:00.000Z"),
        ("Mon Jan 15 2024 10:30:00 GMT+0530 (India Standard Time)", "2024-01-15T05:00:00.000Z"),
        ("Mon Jan 15 2024 10:30:00 GMT+0100 (Central European Standard Time)", "2024-01-15T09:30:00.000Z"),
        ("Mon Jan 15 2024 10:30:00 GMT+0100 (Mitteleuropäische (Normal-)Zeit)", "2024-01-15T09:30:00.000Z"),
        ("Mon Jan 15 2024 10:30:00 GMT-0330", "2024-01-15T14:00:00.000Z"),
        ("2024-01-15 10:30:00 UTC+3", "2024-01-15T07:30:00.000Z"),
        ("2024-01-15 10:30:00 GMT-3", "2024-01-15T13:30:00.000Z"),
        ("2024-01-15 10:30:00 UTC+05:30", "2024-01-15T05:00:00.000Z"),
        ("2024-01-15T10:30:00 +3", "2024-01-15T07:30:00.000Z"),
        ("2024-01-15 10:30:00 UTC", "2024-01-15T10:30:00.000Z"),
        ("2024-01-15 10:30:00 PST", "2024-01-15T18:30:00.000Z"),
        ("Mon Jan 15 10:30:00 EST 2024", "2024-01-15T15:30:00.000Z"),
        ("Mon, 15 Jan 2024 10:30:00 EDT", "2024-01-15T14:30:00.000Z"),
        ("15 Jan 2024 10:30 PM +0100", "2024-01-15T21:30:00.000Z"),
        ("1/15/2024, 10:30:00 AM", "2024-01-15T10:30:00.000Z"),
        ("November 18, 2026 10:06", "2026-11-18T10:06:00.000Z"),
        ("1794996400", "2026-11-18T10:06:40.000Z"),
        ("1794996400.25", "2026-11-18T10:06:40.250Z"),
        ("1794996400123", "2026-11-18T10:06:40.123Z"),
        ("1794996400123456", "2026-11-18T10:06:40.123Z"),
        ("1794996400123456789", "2026-11-18T10:06:40.123Z"),
        (1_794_996_400, "2026-11-18T10:06:40.000Z"),
        (1_794_996_400_123, "2026-11-18T10:06:40.123Z"),
        ("1969-12-31T23:59:59.999Z", None),
    ],
)
def test_every_form_is_read(written: Any, meant: str | None) -> None:
    at_ms = read_ms(written)
    assert at_ms is not None
    if meant is None:
        assert at_ms == -1
    else:
        assert format_ms(at_ms) == meant


@pytest.mark.parametrize(
    "written",
    [
        *("2024-01-15 10:30:00 CET", "2024-01-15 10:30:00 IST", "Mon Jan 15 10:30:00 MSK 2024", "2024-01-15 10:30 A"),
        *("2024-01-15 10:30:00 PST+3", "2024-01-15 10:30:00 CET+0100", "2024-01-15 10:30:00 UTC+25"),
        *("", "yesterday", "10:30", "2026-13-01", "2026-02-30T00:00:00Z", "x" * 1000, True, 1.5, [], {}, None, -5),
    ],
)
def test_what_is_no_date_is_none(written: Any) -> None:
    assert read_ms(written) is None


def test_a_wrong_clock_of_the_client_does_not_matter() -> None:
    for skew_ms in (-90 * 86_400_000, -1, 0, 12_345, 40 * 86_400_000):
        happened, sent = NOW_MS - 5_000 + skew_ms, NOW_MS + skew_ms
        assert happened_ms(happened, None, sent, NOW_MS) == NOW_MS - 5_000


def test_without_the_clients_clock_its_timestamp_counts() -> None:
    assert happened_ms(NOW_MS - 5_000, None, None, NOW_MS) == NOW_MS - 5_000
    assert happened_ms(None, None, NOW_MS - 99, NOW_MS) == NOW_MS


@pytest.mark.parametrize(("offset", "ago_ms"), [(1_500, 1_500), ("1500.7", 1_500), ("-3", -3), (0, 0), (None, 0)])
def test_an_offset_is_so_long_ago(offset: Any, ago_ms: int) -> None:
    assert happened_ms(None, offset, None, NOW_MS) == NOW_MS - ago_ms


def test_an_offset_wins_over_a_timestamp_and_needs_no_clock() -> None:
    assert happened_ms(5, 1_000, 77, NOW_MS) == NOW_MS - 1_000


@pytest.mark.parametrize("offset", ["x", True, [], {}, "9" * 40])
def test_an_offset_that_is_none_is_passed_over(offset: Any) -> None:
    assert happened_ms(NOW_MS - 7, offset, None, NOW_MS) == NOW_MS - 7


def test_the_far_future_is_now_and_what_cannot_be_written_is_1970() -> None:
    assert happened_ms(NOW_MS + 23 * HOUR_MS, None, None, NOW_MS) == NOW_MS + 23 * HOUR_MS
    assert happened_ms(NOW_MS + 23 * HOUR_MS + 1, None, None, NOW_MS) == NOW_MS
    assert happened_ms(-1, None, None, NOW_MS) == 0
    assert happened_ms(None, 10**17, None, NOW_MS) == 0
    assert happened_ms(None, -(10**17), None, NOW_MS) == NOW_MS


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1794996400123", 1_794_996_400_123),
        ("1794996400", None),  # seconds, of libraries of long ago
        ("", None),
        (None, None),
        ("x", None),
        ("-1794996400123", None),
        ("١٧٩٤٩٩٦٤٠٠١٢٣", None),
        ("9" * 30, None),
    ],
)
def test_the_clients_clock_in_the_query(text: str | None, at_ms: int | None) -> None:
    assert sent_query_ms(text) == at_ms


@pytest.mark.parametrize("at_ms", [0, 1, 999, 1_000, NOW_MS, NOW_MS + 7, END_MS - 1])
def test_written_as_everywhere(at_ms: int) -> None:
    assert text_of(at_ms) == format_ms(at_ms)
