"""Rows of the usage ledger as bytes: what stands in the changelog and, byte for byte, in RocksDB.

A key is a dead letter for its kind, then what sorts it, so that a kind is a range and hours are in order of time:

    b  bill      b + event id                          the statement's exact JSON
    h  hour      h + start (8 bytes, big endian) + …   UsageRow; … = MessagePack [org, team, currency]
    i  ids       i + offset (8 bytes, big endian)      as in `streamapp/store/ids.py`
    m  month     m + "2025-01" + …                     MonthRow
    p  position  p                                     StoredPosition
"""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import msgspec

from streamapp.schemas.values.timestamp import written_ms
from streamapp.schemas.values.ulid import RANDOM_BYTES, event_id
from tables.counters import Counters
from tables.usage.hourly import Crossed, HourKey, Lines, MonthKey, MonthRow, Names, UsageRow

_INT = struct.Struct(">q")
_TRUE = 0xC3  # MessagePack
_COST = 5  # of the numbers of a row
pack = _encode = msgspec.msgpack.Encoder().encode
unpack = _decode = msgspec.msgpack.Decoder().decode


def hour_key(key: HourKey) -> bytes:
    """Key of an hour's row."""
    return b"h" + _INT.pack(key.start_ms) + _encode((key.org, key.team, key.currency))


def hour_prefix(start_ms: int) -> bytes:
    """Every row of hours that start at or after `start_ms` sorts at or behind this."""
    return b"h" + _INT.pack(start_ms)


def unpack_hour_key(key: bytes) -> HourKey:
    org, team, currency = _decode(key[9:])
    return HourKey(_INT.unpack(key[1:9])[0], org, team, currency)


def pack_hour(row: UsageRow) -> bytes:
    """Value of an hour's row."""
    lines = [(*names, *line.numbers()) for names, line in row.lines.items()]
    return pack_row((row.settled, row.first_offset, row.last_offset, row.revision, row.stated.numbers(), lines))


def is_settled(value: bytes) -> bool:
    """Whether an hour's row is fully stated, without unpacking it: its first element."""
    return value[1] == _TRUE


def unpack_hour(key: bytes, value: bytes) -> UsageRow:
    row = UsageRow(unpack_hour_key(key))
    _, row.first_offset, row.last_offset, row.revision, stated, lines = _decode(value)
    row.stated = _counters(stated)
    row.lines.update({(provider, model): counters for provider, model, counters in _lines(lines)})
    return row


def stored_hour(row: UsageRow) -> tuple[bytes, bytes]:
    """Key and value of an hour's row."""
    if row.written is not None and row.revision is not None:
        return row.written.key, row.written.value
    return hour_key(row.key), pack_hour(row)


def pack_names(names: Names) -> bytes:
    """Provider and model, one behind the other."""
    return _encode(names[0]) + _encode(names[1])


def unpack_lines(value: bytes) -> Lines:
    """The lines of an hour's row, from its value."""
    return _lines(_decode(value)[-1])


def _lines(lines: list[Any]) -> Lines:
    return tuple([(provider, model, _counters(numbers)) for provider, model, *numbers in lines])


def _counters(numbers: list[Any]) -> Counters:
    """Rows of before there were other tokens and rounded costs have six numbers."""
    requests, errors, cache_hits, prompt_tokens, completion_tokens = map(int, numbers[:_COST])
    counts = Counters(requests, errors, cache_hits, prompt_tokens, completion_tokens, Decimal(numbers[_COST]))
    if len(numbers) > _COST + 1:
        counts.other_tokens, counts.rounded = map(int, numbers[_COST + 1 :])
    return counts


def pack_row(row: tuple[Any, ...]) -> bytes:
    """Any row's value. A number beyond 64 bits becomes text."""
    try:
        return _encode(row)
    except OverflowError:  # MessagePack's integers have 64 bits: a sum beyond them is written as text
        return _encode(_wide(row))


