"""RFC 3339 in, UTC milliseconds out (decision 3)."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from searches import search

from streamapp.schemas.values import timestamp
from streamapp.schemas.values.timestamp import END_MS, format_ms, parse_ms

HALF_PAST_MS = 1_736_937_000_000  # 2025-01-15T10:30:00Z


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2025-01-15T10:30:00Z", HALF_PAST_MS),
        ("2025-01-15T10:30:00.123Z", HALF_PAST_MS + 123),
        ("2025-01-15t10:30:00.1z", HALF_PAST_MS + 100),
        ("2025-01-15T10:30:00.000999999Z", HALF_PAST_MS),
        ("2025-01-15T10:30:00.9999999999999999999999999999999999Z", HALF_PAST_MS + 999),
        ("2025-01-15T10:59:59.9999999Z", HALF_PAST_MS + 1_799_999),
        ("2025-01-15T16:00:00+05:30", HALF_PAST_MS),
        ("2025-01-14T10:31:00-23:59", HALF_PAST_MS),
        ("2025-01-15T10:30:00-00:00", HALF_PAST_MS),
        ("2025-01-15T10:29:60Z", HALF_PAST_MS),
        ("2025-01-15T10:29:60.999Z", HALF_PAST_MS),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000),
        ("2024-02-29T00:00:00Z", 1_709_164_800_000),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:00:00-01:00", 0),
        ("9999-12-31T23:59:59.999Z", END_MS - 1),
    ],
)
def test_a_timestamp(text: str, at_ms: int) -> None:
    assert [parse_ms(text), parse_ms(text)] == [at_ms, at_ms]  # the second time remembered


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "2025-01-15", "2025-01-15T10:30:00", "2025-01-15 10:30:00Z", "2025-01-15T10:30Z", "1736937000"),
        *("2025-02-29T00:00:00Z", "2025-13-01T00:00:00Z", "2025-00-10T00:00:00Z", "2025-01-32T00:00:00Z"),
        *("2025-01-15T24:00:00Z", "2025-01-15T10:60:00Z", "2025-01-15T10:30:61Z", "25-01-15T10:30:00Z"),
        *(
            "2025-01-15T10:30:00+24:00",
            "2025-01-15T10:30:00+01:60",
            "2025-01-15T10:30:00+0100",
            "2025-01-15T10:30:00+1",
        ),
        *("2025-01-15T10:30:00.Z", "2025-01-15T10:30:00,1Z", "2025-01-15T10:30:00ZZ", "2025-01-15T10:30:00Z\n"),
        *(" 2025-01-15T10:30:00Z", "2025-01-15T10:30:00.1", "2025-1-15T10:30:00Z", "2025-01-15T10:30:00 Z"),
        *("٢٠٢٥-01-15T10:30:00Z", "2025-01-15T10:30:0０Z", "2025-01-15T10:30:00.１Z", "2025-01-15T10:30:00+0١:00"),
        *("1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00+00:01", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        *("9999-12-31T23:59:60Z", "9999-12-31T23:59:59-00:01", "10000-01-01T00:00:00Z", "-2025-01-15T10:30:00Z"),
    ],
)
def test_no_timestamp(text: str) -> None:
    assert [parse_ms(text), parse_ms(text)] == [None, None]


def test_a_remembered_second_does_not_carry_an_offset_out_of_range() -> None:
    for second, inward, outward in [("1970-01-01T12:00:00", "Z", "+23:00"), ("9999-12-31T12:00:00", "Z", "-23:00")]:
        assert parse_ms("2025-01-15T12:00:00" + outward) is not None  # now the offset is remembered
        assert parse_ms(second + inward) is not None
        assert parse_ms(second + outward) is None


def test_a_leap_second_is_not_remembered() -> None:
    assert parse_ms("2025-01-15T10:29:60.5Z") == HALF_PAST_MS
    assert parse_ms("2025-01-15T10:30:00.5Z") == HALF_PAST_MS + 500
    assert parse_ms("2025-01-15T10:29:60.5Z") == HALF_PAST_MS


def test_what_is_remembered_has_a_limit() -> None:
    for number in range(timestamp.SECONDS_MAX + 10):
        at_ms = HALF_PAST_MS + 1000 * number + number % 1000
        assert parse_ms(format_ms(at_ms)) == at_ms
    for offset in range(12):
        for ms in range(1000):
            assert parse_ms(f"2025-01-15T22:30:00.{ms:03d}+{offset:02d}:00") is not None
    assert 0 < len(timestamp.seconds) <= timestamp.SECONDS_MAX
    assert 0 < len(timestamp.tails) <= timestamp.TAILS_MAX


@given(
    st.integers(86_400, END_MS // 1000 - 86_401),
    st.integers(-1439, 1439),
    st.text("0123456789", max_size=12),
)
@search(500)
def test_agrees_with_datetime(at_s: int, offset_minutes: int, fraction: str) -> None:
    zoned = datetime.fromtimestamp(at_s, timezone(timedelta(minutes=offset_minutes)))
    text = zoned.isoformat()
    if fraction:
        text = f"{text[:19]}.{fraction}{text[19:]}"
    expected = at_s * 1000 + int((fraction + "000")[:3])
    assert [parse_ms(text), parse_ms(text)] == [expected, expected]


@given(st.integers(0, END_MS - 1))
@settings(deadline=None, database=None)
def test_text_and_back(at_ms: int) -> None:
    text = format_ms(at_ms)
    assert parse_ms(text) == at_ms
    assert (len(text), text[10], text[-1]) == (24, "T", "Z")


def test_output_looks_like_the_standards() -> None:
    assert format_ms(HALF_PAST_MS + 123) == "2025-01-15T10:30:00.123Z"
    assert format_ms(0) == "1970-01-01T00:00:00.000Z"
    assert format_ms(END_MS - 1) == "9999-12-31T23:59:59.999Z"


@given(st.text(alphabet=st.characters(categories=["Nd", "L", "P", "S", "Z", "Cc"]), max_size=40))
@search(300)
def test_no_text_makes_it_raise(text: str) -> None:
    assert parse_ms(text) is None
