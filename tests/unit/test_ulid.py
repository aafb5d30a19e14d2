"""Ids: real ULIDs, and for statements reproducible by anybody (decisions 2 and 12)."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from searches import search
from ulid import ULID

from streamapp.schemas.values.ulid import TIME_MAX_MS, event_id, statement_id

HOUR_MS = 3_600_000
START_MS = 1_736_935_200_000  # 2025-01-15T10:00:00Z
BILL = ("billing.usage.hourly", "org_hanzo", "team_abc123", "USD", START_MS, START_MS + HOUR_MS, 0)


@given(st.integers(0, TIME_MAX_MS), st.binary(min_size=10, max_size=10))
@search(300)
def test_an_event_id_is_a_ulid(now_ms: int, random80: bytes) -> None:
    made = event_id(now_ms, random80)
    assert made == f"evt_{ULID(now_ms.to_bytes(6) + random80)}"
    assert (len(made), int(ULID.from_str(made.removeprefix("evt_")).milliseconds)) == (30, now_ms)


def test_ids_sort_by_time() -> None:
    made = [event_id(ms, bytes(10)) for ms in (0, 1, 31, 32, 1023, 1024, START_MS, START_MS + 1, TIME_MAX_MS)]
    assert made == sorted(made)


def test_only_ten_bytes_and_a_time_that_fits() -> None:
    for now_ms, random80 in [(-1, bytes(10)), (TIME_MAX_MS + 1, bytes(10)), (0, bytes(9)), (0, bytes(11))]:
        with pytest.raises(AssertionError):
            event_id(now_ms, random80)


def test_a_statement_id_can_be_computed_from_its_description() -> None:
    text = '["billing.usage.hourly","org_hanzo","team_abc123","USD","2025-01-15T10:00:00.000Z",0]'
    random80 = hashlib.sha256(text.encode("utf-8")).digest()[:10]
    assert statement_id(*BILL) == f"evt_{ULID((START_MS + HOUR_MS).to_bytes(6) + random80)}"


def test_a_statement_id_never_changes() -> None:
    assert statement_id(*BILL) == "evt_01JHMSXGW05SN4V1TC6QVVR8P8"


def test_every_fact_counts() -> None:
    other = ("billing.usage.revised", "org_other", "team_other", "EUR", START_MS - HOUR_MS, START_MS + 1, 1)
    made = {
        statement_id(*(changed if take else fact for fact, changed, take in zip(BILL, other, choice, strict=True)))  # type: ignore[arg-type]
        for choice in itertools.product([False, True], repeat=len(BILL))
    }
    assert len(made) == 2 ** len(BILL)


def test_facts_do_not_run_into_each_other() -> None:
    apart = [
        ('a"', "b"),
        ("a", '"b'),
        ('a","b', "c"),
        ("a", 'b","c'),
        ("ab", ""),
        ("", "ab"),
        ("é", "b"),
        ("\\u00e9", "b"),
    ]
    made = {statement_id("k", org, team, "USD", START_MS, START_MS + HOUR_MS, 0) for org, team in apart}
    assert len(made) == len(apart)
