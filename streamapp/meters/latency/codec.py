"""Rows of the latency table as bytes: what stands in the changelog and, byte for byte, in RocksDB.

f  frequent  f                                    {[provider, model]: calls} of names without a place
h  hour      h + start (8 bytes, big endian) + …  Tally; … = MessagePack [provider, model, stream]
i  ids       i + offset (8 bytes)                 as in `store/ids.py`
m  minute    m + start (8 bytes) + …              Tally
n  name      n + MessagePack [provider, model]    calls that earned its place
p  position  p                                    StoredPosition
r  refused   r + reason                           records passed over, for ever
t  total     t + …                                Tally, for ever, without bins

Hours and minutes of all series together have empty names.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from streamapp.meters.usage.codec import pack_row
from streamapp.store.table import Table, anywhere
from tables.latency.tally import Bins, Name, Series, StoredBins, Tally
from tables.latency.windows import HOUR, MINUTE, SPANS_MS, WindowKey

FREQUENT_KEY = b"f"
KIND = {MINUTE: b"m", HOUR: b"h"}
SPAN = {kind: span for span, kind in KIND.items()}
_INT = struct.Struct(">q")
_encode = msgspec.msgpack.Encoder().encode
_decode_series = msgspec.msgpack.Decoder(tuple[str, str, bool | None]).decode
_decode_name = msgspec.msgpack.Decoder(tuple[str, str]).decode
_decode_frequent = msgspec.msgpack.Decoder(list[tuple[str, str, int]]).decode
_Number = int | str  # what does not fit into 64 bits is written as text


class _Tally(msgspec.Struct, array_like=True):
    numbers: list[_Number]
    cost: dict[str, Decimal]
    bins: msgspec.Raw
    ttft_bins: msgspec.Raw


pack_count = _encode  # of a name's place, or of the records passed over
unpack_count = msgspec.msgpack.Decoder(int).decode
_decode_bins = msgspec.msgpack.Decoder(dict[int, int]).decode
_NO_BINS = b"\x80"
_decode_tally = msgspec.msgpack.Decoder(_Tally).decode


def window_key(key: WindowKey) -> bytes:
    """Key of a minute or an hour."""
    return KIND[key.span] + _INT.pack(key.start_ms) + _series(key.series)


_series = lru_cache(maxsize=4096)(_encode)


def window_prefix(span: str, start_ms: int) -> bytes:
    """Every row of windows that start at or after `start_ms` sorts at or behind this."""
    return KIND[span] + _INT.pack(start_ms)


def unpack_window_key(key: bytes) -> WindowKey:
    return WindowKey(SPAN[key[:1]], _INT.unpack(key[1:9])[0], Series(*_decode_series(key[9:])))


def total_key(series: Series) -> bytes:
    """Key of a series' counts for ever."""
    return b"t" + _encode(series)


def unpack_total_key(key: bytes) -> Series:
    return Series(*_decode_series(key[1:]))


def pack_tally(tally: Tally) -> bytes:
    """Value of a minute, an hour or a total."""
    bins, ttft_bins = (msgspec.Raw(part.stored) if isinstance(part, StoredBins) else part for part in tally.unread)
    return pack_row((tally.numbers, tally.cost, bins, ttft_bins))


def unpack_tally(value: bytes) -> Tally:
    row = _decode_tally(value)
    return Tally(list(map(int, row.numbers)), row.cost, stored_bins(bytes(row.bins)), stored_bins(bytes(row.ttft_bins)))


def stored_bins(stored: bytes) -> Bins:
    """Bins as they stand in a row: MessagePack of a map."""
    return {} if stored == _NO_BINS else StoredBins(stored, _decode_bins)


def name_key(name: Name) -> bytes:
    """Key of a name that has a place."""
    return b"n" + _encode(name)


def unpack_name_key(key: bytes) -> Name:
    return Name(*_decode_name(key[1:]))


def refused_key(reason: str) -> bytes:
    """Key of the records passed over for a reason."""
    return b"r" + reason.encode()


def pack_frequent(calls: Mapping[Name, int]) -> bytes:
    """Value of the names that may earn a place."""
    return _encode([(*name, count) for name, count in calls.items()])


def unpack_frequent(value: bytes) -> dict[Name, int]:
    return {Name(provider, model): count for provider, model, count in _decode_frequent(value)}


def readable(key: bytes, value: bytes) -> tuple[tuple[Any, ...], Any]:
    """A row as a person or a JSON document shows it: key parts, value."""
    kind = key[:1]
    if kind in SPAN:
        at = unpack_window_key(key)
        return (at.span, at.start_ms, *_names(at.series)), _facts(unpack_tally(value))
    if kind == b"t":
        return ("total", *_names(unpack_total_key(key))), _facts(unpack_tally(value))
    if kind == b"n":
        return ("name", *unpack_name_key(key)), unpack_count(value)
    if kind == b"r":
        return ("refused", key[1:].decode()), unpack_count(value)
    return ("frequent",), [[*name, count] for name, count in unpack_frequent(value).items()]


def _names(series: Series) -> tuple[str, str, str]:
    return series.provider, series.model, stream_text(series.stream)


STREAMS = {None: "unknown", True: "true", False: "false"}
_STREAM_OF = {text: stream for stream, text in STREAMS.items()}


def stream_text(stream: bool | None) -> str:
    """Whether a call was streamed, as a word."""
    return STREAMS[stream]


def _facts(tally: Tally) -> dict[str, Any]:
    facts: dict[str, Any] = {"requests": tally.requests, "errors": tally.errors}
    facts |= {name: getattr(tally, name) for name in ("statuses", "cache_hits", "prompt_tokens", "completion_tokens")}
    facts["cost"] = tally.cost
    for name, spread in (("latency", tally.latency), ("ttft", tally.ttft)):
        facts[name] = {"count": spread.count, "sum_us": spread.sum_us, "buckets": spread.buckets, "bins": spread.bins}
    return facts


def readable_key(parts: tuple[Any, ...]) -> bytes:
    """The row key whose readable parts these are. Raises ValueError for anything else."""
    match parts:
        case ("minute" | "hour" as span, int(start_ms), str(provider), str(model), str(stream)) if stream in _STREAM_OF:
            return window_key(WindowKey(span, start_ms, Series(provider, model, _STREAM_OF[stream])))
        case ("total", str(provider), str(model), str(stream)) if stream in _STREAM_OF:
            return total_key(Series(provider, model, _STREAM_OF[stream]))
        case ("name", str(provider), str(model)):
            return name_key(Name(provider, model))
        case ("refused", str(reason)):
            return refused_key(reason)
        case ("frequent",):
            return FREQUENT_KEY
    raise ValueError(f"{parts!r} is not the key of a row")


LATENCY = Table("latency", b"fhimnprt", readable, readable_key, home=anywhere, windows=SPANS_MS)
