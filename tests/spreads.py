"""How durations are spread, one by one."""

from __future__ import annotations

from tables.latency.spread import Spread, bin_of, bucket_of


def count_one(spread: Spread, duration_us: int) -> None:
    """One more duration."""
    spread.sum_us += duration_us
    spread.buckets[bucket_of(duration_us)] += 1
    number = bin_of(duration_us)
    spread.bins[number] = spread.bins.get(number, 0) + 1