def _wide(part: Any) -> Any:
    if isinstance(part, list | tuple):
        return [_wide(one) for one in part]
    if isinstance(part, dict):
        return {key: _wide(one) for key, one in part.items()}
    return str(part) if type(part) is int and part >= 1 << 64 else part


def month_key(key: MonthKey) -> bytes:
    """Key of a month's row."""
    return b"m" + key.month.encode() + _encode((key.org, key.team, key.currency))


def months_of(month: str, *names: str) -> tuple[bytes, bytes]:
    """Between which keys the rows of a month lie; with org, or org and team: those of these names alone."""
    return _under(b"m" + month.encode("utf-8", "replace"), names)


def hours_of(start_ms: int, *names: str) -> tuple[bytes, bytes]:
    """As `months_of`, of an hour."""
    return _under(hour_prefix(start_ms), names)


def _under(head: bytes, names: tuple[str, ...]) -> tuple[bytes, bytes]:
    head += b"\x93" + b"".join(map(_encode, names)) if names else b""
    return head, head + b"\xff"


def unpack_month_key(key: bytes) -> MonthKey:
    return MonthKey(key[1:8].decode(), *_decode(key[8:]))


def pack_month(row: MonthRow) -> bytes:
    """Value of a month's row. Rows in which no limit was crossed are as they were before there were limits."""
    return pack_row((row.cost, row.total_tokens, row.crossed) if row.crossed else row[:2])


def unpack_month(value: bytes) -> MonthRow:
    cost, total_tokens, *crossed = _decode(value)
    limits = tuple(Crossed(kind, Decimal(amount), at_ms) for kind, amount, at_ms in (crossed[0] if crossed else ()))
    return MonthRow(Decimal(cost), int(total_tokens), limits)


def bill_key(bill_id: str) -> bytes:
    """Key of a statement."""
    return b"b" + bill_id.encode()


def bill_prefix(period_end_ms: int) -> bytes:
    """Every statement of a period that ends at or after `period_end_ms` sorts at or behind this."""
    return bill_key(event_id(period_end_ms, bytes(RANDOM_BYTES)))


def readable(key: bytes, value: bytes) -> tuple[tuple[Any, ...], Any]:
    """A row as a person or a JSON document shows it: key parts, value."""
    kind = key[:1]
    if kind == b"h":
        row = unpack_hour(key, value)
        lines = [[*names, *line.numbers()] for names, line in sorted(row.lines.items())]
        facts = {
            "first_offset": row.first_offset,
            "last_offset": row.last_offset,
            "revision": row.revision,
            "stated": row.stated.numbers(),
            "lines": lines,
        }
        return ("hour", *row.key), facts
    if kind == b"m":
        month = unpack_month(value)
        crossed = {"crossed": [one._asdict() for one in month.crossed]} if month.crossed else {}
        return ("month", *unpack_month_key(key)), {"cost": month.cost, "total_tokens": month.total_tokens, **crossed}
    return ("bill", key[1:].decode()), _decode_json(value)


def readable_key(parts: tuple[Any, ...]) -> bytes:
    """The row key whose readable parts these are. Raises ValueError for anything else."""
    match parts:
        case ("hour", int(start_ms), str(org), str(team), str(currency)):
            return hour_key(HourKey(start_ms, org, team, currency))
        case ("month", str(month), str(org), str(team), str(currency)) if len(month) == 7:
            return month_key(MonthKey(month, org, team, currency))
        case ("bill", str(bill_id)):
            return bill_key(bill_id)
    raise ValueError(f"{parts!r} is not the key of a row")


def team_of(key: bytes, value: bytes) -> str:
    """Whose row it is: usage has the team as its record key."""
    kind = key[:1]
    if kind == b"h":
        return unpack_hour_key(key).team
    if kind == b"m":
        return unpack_month_key(key).team
    return bucket_of(value).team


def bucket_of(bill: bytes) -> HourKey:
    """The bucket that a stored statement is about."""
    event = _decode_json(bill)
    data = event["data"]
    return HourKey(written_ms(data["period_start"]), event["org_id"], event["team_id"], data["currency"])


_decode_json = msgspec.json.Decoder().decode
