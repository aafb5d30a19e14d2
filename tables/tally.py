"""What is counted about calls of a model for Prometheus: how they ended, tokens, money, durations. Sums are exact."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from operator import add
from typing import Any, NamedTuple

from tables.counters import EXACT, NOTHING
from tables.spread import BUCKETS, Spread, add_bins, bin_of, bucket_of, microseconds

STATUSES: tuple[str, ...] = ("success", "error", "timeout", "rate_limited")
"""How a call can end (decision 6), in the order in which they are counted."""

STATUS_AT = {name: at for at, name in enumerate(STATUSES)}
REST = "other"
"""Names and currencies beyond those that are told apart."""


class Name(NamedTuple):
    """A model of a provider."""

    provider: str
    model: str


OTHERS = Name(REST, REST)
EVERY = Name("", "")  # no event has an empty name


class Series(NamedTuple):
    """What is told apart. `stream` None: the event does not say."""

    provider: str
    model: str
    stream: bool | None

    @property
    def name(self) -> Name:
        return Name(self.provider, self.model)


ALL = Series(*EVERY, None)
"""All series of a window together."""


_CACHE_HITS, _PROMPT, _COMPLETION, _LATENCY = range(len(STATUSES), len(STATUSES) + 4)
_TTFT = _LATENCY + 1 + BUCKETS
NUMBERS = _TTFT + 1 + BUCKETS
"""How many numbers there are: by status, cache hits, tokens of prompts and completions; of latency and of ttft the sum
and the buckets."""


class StoredBins(NamedTuple):
    """Bins as they are stored: most are written as they came and never looked at."""

    stored: bytes
    read: Callable[[bytes], dict[int, int]]


Bins = dict[int, int] | StoredBins
"""A sketch's bins: number → count."""


class Tally:
    """Counts of one series. Mutable: the fold adds to it in place. All numbers stand in one list, because rows by the
    hundred are added in every chunk; `bins` and `ttft_bins` are those of the sketches, read when they are asked for."""

    __slots__ = ("_bins", "_ttft_bins", "cost", "numbers")

    def __init__(
        self,
        numbers: list[int] | None = None,
        cost: dict[str, Decimal] | None = None,
        bins: Bins | None = None,
        ttft_bins: Bins | None = None,
    ) -> None:
        self.numbers = [0] * NUMBERS if numbers is None else numbers
        self.cost: dict[str, Decimal] = {} if cost is None else cost
        self._bins: Bins = {} if bins is None else bins
        self._ttft_bins: Bins = {} if ttft_bins is None else ttft_bins

    @property
    def bins(self) -> dict[int, int]:
        """Of latency."""
        if isinstance(self._bins, StoredBins):
            self._bins = self._bins.read(self._bins.stored)
        return self._bins

    @property
    def ttft_bins(self) -> dict[int, int]:
        """Of the time to the first token."""
        if isinstance(self._ttft_bins, StoredBins):
            self._ttft_bins = self._ttft_bins.read(self._ttft_bins.stored)
        return self._ttft_bins

    @property
    def unread(self) -> tuple[Bins, Bins]:
        """The bins of latency and ttft, as far as they were read."""
        return self._bins, self._ttft_bins

    @property
    def statuses(self) -> list[int]:
        """Calls by how they ended."""
        return self.numbers[:_CACHE_HITS]

    @property
    def requests(self) -> int:
        """Calls, however they ended."""
        return sum(self.statuses)

    @property
    def errors(self) -> int:
        """Calls that did not end in success."""
        return sum(self.statuses[1:])

    @property
    def cache_hits(self) -> int:
        """Calls answered from a cache."""
        return self.numbers[_CACHE_HITS]

    @property
    def prompt_tokens(self) -> int:
        """Tokens of prompts."""
        return self.numbers[_PROMPT]

    @property
    def completion_tokens(self) -> int:
        """Tokens of completions."""
        return self.numbers[_COMPLETION]

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def latency(self) -> Spread:
        """How long the calls took."""
        return Spread(self.numbers[_LATENCY], self.numbers[_LATENCY + 1 : _TTFT], self.bins)

    @property
    def ttft(self) -> Spread:
        """How long until their first tokens came."""
        return Spread(self.numbers[_TTFT], self.numbers[_TTFT + 1 :], self.ttft_bins)

    def count_one(self, data: Any, currency: str) -> None:
        """One more call; `data` is the payload of a usage event."""
        numbers = self.numbers
        numbers[STATUS_AT[data.status]] += 1
        numbers[_CACHE_HITS] += data.cache_hit
        numbers[_PROMPT] += data.prompt_tokens
        numbers[_COMPLETION] += data.completion_tokens
        self.cost[currency] = EXACT.add(self.cost.get(currency, NOTHING), data.cost_usd)
        self._measure(_LATENCY, self.bins, data.latency_ms)
        self._measure(_TTFT, self.ttft_bins, data.ttft_ms)

    def _measure(self, at: int, bins: dict[int, int], duration_ms: float | None) -> None:
        if duration_ms is not None:
            duration_us = microseconds(duration_ms)
            self.numbers[at] += duration_us
            self.numbers[at + 1 + bucket_of(duration_us)] += 1
            number = bin_of(duration_us)
            bins[number] = bins.get(number, 0) + 1

    def add(self, other: Tally) -> None:
        """Count as much again, in place."""
        self.add_counts(other)
        add_bins(self.bins, other.bins)
        if other._ttft_bins:  # most calls have none
            add_bins(self.ttft_bins, other.ttft_bins)

    def add_counts(self, other: Tally) -> None:
        """The same without the bins of the sketches."""
        self.numbers = list(map(add, self.numbers, other.numbers))
        for currency, cost in other.cost.items():
            self.cost[currency] = EXACT.add(self.cost.get(currency, NOTHING), cost)

    def copy(self) -> Tally:
        """The same counts, apart."""
        bins, ttft_bins = (part.copy() if isinstance(part, dict) else part for part in self.unread)
        return Tally(self.numbers.copy(), self.cost.copy(), bins, ttft_bins)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tally):
            return NotImplemented
        if self.numbers != other.numbers or self.cost != other.cost:
            return False
        return self.bins == other.bins and self.ttft_bins == other.ttft_bins

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Tally({self.numbers}, {self.cost}, {self.bins}, {self.ttft_bins})"
