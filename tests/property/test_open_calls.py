"""Open hours in C and in dicts: the same rows, as they are stored, whatever is counted in them by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_open_calls import PlainCalls, stored_hour
from searches import search

from streamapp.lane.ids import CompactSeen
from streamapp.meters.calls.lane import CompiledCalls
from streamapp.meters.calls.rpc_codec import unpack_hour
from tables.calls.open_calls import OpenCalls
from tables.calls.settlement import Account, CallsKey, Payment
from tables.counters import EXACT
from tables.window import EVERY, HOUR_MS

HOURS = (HOUR_MS * 482_472, HOUR_MS * 482_473)
NAMES = st.text(min_size=1, max_size=300) | st.sampled_from(["a", "ä", "a" * 31, "a" * 32, "b" * 255, "b" * 256, "\0"])
ACCOUNTS = st.builds(Account, NAMES, NAMES, NAMES, st.sampled_from(["AI", "USDC"]))
PAYMENTS = st.builds(Payment, NAMES, st.integers(0, (1 << 64) - 1), st.none() | NAMES, st.none() | NAMES)
COSTS = st.integers(0, 10**30 - 1) | st.integers(0, 10**8) | st.sampled_from([0, 1, 10**6 - 1, 10**6, 10**12])
CALL = st.tuples(st.integers(0, 4), st.integers(0, 19), COSTS, st.integers(0, 1 << 40), st.integers(0, 2))


def compiled(names_max: int = EVERY) -> CompiledCalls:
    return CompiledCalls(CompactSeen(bytes(16)), 0, 1, 0, names_max)


def money(units: int) -> Decimal:
    return EXACT.multiply(Decimal(units), Decimal("1E-12"))


def stored(calls: OpenCalls) -> list[tuple[bytes, bytes]]:
    return sorted(map(stored_hour, calls.rows()))


@given(
    st.lists(CALL, max_size=60),
    st.lists(ACCOUNTS, min_size=5, max_size=5),
    st.lists(NAMES, min_size=20, max_size=20, unique=True),
    st.lists(PAYMENTS, min_size=3, max_size=3),
    st.sets(st.integers(0, 60)),
    st.sampled_from([EVERY, 1, 3]),
)
@search(200)
def test_both_keep_the_same_rows(
    calls: list[tuple[int, int, int, int, int]],
    accounts: list[Account],
    methods: list[str],
    payments: list[Payment],
    cuts: set[int],
    names_max: int,
) -> None:
    one, other = compiled(names_max), PlainCalls(names_max)
    for keeper in (one, other):
        for hour_ms in HOURS:
            keeper.open(hour_ms, hour_ms + 25 * HOUR_MS)
    for number, (account, method, units, offset, payment) in enumerate(calls):
        key = CallsKey(HOURS[number % 2], accounts[account])
        for keeper in (one, other):
            keeper.add(key, methods[method], money(units), offset, payments[payment])
        if number in cuts:
            assert one.changed() == other.changed()
    assert len(one) == len(other)
    assert one.others() == other.others()
    assert stored(one) == stored(other)
    again = compiled()
    again.open(HOURS[0], HOURS[0] + 25 * HOUR_MS)
    closed = list(one.close(HOURS[0]))
    for row in closed:
        again.admit(unpack_hour(*stored_hour(row)))
    assert sorted(map(stored_hour, closed)) == sorted(map(stored_hour, other.close(HOURS[0]))) == stored(again)
    assert again.changed() == {}, "what was stored has not changed"
    assert one.changed() == other.changed()
    assert stored(one) == stored(other)


def test_a_sum_that_does_not_fit_is_an_error_and_not_another_sum() -> None:
    calls = compiled()
    calls.open(HOURS[0], HOURS[0] + 25 * HOUR_MS)
    key, payment = CallsKey(HOURS[0], Account("o", "a", "c", "AI")), Payment("hanzo", 1, None, None)
    calls.add(key, "m", money(10**38 - 2), 1, payment)
    calls.add(key, "m", money(1), 2, payment)
    with pytest.raises(OverflowError, match="cost more than can be added up"):
        calls.add(key, "m", money(1), 3, payment)
    with pytest.raises(OverflowError):
        calls.add(key, "n", money(10**38), 4, payment)
    assert [row.amount for row in calls.rows()] == [money(10**38 - 1)]
