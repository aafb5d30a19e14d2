"""Until when an id is remembered. What is remembered: tests/contract/test_seen_ids.py."""

from __future__ import annotations

import pytest
from usage_log import at, clock

from tables.seen import expiry_of
from tables.window import Rules


@pytest.mark.parametrize(
    ("event_at", "watermark", "grace_ms", "expiry"),
    [
        ("10:30", "10:30", 300_000, "2025-01-16T12:00"),  # the hour closes at 11:05
        ("10:30", "11:59:59.999", 300_000, "2025-01-16T12:00"),
        ("10:30", "12:00", 300_000, "2025-01-16T12:00"),
        ("10:30", "12:00:00.001", 300_000, "2025-01-16T13:00"),  # late: from its arrival
        ("10:30", "10:30", 0, "2025-01-16T11:00"),
    ],
)
def test_an_id_lives_to_the_full_hour_a_day_after_its_hour_closed(
    event_at: str, watermark: str, grace_ms: int, expiry: str
) -> None:
    assert clock(expiry_of(at(event_at), at(watermark), Rules(grace_ms=grace_ms))) == expiry
