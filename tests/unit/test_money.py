"""Money is exact: what is written counts, and nothing is ever rounded (decision 5)."""

from __future__ import annotations

from decimal import Decimal, DecimalException, localcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamapp.schemas.values.money import EXACT, exact_cost, money_of, money_text, rounded_cost


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("0.0038", "0.003800000000"),
        ("0", "0.000000000000"),
        ("-0", "0.000000000000"),
        ("-0.0", "0.000000000000"),
        ("0e400", "0.000000000000"),
        ("1e-12", "0.000000000001"),
        ("1E2", "100.000000000000"),
        ("999999999999999999.999999999999", "999999999999999999.999999999999"),
    ],
)
def test_a_cost_as_written(written: str, text: str) -> None:
    cost = exact_cost(Decimal(written))
    assert (money_text(cost), cost.as_tuple().exponent, cost.is_signed()) == (text, -12, False)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("-1", "is negative"),
        ("-1e-12", "is negative"),
        ("1e-13", "has more than 12 decimals"),
        ("0.1000000000001", "has more than 12 decimals"),
        ("1e18", "has more than 18 integer digits"),
        ("1e400", "has more than 18 integer digits"),
        ("NaN", "is not a finite number"),
        ("-Infinity", "is not a finite number"),
    ],
)
def test_a_cost_that_is_refused(written: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}$"):
        exact_cost(Decimal(written))


@pytest.mark.parametrize(
    ("written", "billed", "changed"),
    [
        ("0.0016150000000000001", "0.001615000000", True),
        ("2.9999999999999997e-05", "0.000030000000", True),
        ("0.0038000000000000", "0.003800000000", False),
        ("0E-20", "0.000000000000", False),
        ("0e400", "0.000000000000", False),
        ("-0.0", "0.000000000000", False),
        ("1E2", "100.000000000000", False),
        ("1e-400", "0.000000000000", True),
        ("5e-13", "0.000000000000", True),
        ("15e-13", "0.000000000002", True),
        ("25e-13", "0.000000000002", True),
        ("5.00000000000000000000000000000000000000000000001e-13", "0.000000000001", True),
        ("999999999999999999.999999999999", "999999999999999999.999999999999", False),
        ("999999999999999999.9999999999994", "999999999999999999.999999999999", True),
    ],
)
def test_a_cost_is_rounded_half_to_even_at_the_12th_decimal(written: str, billed: str, changed: bool) -> None:
    cost = rounded_cost(Decimal(written))
    assert (money_text(cost), cost != Decimal(written)) == (billed, changed)


@pytest.mark.parametrize("written", ["-1e-20", "1e18", "999999999999999999.9999999999995", "1e400", "NaN"])
def test_a_cost_that_is_not_rounded_but_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"negative|digits|finite"):
        rounded_cost(Decimal(written))


@given(st.integers(-(10**52) + 1, 10**52 - 1), st.integers(0, 10**12 - 1))
@settings(deadline=None, database=None)
def test_text_and_back(whole: int, fraction: int) -> None:
    text = f"{whole}.{fraction:012d}"
    amount = money_of(text)
    assert amount.as_tuple().exponent == -12
    assert money_text(amount) == text
    assert int(amount.scaleb(12, EXACT)) == int(text.replace(".", ""))


def test_a_sum_that_a_default_context_would_round() -> None:
    total = EXACT.add(money_of("999999999999999999.000000000000"), money_of("0.000000000001"))
    assert money_text(total) == "999999999999999999.000000000001"


def test_somebody_elses_context_changes_nothing() -> None:
    with localcontext() as theirs:
        theirs.prec = 3
        assert money_text(exact_cost(Decimal("123456.789012"))) == "123456.789012000000"
        assert money_text(money_of("-123456.789012345678")) == "-123456.789012345678"


@pytest.mark.parametrize("written", ["1e-13", "1e52", "NaN", "Infinity"])
def test_an_amount_that_does_not_fit_is_never_rounded(written: str) -> None:
    with pytest.raises(DecimalException):
        money_text(Decimal(written))


@pytest.mark.parametrize("text", ["", "1", "1.0", ".000000000000", "1e0", "01.000000000000", "+1.000000000000", "NaN"])
def test_only_the_one_spelling_is_read(text: str) -> None:
    with pytest.raises(ValueError, match="12 decimals"):
        money_of(text)


def test_minus_zero_is_zero() -> None:
    assert str(money_of("-0.000000000000")) == "0E-12"
