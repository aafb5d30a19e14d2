"""Counters add and subtract exactly, whatever the thread's decimal context is."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from searches import search

from tables.counters import EXACT, Counters

COUNTS = st.integers(0, 2**70)
COST = st.integers(0, 10**40).map(lambda pico: EXACT.scaleb(Decimal(pico), -12))
COUNTERS = st.builds(Counters, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COST, COUNTS, COUNTS)


def test_nothing_counted_yet() -> None:
    assert Counters().numbers() == (0, 0, 0, 0, 0, Decimal(0), 0, 0)
    assert str(Counters().cost) == "0E-12"
    assert Counters(1, 2, 3, 4, 5, Decimal(6)).total_tokens == 9
    assert Counters(1, 2, 3, 4, 5, Decimal(6), 7).total_tokens == 16


def test_counters_equal_by_value_and_cannot_be_keys() -> None:
    assert Counters(1) == Counters(1) != Counters(2)
    with pytest.raises(TypeError):
        hash(Counters())


@given(COUNTERS, COUNTERS, COUNTERS)
@search(200)
def test_sums_do_not_depend_on_order_and_differences_undo_them(a: Counters, b: Counters, c: Counters) -> None:
    with localcontext(Context(prec=3)):
        assert repr((a + b) + c) == repr(a + (b + c)) == repr(c + b + a)
        assert repr(a + b - b) == repr(a)
        assert (a + b).numbers()[:5] == tuple(x + y for x, y in zip(a.numbers()[:5], b.numbers()[:5], strict=True))


def test_adding_leaves_both_as_they_were() -> None:
    a, b = Counters(1, cost=Decimal("0.1")), Counters(2, cost=Decimal("0.2"))
    assert a + b == Counters(3, cost=Decimal("0.3"))
    assert (a, b) == (Counters(1, cost=Decimal("0.1")), Counters(2, cost=Decimal("0.2")))


def test_what_does_not_fit_raises_instead_of_rounding() -> None:
    huge = Counters(cost=Decimal(10) ** 60)
    with pytest.raises(Inexact):
        huge + Counters(cost=Decimal("1E-12"))


def test_differences_have_no_minus_zero() -> None:
    paid = Counters(cost=Decimal("0.100000000000"))
    assert str((paid - paid).cost) == "0E-12"
