"""What the fast path's reader makes of a record's value, as Python sees it."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import NamedTuple, Self

from plain_event import INEXACT, UNMEASURED, UNUSABLE, read

from streamapp.schemas.judging.decode import Usage
from tables.latency.spread import microseconds
from tables.latency.tally import REST, STATUSES


class PlainUsage(NamedTuple):
    """What counts of an event."""

    id: str
    team: str
    org: str | None
    provider: str
    model: str
    currency: str
    at_ms: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: Decimal
    is_rounded: bool
    is_error: bool
    is_cache_hit: bool
    status: str
    stream: bool | None
    latency_us: int | None
    ttft_us: int | None

    @classmethod
    def of(cls, usage: Usage) -> Self:
        data = usage.data
        return cls(
            usage.id,
            usage.team_id,
            usage.org_id,
            data.provider,
            data.model,
            data.currency,
            usage.at_ms,
            data.prompt_tokens,
            data.completion_tokens,
            data.total_tokens,
            data.cost_usd,
            usage.is_rounded,
            data.status != "success",
            bool(data.cache_hit),
            data.status if data.status in STATUSES else REST,
            data.stream,
            _microseconds(data.latency_ms),
            _microseconds(data.ttft_ms),
        )


def _microseconds(duration_ms: float | None) -> int | None:
    """Unusable ones stay negative."""
    return duration_ms if duration_ms is None else UNUSABLE if duration_ms < 0 else microseconds(duration_ms)


def read_plain(raw: bytes) -> PlainUsage | None:
    """The event that the lane takes; None for what it leaves to Python."""
    found = read("LLM_USAGE", raw)
    if found is None:
        return None
    envelope, data, _ = found
    if envelope.org_id.text() is None or data.total_tokens < data.prompt_tokens + data.completion_tokens:
        return None
    status = data.status.text()
    return PlainUsage(
        id=envelope.id.text(),
        team=envelope.team_id.text(),
        org=envelope.org_id.text(),
        provider=data.provider.text(),
        model=data.model.text(),
        currency=data.currency.text(),
        at_ms=envelope.timestamp,
        prompt_tokens=data.prompt_tokens,
        completion_tokens=data.completion_tokens,
        total_tokens=data.total_tokens,
        is_rounded=bool(data.cost_usd.is_rounded[0]),
        cost=data.cost_usd.decimal(),
        is_error=status != "success",
        is_cache_hit=bool(data.cache_hit),
        status=status if status in STATUSES else REST,
        stream=None if data.stream < 0 else bool(data.stream),
        latency_us=_measured(data.latency_ms, raw, b"latency_ms"),
        ttft_us=_measured(data.ttft_ms, raw, b"ttft_ms"),
    )


def _measured(duration_us: int, raw: bytes, name: bytes) -> int | None:
    """The duration; where the reader found that it is not whole microseconds, what Python makes of it."""
    if duration_us != INEXACT:
        return None if duration_us == UNMEASURED else duration_us
    return _microseconds(json.loads(raw)["data"][name.decode()])
