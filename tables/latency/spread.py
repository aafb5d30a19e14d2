"""How durations are spread: exact counts by bucket, and a mergeable sketch (DDSketch) with quantiles within 1 %.

A duration is whole microseconds. It is counted in one of the standard's buckets, which is exact, and in one bin of the
sketch. Bins are those of the library's own mapping, so what is added up here is what the library would have added up:
bin 0 is the duration 0, bin b > 0 is the library's key b - 1. Sums of counts merge sketches; quantiles are the
library's: the value that its mapping gives the bin at a rank.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from operator import add

from ddsketch.mapping import LogarithmicMapping

ACCURACY = 0.0075
"""One per cent is promised; the rest is room for the rounding to microseconds."""

LONGEST_US = 10**12
"""Eleven days: what took longer counts as this long, so that there are so many bins and no more."""

BOUNDS_US: tuple[int, ...] = tuple(
    round(seconds * 1_000_000) for seconds in (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120, 300)
)
"""Upper bounds of the buckets, inclusive (HIP-31). One more bucket holds what took longer than all of them."""

BUCKETS = len(BOUNDS_US) + 1

_MAPPING = LogarithmicMapping(ACCURACY)


def _edges() -> tuple[int, ...]:
    """The shortest duration of each bin. Bins between which no microsecond lies share theirs."""
    edges = [0]
    for key in range(_MAPPING.key(LONGEST_US) + 1):
        shortest = max(int(_MAPPING.gamma ** (key - 1)) - 1, 1)
        while _MAPPING.key(shortest) < key:
            shortest += 1
        edges.append(shortest)
    return tuple(edges)


EDGES_US = _edges()


def microseconds(duration_ms: float) -> int:
    """A duration as it is counted."""
    return LONGEST_US if duration_ms >= LONGEST_US / 1000 else round(duration_ms * 1000)


def bin_of(duration_us: int) -> int:
    """The bin a duration is counted in."""
    return bisect_right(EDGES_US, duration_us) - 1


def bucket_of(duration_us: int) -> int:
    """The bucket a duration is counted in."""
    return bisect_left(BOUNDS_US, duration_us)


def add_bins(bins: dict[int, int], more: dict[int, int]) -> None:
    """Merge the counts of another sketch into `bins`."""
    known = bins.get
    for number, count in more.items():
        bins[number] = known(number, 0) + count


@dataclass(slots=True)
class Spread:
    """Durations counted. `bins` may be left out where no quantile is wanted."""

    sum_us: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    bins: dict[int, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many durations."""
        return sum(self.buckets)

    def add(self, other: Spread) -> None:
        """Count as many again, in place."""
        self.add_exact(other)
        add_bins(self.bins, other.bins)

    def add_exact(self, other: Spread) -> None:
        """Likewise, without the sketch."""
        self.sum_us += other.sum_us
        self.buckets = list(map(add, self.buckets, other.buckets))

    def quantiles(self, *wanted: float) -> tuple[float, ...] | None:
        """Durations in microseconds at these ranks, each within one per cent; None when nothing was counted. They are
        those of the library's sketch, which would be filled bin by bin first."""
        if not self.bins:
            return None
        numbers = sorted(self.bins)
        reached = list(accumulate(map(self.bins.__getitem__, numbers)))
        at = (numbers[bisect_right(reached, rank * (reached[-1] - 1))] for rank in wanted)
        return tuple(_MAPPING.value(number - 1) if number else 0.0 for number in at)
