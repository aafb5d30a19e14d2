"""What is counted about calls of a model for Prometheus: how they ended, tokens, money, durations. Sums are exact."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from operator import add
from typing import Any, NamedTuple

from tables.counters import EXACT, NOTHING
from tables.latency.spread import BUCKETS, Spread, add_bins, bin_of, bucket_of, microseconds

KNOWN: tuple[str, ...] = ("success", "error", "timeout", "rate_limited")
STATUSES: tuple[str, ...] = (*KNOWN, "other")
"""How a call can end (decision 6): whatever else an event says is `other`."""

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


_CACHE_HITS, _PROMPT, _COMPLETION, _LATENCY = range(len(KNOWN), len(KNOWN) + 4)
_TTFT = _LATENCY + 1 + BUCKETS
_OTHER_STATUS, _OTHER_TOKENS, _LATENCY_IGNORED, _TTFT_IGNORED = range(_TTFT + 1 + BUCKETS, _TTFT + 5 + BUCKETS)
NUMBERS = _TTFT_IGNORED + 1
"""How many numbers there are: by known status, cache hits, tokens of prompts and completions; of latency and of ttft
the sum and the buckets; other statuses, tokens that stand in totals only, unusable latencies and ttfts. Rows of before
end with the buckets of ttft."""

_STATUS_AT = {name: at for at, name in enumerate(KNOWN)}


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
        if len(self.numbers) < NUMBERS:
            self.numbers = self.numbers + [0] * (NUMBERS - len(self.numbers))
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
        """Calls by how they ended, in the order of `STATUSES`."""
        return [*self.numbers[:_CACHE_HITS], self.numbers[_OTHER_STATUS]]

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
        """As the events state it: prompt, completion and what else they count."""
        return self.prompt_tokens + self.completion_tokens + self.numbers[_OTHER_TOKENS]

    @property
    def latency(self) -> Spread:
        """How long the calls took."""
        return Spread(self.numbers[_LATENCY], self.numbers[_LATENCY + 1 : _TTFT], self.bins)

    @property
    def ttft(self) -> Spread:
        """How long until their first tokens came."""
        return Spread(self.numbers[_TTFT], self.numbers[_TTFT + 1 : _OTHER_STATUS], self.ttft_bins)

    @property
    def ignored(self) -> dict[tuple[str, str], int]:
        """Calls without a duration, by measurement (`latency`, `ttft`) and reason (`missing`, `unusable`)."""
        counts: dict[tuple[str, str], int] = {}
        for name, at, unusable_at in (("latency", _LATENCY, _LATENCY_IGNORED), ("ttft", _TTFT, _TTFT_IGNORED)):
            unusable, measured = self.numbers[unusable_at], sum(self.numbers[at + 1 : at + 1 + BUCKETS])
            counts[name, "missing"] = self.requests - measured - unusable
            counts[name, "unusable"] = unusable
        return counts

    def count_one(self, data: Any, currency: str) -> None:
        """One more call; `data` is the payload of a usage event."""
        numbers = self.numbers
        numbers[_STATUS_AT.get(data.status, _OTHER_STATUS)] += 1
        numbers[_CACHE_HITS] += data.cache_hit
        numbers[_PROMPT] += data.prompt_tokens
        numbers[_COMPLETION] += data.completion_tokens
        numbers[_OTHER_TOKENS] += data.total_tokens - data.prompt_tokens - data.completion_tokens
        self.cost[currency] = EXACT.add(self.cost.get(currency, NOTHING), data.cost_usd)
        self._measure(_LATENCY, _LATENCY_IGNORED, self.bins, data.latency_ms)
        self._measure(_TTFT, _TTFT_IGNORED, self.ttft_bins, data.ttft_ms)

    def _measure(self, at: int, ignored_at: int, bins: dict[int, int], duration_ms: float | None) -> None:
        if duration_ms is not None and duration_ms < 0:
            self.numbers[ignored_at] += 1
        elif duration_ms is not None:
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
