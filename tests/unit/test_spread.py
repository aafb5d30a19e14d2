"""Durations: exact buckets, and the library's own bins, whose quantiles are true within one per cent."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from ddsketch.ddsketch import BaseDDSketch
from ddsketch.mapping import LogarithmicMapping
from ddsketch.store import DenseStore
from hypothesis import example, given
from hypothesis import strategies as st
from searches import search
from spreads import count_one

from tables.latency.spread import ACCURACY, BOUNDS_US, EDGES_US, LONGEST_US, Spread, bin_of, bucket_of, microseconds

MAPPING = LogarithmicMapping(ACCURACY)
DURATIONS = st.one_of(st.integers(0, LONGEST_US), st.integers(0, 3_000_000), st.sampled_from(EDGES_US))


def sketch(durations: list[int]) -> BaseDDSketch:
    """As somebody makes it who has nothing but the library."""
    made = BaseDDSketch(LogarithmicMapping(ACCURACY), DenseStore(), DenseStore(), 0)
    for duration in durations:
        made.add(duration)
    return made


def counted(durations: list[int]) -> Spread:
    spread = Spread()
    for duration in durations:
        count_one(spread, duration)
    return spread


@given(DURATIONS, st.sampled_from([-1, 0, 1]))
@example(1, 0)
@search(500)
def test_a_bin_is_the_librarys(duration_us: int, beside: int) -> None:
    duration_us = min(max(duration_us + beside, 0), LONGEST_US)
    assert bin_of(duration_us) == (MAPPING.key(duration_us) + 1 if duration_us else 0)


def test_there_are_so_many_bins_and_no_more() -> None:
    assert len(EDGES_US) < 2000
    assert all(one <= next_ for one, next_ in pairwise(EDGES_US))
    assert bin_of(microseconds(1e300)) == bin_of(LONGEST_US) == len(EDGES_US) - 1


@given(st.lists(DURATIONS), st.lists(DURATIONS))
@search(100)
def test_adding_counts_is_merging_sketches(some: list[int], others: list[int]) -> None:
    added = counted(some)
    added.add(counted(others))
    merged = sketch(some)
    merged.merge(sketch(others))
    ranks = (0.0, 0.5, 0.95, 0.99, 1.0)
    assert added == counted(some + others)
    if some or others:
        assert added.quantiles(*ranks) == tuple(merged.get_quantile_value(rank) for rank in ranks)
    else:
        assert added.quantiles(*ranks) is None


@pytest.mark.parametrize("workers", [1, 5])
def test_quantiles_of_a_fleet_are_true_within_one_per_cent(workers: int) -> None:
    rng = random.Random(7)
    durations = [microseconds(rng.lognormvariate(6.5, 1.4)) for _ in range(50_000)]
    fleet = Spread()
    for worker in range(workers):
        fleet.add(counted(durations[worker::workers]))
    for rank in (0.5, 0.95, 0.99):
        (found,) = fleet.quantiles(rank) or ()
        true = sorted(durations)[int(rank * (len(durations) - 1))]
        assert abs(found - true) <= 0.01 * true


def test_buckets_are_the_standards_and_their_bounds_are_inclusive() -> None:
    assert [bound / 1_000_000 for bound in BOUNDS_US] == [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120, 300]
    assert (bucket_of(100_000), bucket_of(100_001), bucket_of(300_000_001)) == (0, 1, 12)


@pytest.mark.parametrize(
    ("duration_ms", "duration_us"),
    [(0, 0), (0.0004, 0), (1250, 1_250_000), (99.9995, 100_000), (999_999_999.999, 10**12 - 1), (1e300, 10**12)],
)
def test_a_duration_is_whole_microseconds(duration_ms: float, duration_us: int) -> None:
    assert microseconds(duration_ms) == duration_us
