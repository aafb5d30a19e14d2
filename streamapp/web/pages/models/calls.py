"""Calls of models over the whole fleet: asked of every worker, added up, with quantiles of the merged sketches.

What was not answered just now does not count: a sum with a partition's part of yesterday would be a wrong one. So it
is said whose part is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar

from streamapp.facts.worker import CallFacts, PartitionCalls, Span, WorkerFacts
from streamapp.web import show
from streamapp.web.workers.fleet import Fleet
from tables.latency.spread import Spread, add_bins

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Calls:
    """What the fleet said."""

    calls: tuple[CallFacts, ...]
    missing: tuple[str, ...]  # urls of workers that did not answer
    unanswered: tuple[int, ...]  # partitions that nobody spoke for


@dataclass(slots=True)
class Figures:
    """Calls added up."""

    requests: int = 0
    errors: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: dict[str, Decimal] = field(default_factory=dict)
    latency: Spread = field(default_factory=Spread)
    ttft: Spread = field(default_factory=Spread)

    @property
    def total_tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def add(self, calls: CallFacts) -> None:
        """Count as many again, in place."""
        self.requests += calls.requests
        self.errors += calls.errors
        self.cache_hits += calls.cache_hits
        self.prompt_tokens += calls.prompt_tokens
        self.completion_tokens += calls.completion_tokens
        for currency, cost in calls.cost.items():
            self.cost[currency] = show.total((self.cost.get(currency, Decimal(0)), cost))
        add_bins(self.latency.bins, calls.latency)
        add_bins(self.ttft.bins, calls.ttft)


async def ask(fleet: Fleet, span: Span, from_ms: int, until_ms: int, each: bool) -> Calls:
    """Calls of every partition in the windows with `from_ms <= start < until_ms`."""
    params = {"span": span, "from": str(from_ms), "until": str(until_ms), "each": "1" if each else "0"}
    answers = await fleet.ask("calls", params, list[PartitionCalls])
    workers = await fleet.ask("worker", {}, WorkerFacts)
    found: dict[int, PartitionCalls] = {}
    for part in (part for answer in answers if not answer.stale for part in answer.value or ()):
        known = found.get(part.partition)
        if known is None or known.position < part.position:
            found[part.partition] = part
    count = max((answer.value.partition_count or 0 for answer in workers if answer.value), default=0)
    return Calls(
        tuple(calls for part in found.values() for calls in part.calls),
        tuple(answer.url for answer in answers if answer.stale),
        tuple(number for number in range(count) if number not in found),
    )


def summed(calls: Iterable[CallFacts], key: Callable[[CallFacts], K]) -> dict[K, Figures]:
    """Calls added up by what `key` says, in its order."""
    sums: dict[K, Figures] = {}
    for one in calls:
        at = key(one)
        if at not in sums:
            sums[at] = Figures()
        sums[at].add(one)
    return sums
