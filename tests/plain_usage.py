"""What the fast path's reader makes of a record's value, as Python sees it."""

from __future__ import annotations

import ctypes
import json
from decimal import Decimal
from typing import NamedTuple, Self

from streamapp.lane.library import library
from streamapp.schemas.judging.decode import Usage
from streamapp.schemas.values.money import EXACT
from tables.latency.spread import microseconds
from tables.latency.tally import REST, STATUSES

UNMEASURED, INEXACT, UNUSABLE = -1, -2, -3  # as in `usage.h`


class Span(ctypes.Structure):
    """`span_t`."""

    _fields_ = (("at", ctypes.c_void_p), ("length", ctypes.c_size_t))

    def text(self) -> str:
        return ctypes.string_at(self.at, self.length).decode()


class _Usage(ctypes.Structure):
    """`usage_t`; the cost is aligned to 16 bytes."""

    _fields_ = (
        *((name, Span) for name in ("id", "team", "org", "provider", "model", "currency")),
        *((name, ctypes.c_int64) for name in ("at_ms", "prompt_tokens", "completion_tokens", "other_tokens")),
        *((name, ctypes.c_uint64) for name in ("cost_low", "cost_high")),
        *((name, ctypes.c_int) for name in ("is_error", "is_cache_hit", "status", "is_stream")),
        *((name, ctypes.c_int64) for name in ("latency_us", "ttft_us")),
        ("is_rounded", ctypes.c_int),
    )


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
    """The event that the reader takes; None for what it leaves to Python."""
    read = library()["usage_read"]
    usage = _Usage()
    held = ctypes.create_string_buffer(raw, len(raw))  # exactly so many bytes: reading beyond them is a fault
    if not read(held, ctypes.c_size_t(len(raw)), ctypes.byref(usage)):
        return None
    return PlainUsage(
        id=usage.id.text(),
        team=usage.team.text(),
        org=usage.org.text(),
        provider=usage.provider.text(),
        model=usage.model.text(),
        currency=usage.currency.text(),
        at_ms=usage.at_ms,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.prompt_tokens + usage.completion_tokens + usage.other_tokens,
        is_rounded=bool(usage.is_rounded),
        cost=EXACT.scaleb(Decimal(usage.cost_high << 64 | usage.cost_low), -12),
        is_error=bool(usage.is_error),
        is_cache_hit=bool(usage.is_cache_hit),
        status=STATUSES[usage.status],
        stream=None if usage.is_stream < 0 else bool(usage.is_stream),
        latency_us=_measured(usage.latency_us, raw, b"latency_ms"),
        ttft_us=_measured(usage.ttft_us, raw, b"ttft_ms"),
    )


def _measured(duration_us: int, raw: bytes, name: bytes) -> int | None:
    """The duration; where the reader found that it is not whole microseconds, what Python makes of it."""
    if duration_us != INEXACT:
        return None if duration_us == UNMEASURED else duration_us
    return _microseconds(json.loads(raw)["data"][name.decode()])
