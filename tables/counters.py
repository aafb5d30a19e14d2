"""What is counted about usage. Sums are exact: integers, and decimals in a context that refuses to round."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Rounded

import msgspec

EXACT = Context(prec=60, traps=[Inexact, Rounded, InvalidOperation, Overflow])
"""30 digits an event and 10^30 events fit; what would not fit raises instead of rounding."""

NOTHING = Decimal("0E-12")

Numbers = tuple[int, int, int, int, int, Decimal, int, int]
"""requests, errors, cache_hits, prompt_tokens, completion_tokens, cost, other_tokens, rounded. Rows of before
`other_tokens` and `rounded` end with the cost."""


class Counters(msgspec.Struct, gc=False):
    """Counts of one line or of a whole hour. Mutable: the fold adds to it in place. The collector need not look at the
    hundred thousands of them: they name nothing that could name them.

    `other_tokens` stand in totals only: reasoning and tool tokens. `rounded` counts events whose cost was rounded.
    """

    requests: int = 0
    errors: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: Decimal = NOTHING
    other_tokens: int = 0
    rounded: int = 0

    @property
    def total_tokens(self) -> int:
        """As the events state it: prompt, completion and what else they count."""
        return self.prompt_tokens + self.completion_tokens + self.other_tokens

    @classmethod
    def sum_of(cls, parts: Iterable[Counters]) -> Counters:
        """All parts together."""
        requests = errors = cache_hits = prompt_tokens = completion_tokens = other_tokens = rounded = 0
        cost, add = NOTHING, EXACT.add
        for one in parts:
            requests += one.requests
            errors += one.errors
            cache_hits += one.cache_hits
            prompt_tokens += one.prompt_tokens
            completion_tokens += one.completion_tokens
            cost = add(cost, one.cost)
            other_tokens += one.other_tokens
            rounded += one.rounded
        return cls(requests, errors, cache_hits, prompt_tokens, completion_tokens, cost, other_tokens, rounded)

    def numbers(self) -> Numbers:
        """The counts as a tuple, in the order of the fields."""
        return (
            self.requests,
            self.errors,
            self.cache_hits,
            self.prompt_tokens,
            self.completion_tokens,
            self.cost,
            self.other_tokens,
            self.rounded,
        )

    def add(self, numbers: Numbers) -> None:
        """Count as much again, in place."""
        requests, errors, cache_hits, prompt_tokens, completion_tokens, cost, other_tokens, rounded = numbers
        self.requests += requests
        self.errors += errors
        self.cache_hits += cache_hits
        self.prompt_tokens += prompt_tokens
        self.completion_tokens += completion_tokens
        self.cost = EXACT.add(self.cost, cost)
        self.other_tokens += other_tokens
        self.rounded += rounded

    def __add__(self, other: Counters) -> Counters:
        total = Counters(*self.numbers())
        total.add(other.numbers())
        return total

    def __sub__(self, other: Counters) -> Counters:
        return Counters(
            self.requests - other.requests,
            self.errors - other.errors,
            self.cache_hits - other.cache_hits,
            self.prompt_tokens - other.prompt_tokens,
            self.completion_tokens - other.completion_tokens,
            EXACT.subtract(self.cost, other.cost),
            self.other_tokens - other.other_tokens,
            self.rounded - other.rounded,
        )
