"""The compiled library, loaded once; its functions as Python calls them."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from functools import lru_cache

from streamapp.clock import entropy
from streamapp.errors import Misconfigured
from streamapp.lane.build import LIBRARY, sources_digest

SEED_BYTES = 16  # of the maps of this process


Wide = c_uint64 * 2
"""`wide_t`: the low half of a number, and the high one."""


class Stored(Structure):
    """`stored_t`: remembered ids as they were stored."""

    _fields_ = (
        *((name, c_char_p) for name in ("secret", "digests", "prints")),
        *((name, c_size_t) for name in ("secret_length", "digests_length", "prints_length")),
        ("expiry_h", c_uint32),
    )


class Run(Structure):
    """`run_t`: what a run is told, and what it says."""

    _fields_ = (("watermark_ms", c_int64), ("next_mark_ms", c_int64), ("duplicates", c_int64))


class Added(Structure):
    """`added_t`: what is counted in an open hour of metered calls."""

    _fields_ = (
        ("hour_ms", c_int64),
        *((name, c_char_p) for name in ("account", "method", "payment")),
        *((name, c_size_t) for name in ("account_length", "method_length", "payment_length")),
        ("calls", c_int64),
        ("cost_low", c_uint64),
        ("cost_high", c_uint64),
        ("first_offset", c_int64),
        ("last_offset", c_int64),
    )


class Used(Structure):
    """`used_t`: what is counted by hand in an open hour of usage."""

    _fields_ = (
        ("hour_ms", c_int64),
        *((name, c_char_p) for name in ("account", "names")),
        *((name, c_size_t) for name in ("account_length", "names_length")),
        *((name, c_int64) for name in ("requests", "errors", "cache_hits", "rounded")),
        *((name, Wide) for name in ("prompt_tokens", "completion_tokens", "other_tokens", "cost")),
        ("first_offset", c_int64),
        ("last_offset", c_int64),
    )


class Period(Structure):
    """`period_t`: an hour as its bills have it."""

    _fields_ = tuple((name, c_char_p) for name in ("type", "start", "end", "id"))


class Taken(Structure):
    """`taken_t`: where what was counted for the latency table lies, and how much it is."""

    _fields_ = (
        *((name, c_void_p) for name in ("slots", "ends", "packed")),
        *((name, c_int64) for name in ("slot_count", "packed_length")),
    )


_LANE = (c_void_p, c_int32, c_int32, c_int64)  # ids, partition, partitions, and how far ahead an event may be
_FUNCTIONS: tuple[tuple[str, object, tuple[object, ...]], ...] = (
    # name            result     arguments
    ("batch_read", c_int, (c_char_p, c_size_t, c_int64, c_int64, c_int64, c_int64, c_void_p)),
    ("batch_bytes", c_int64, (c_void_p, c_int64, c_int64)),
    ("map_seed", None, (c_char_p,)),
    ("ids_new", c_void_p, (c_char_p, c_char_p, c_size_t)),
    ("ids_free", None, (c_void_p,)),
    ("ids_look", c_int, (c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, c_void_p)),
    ("ids_add_event", c_int, (c_void_p, c_char_p, c_size_t, c_char_p, c_size_t, c_uint32)),
    ("ids_restore", c_int, (c_void_p, POINTER(Stored))),
    ("ids_secrets", c_size_t, (c_void_p,)),
    ("ids_forget", c_int, (c_void_p, c_uint32)),
    ("ids_first_expiry", c_uint32, (c_void_p,)),
    ("ids_count", c_size_t, (c_void_p,)),
    ("ids_in_memory", c_size_t, (c_void_p,)),
    ("ids_logged", c_size_t, (c_void_p,)),
    ("ids_expiries", c_size_t, (c_void_p, POINTER(c_uint32), c_size_t)),
    ("ids_take", c_size_t, (c_void_p, c_uint32, c_void_p, c_void_p)),
    ("ids_take_end", None, (c_void_p,)),
    ("lane_free", None, (c_void_p,)),
    ("lane_open", c_int, (c_void_p, c_int64, c_uint32, c_int)),
    ("lane_close", None, (c_void_p, c_int64)),
    ("lane_run", c_int64, (c_void_p, c_char_p, c_void_p, c_int64, c_int64, POINTER(Run))),
    ("rows_count", c_int64, (c_void_p,)),
    ("rows_others", c_int64, (c_void_p,)),
    ("rows_rounded", c_int64, (c_void_p,)),
    ("rows_known", c_int, (c_void_p, c_int64, c_char_p, c_size_t)),
    ("rows_changed", c_int64, (c_void_p, POINTER(c_void_p))),
    ("rows_of", c_int64, (c_void_p, c_int64, POINTER(c_void_p))),
    ("usage_new", c_void_p, (*_LANE, c_int64)),
    ("usage_add", c_int, (c_void_p, POINTER(Used), c_int)),
    ("bill_closed", c_int64, (c_void_p, c_int64, POINTER(Period), POINTER(c_int64), POINTER(c_void_p))),
    ("usage_limited", None, (c_void_p, c_int)),
    ("usage_bind", c_int, (c_void_p, c_int64, c_char_p, c_size_t, c_int64)),
    ("usage_left", c_int, (c_void_p, c_int64, c_uint64, c_uint64)),
    ("usage_spend", c_int, (c_void_p, c_int64, c_uint64, c_uint64)),
    ("usage_cost", c_int, (c_void_p, c_int64, c_char_p, c_size_t, POINTER(Wide))),
    ("usage_costs", c_int64, (c_void_p, c_int64, POINTER(c_void_p))),
    ("calls_new", c_void_p, (*_LANE, c_int64)),
    ("calls_add", c_int, (c_void_p, POINTER(Added), c_int)),
    ("latency_new", c_void_p, (*_LANE, c_void_p, c_int32, c_void_p)),
    ("latency_learn", c_int64, (c_void_p, c_char_p, c_size_t, c_int32, c_int32)),
    ("latency_forget", None, (c_void_p,)),
    ("latency_touched", c_int64, (c_void_p,)),
    ("latency_take", c_int, (c_void_p, POINTER(Taken))),
    ("columns_new", c_void_p, (c_int,)),
    ("columns_free", None, (c_void_p,)),
    ("columns_run", c_int64, (c_void_p, c_char_p, c_void_p, c_int64, c_int64)),
    ("columns_add", c_int, (c_void_p, POINTER(c_char_p), POINTER(c_size_t), POINTER(c_int64))),
    ("columns_count", c_int64, (c_void_p,)),
    ("columns_buffer", c_size_t, (c_void_p, c_int, POINTER(c_void_p))),
)


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The library. Raises `Misconfigured` when it was not built from the sources that are here."""
    try:
        loaded = ctypes.CDLL(str(LIBRARY))
    except OSError:
        raise Misconfigured("the fast path is not compiled; run `make setup`, which needs a C compiler") from None
    loaded.sources.restype = c_char_p
    if loaded.sources() != sources_digest().encode():  # before anything that these sources may not have had
        raise Misconfigured("the fast path was compiled from other sources than these; run `make setup`")
    for name, result, arguments in _FUNCTIONS:
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    loaded.map_seed(entropy(SEED_BYTES))
    return loaded
