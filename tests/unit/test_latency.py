"""The latency table by hand: names that are invented, minutes that go, numbers that are large."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from latency_log import LatencyTable, summed
from searches import of, search
from usage_log import Rec, at, value

from streamapp.meters.latency import codec
from tables.latency.fold import LIMITS, Limits
from tables.latency.tally import ALL, NUMBERS, OTHERS, Name, Series, Tally
from tables.latency.windows import HOUR, MINUTE, WindowKey
from tables.window import HOUR_MS, MINUTE_MS

INVENTED = of(160_000)
REAL = 5


def call(id: str, at_ms: int, model: str = "gpt-4o", **more: str) -> Rec:
    return Rec(b"team_a", value(id, at_ms, model=model, **more), at_ms)  # type: ignore[arg-type]


def test_models_that_somebody_invents_fill_nothing() -> None:
    table, start = LatencyTable(limits=Limits(models=10)), at("10:00")
    before = 0
    for begin in range(0, INVENTED, 5_000):
        chunk = [call(f"real-{begin}-{number}", start, f"real-{number % REAL}") for number in range(100)]
        chunk += [call(f"fake-{number}", start, f"model-{number}") for number in range(begin, begin + 5_000)]
        table.apply(*chunk)
        rows = len(table.rows())
        assert not before or rows == before, "no row more, whatever they invent"
        before = rows
    totals = table.totals()
    for number in range(REAL):
        assert totals[Series("openai", f"real-{number}", None)].requests == 20 * INVENTED // 5_000
    calls = INVENTED + 100 * INVENTED // 5_000
    assert totals[Series(*OTHERS, None)].requests == INVENTED - (10 - REAL)
    assert sum(tally.requests for tally in totals.values()) == calls
    assert summed(table.windows(), HOUR)[start].requests == calls
    assert len(table.task.memory.places.candidates) <= 10


def test_a_model_that_loses_its_place_leaves_its_calls_to_the_others() -> None:
    table, start = LatencyTable(limits=Limits(models=1)), at("10:00")
    table.apply(*(call(f"a-{number}", start, "a") for number in range(3)))
    table.apply(*(call(f"b-{number}", start, "b") for number in range(150)))
    table.restart()
    table.apply(call("a-3", start, "a"), call("b-150", start, "b"))
    names = {series.model: tally.requests for series, tally in table.totals().items()}
    assert names == {"b": 52, "other": 103}
    assert table.task.memory.places.earned == {Name("openai", "b"): 100}


def test_currencies_beyond_the_limit_keep_the_sum() -> None:
    table, start = LatencyTable(limits=Limits(currencies=2)), at("10:00")
    table.apply(*(call(f"id-{number}", start, currency=f"C{number}") for number in range(5)))
    (total,) = table.totals().values()
    assert total.cost == {"C0": Decimal("0.001"), "C1": Decimal("0.001"), "other": Decimal("0.003")}


def test_minutes_go_after_their_time_and_hours_after_the_retention() -> None:
    table, start = LatencyTable(), at("10:00")
    for minute in range(200):
        table.apply(call(f"id-{minute}", start + minute * MINUTE_MS))
    minutes = {key.start_ms for key in table.windows() if key.span == MINUTE}
    newest = start + 199 * MINUTE_MS
    assert minutes == set(range(newest - LIMITS.minutes_ms, newest + 1, MINUTE_MS))
    late = table.apply(call("late", start))
    assert [key.span for key in late.windows] == [HOUR, HOUR], "its minute has gone"
    table.apply(call("far", start + table.rules.retention_ms + 10 * HOUR_MS))
    assert {key.start_ms for key in table.windows()} == {start + table.rules.retention_ms + 10 * HOUR_MS}
    assert sum(tally.requests for tally in table.totals().values()) == 202


def test_records_below_the_position_are_read_again_and_skipped() -> None:
    table, start = LatencyTable(), at("10:00")
    table.apply(*(call(f"id-{number}", start) for number in range(10)))
    rows = table.rows()
    table.restart()
    assert table.apply(*table.log[:7]).skipped == 7
    assert table.rows() == rows


NAMES = st.text(min_size=1, max_size=5)
SERIES = st.builds(Series, NAMES, NAMES, st.sampled_from([None, True, False]))
TALLIES = st.builds(
    Tally,
    st.lists(st.integers(0, 1 << 70), min_size=NUMBERS, max_size=NUMBERS),
    st.dictionaries(st.sampled_from(["USD", "AI"]), st.decimals(0, 10**18, places=12)),
    st.dictionaries(st.integers(0, 1844), st.integers(1, 1 << 40)),
    st.dictionaries(st.integers(0, 1844), st.integers(1, 1 << 40)),
)


@given(SERIES, TALLIES, st.sampled_from([MINUTE, HOUR]))
@search(30)
def test_rows_come_back_as_they_were(series: Series, tally: Tally, span: str) -> None:
    key = WindowKey(span, 1_737_000_000_000, series)
    assert codec.unpack_window_key(codec.window_key(key)) == key
    assert codec.unpack_total_key(codec.total_key(series)) == series
    assert codec.unpack_tally(codec.pack_tally(tally)) == tally
    for raw in (codec.window_key(key), codec.total_key(series)):
        assert codec.LATENCY.readable_key(codec.LATENCY.readable(raw, codec.pack_tally(tally))[0]) == raw


def test_every_row_of_the_raw_page_has_a_key_that_leads_back() -> None:
    table = LatencyTable(limits=Limits(models=1))
    table.apply(call("a", at("10:00")), call("b", at("10:00"), "b"), Rec(b"team_a", b"{", at("10:00")))
    for key, value_ in table.store.scan(b"d", b"z"):
        assert codec.LATENCY.readable_key(codec.LATENCY.readable(key, value_)[0]) == key
    with pytest.raises(ValueError, match="not the key"):
        codec.LATENCY.readable_key(("hour", 1, "p", "m", "perhaps"))
    assert ALL.name == Name("", "")
