"""What is counted about calls of a model for Prometheus: how they ended, tokens, money, durations. Sums are exact."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

from tables.counters import EXACT, NOTHING
from tables.spread import Spread, microseconds

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


class Tally:
    """Counts of one series. Mutable: the fold adds to it in place."""

    __slots__ = ("cache_hits", "completion_tokens", "cost", "latency", "prompt_tokens", "statuses", "ttft")

    def __init__(
        self,
        statuses: list[int] | None = None,
        cache_hits: int = 0,
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        cost: dict[str, Decimal] | None = None,
        latency: Spread | None = None,
        ttft: Spread | None = None,
    ) -> None:
        self.statuses = [0] * len(STATUSES) if statuses is None else statuses
        self.cache_hits = cache_hits
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens
        self.cost: dict[str, Decimal] = {} if cost is None else cost
        self.latency = Spread() if latency is None else latency
        self.ttft = Spread() if ttft is None else ttft

    @property
    def requests(self) -> int:
        """Calls, however they ended."""
        return sum(self.statuses)

    @property
    def errors(self) -> int:
        """Calls that did not end in success."""
        return sum(self.statuses[1:])

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def count_one(self, data: Any, currency: str) -> None:
        """One more call; `data` is the payload of a usage event."""
        self.statuses[STATUS_AT[data.status]] += 1
        self.cache_hits += data.cache_hit
        self.prompt_tokens += data.prompt_tokens
        self.completion_tokens += data.completion_tokens
        self.cost[currency] = EXACT.add(self.cost.get(currency, NOTHING), data.cost_usd)
        if data.latency_ms is not None:
            self.latency.count_one(microseconds(data.latency_ms))
        if data.ttft_ms is not None:
            self.ttft.count_one(microseconds(data.ttft_ms))

    def add(self, other: Tally) -> None:
        """Count as much again, in place."""
        self._add_numbers(other)
        self.latency.add(other.latency)
        self.ttft.add(other.ttft)

    def add_counts(self, other: Tally) -> None:
        """The same without the bins of the sketches."""
        self._add_numbers(other)
        self.latency.add_counts(other.latency)
        self.ttft.add_counts(other.ttft)

    def _add_numbers(self, other: Tally) -> None:
        self.statuses = [one + more for one, more in zip(self.statuses, other.statuses, strict=True)]
        self.cache_hits += other.cache_hits
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        for currency, cost in other.cost.items():
            self.cost[currency] = EXACT.add(self.cost.get(currency, NOTHING), cost)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tally):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return f"Tally({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"
