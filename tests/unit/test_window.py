"""Hours, marks and months, to the millisecond."""

from __future__ import annotations

import pytest
from usage_log import at, clock

from tables.window import HOUR_MS, hour_at_or_after, hour_of, mark_after, month_end, month_of


@pytest.mark.parametrize(
    ("moment", "hour", "next_hour"),
    [
        ("10:00:00.000", "10:00", "10:00"),
        ("10:00:00.001", "10:00", "11:00"),
        ("10:59:59.999", "10:00", "11:00"),
    ],
)
def test_the_hour_of_a_moment(moment: str, hour: str, next_hour: str) -> None:
    assert clock(hour_of(at(moment))) == hour
    assert clock(hour_at_or_after(at(moment))) == next_hour


@pytest.mark.parametrize(
    ("watermark", "mark"),
    [("10:00", "10:05"), ("10:04:59.999", "10:05"), ("10:05", "10:10"), ("10:59:59.999", "11:00")],
)
def test_the_next_mark_is_above_the_watermark(watermark: str, mark: str) -> None:
    assert clock(mark_after(at(watermark))) == mark


@pytest.mark.parametrize(
    ("moment", "month", "end"),
    [
        ("2025-01-31T23:59:59.999", "2025-01", "2025-02-01T00:00"),
        ("2025-02-01T00:00", "2025-02", "2025-03-01T00:00"),
        ("2024-02-29T12:00", "2024-02", "2024-03-01T00:00"),
        ("2025-12-31T23:59:59.999", "2025-12", "2026-01-01T00:00"),
        ("1970-01-01T00:00", "1970-01", "1970-02-01T00:00"),
    ],
)
def test_months_are_utc_and_half_open(moment: str, month: str, end: str) -> None:
    assert month_of(at(moment)) == month
    assert clock(month_end(month)) == end
    assert month_of(month_end(month) - 1) == month


def test_the_epoch_is_a_full_hour() -> None:
    assert (hour_of(0), hour_at_or_after(0), hour_of(HOUR_MS - 1)) == (0, 0, 0)
