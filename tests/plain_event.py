"""What the fast path's reader makes of a record's value, as Python sees it: the structs of `event.h`."""

from __future__ import annotations

import ctypes
from decimal import Decimal
from functools import cache
from typing import Any

from streamapp.lane.events import EVENTS, Field, fields
from streamapp.lane.library import library
from streamapp.schemas.values.money import EXACT

UNMEASURED, INEXACT, UNUSABLE = -1, -2, -3  # as in `event.h`


class Span(ctypes.Structure):
    """`span_t`."""

    _fields_ = (("at", ctypes.c_void_p), ("length", ctypes.c_size_t))

    def text(self) -> str | None:
        return ctypes.string_at(self.at, self.length).decode() if self.at else None


class Money(ctypes.Structure):
    """`money_t`, which is aligned to 16 bytes."""

    _fields_ = (("low", ctypes.c_uint64), ("high", ctypes.c_uint64), ("is_rounded", ctypes.c_int64 * 2))

    def decimal(self) -> Decimal:
        return money(self.low, self.high)


def money(low: int, high: int) -> Decimal:
    """A number of 10^-12, from its halves."""
    return EXACT.scaleb(Decimal(high << 64 | low), -12)


_HELD: dict[str, Any] = {"TIMESTAMP": ctypes.c_int64, "COUNT": ctypes.c_int64, "MEASURE": ctypes.c_int64}
_HELD |= {"COST": Money, "PRICE": Money, "FLAG": ctypes.c_int, "CHOICE": ctypes.c_int}


@cache
def _struct(name: str) -> type[ctypes.Structure]:
    """The struct of an event type."""
    parts = fields(EVENTS[name])
    align = 16 if any(_HELD.get(field.kind) is Money for part in parts for field in part) else 8
    envelope, data = (_part(part, align) for part in parts)
    return type(name, (ctypes.Structure,), {"_fields_": (("envelope", envelope), ("data", data))})


def _part(found: list[Field], align: int) -> type[ctypes.Structure]:
    """The members as a C compiler places them; `align`: of the whole."""
    members: list[tuple[str, Any]] = []
    size = 0

    def pad(align: int) -> int:
        if padding := -size % align:
            members.append((f"padding_{size}", ctypes.c_char * padding))
        return padding

    for field in found:
        held = _HELD.get(field.kind, Span)
        size += pad(16 if held is Money else ctypes.alignment(held))
        members.append((field.name, held))
        size += ctypes.sizeof(held)
    pad(align)
    return type("Part", (ctypes.Structure,), {"_fields_": members})


def read(name: str, raw: bytes) -> tuple[Any, Any, Any] | None:
    """Envelope and payload of an event that the reader takes, and the whole struct; None for what it leaves to Python.

    `name` as in `EVENTS`."""
    event = _struct(name)()
    held = ctypes.create_string_buffer(raw, len(raw))  # exactly so many bytes: reading beyond them is a fault
    event.held = held
    table = ctypes.c_char.in_dll(library(), name.lower())
    call = library()["event_read"]
    if not call(ctypes.byref(table), held, ctypes.c_size_t(len(raw)), ctypes.byref(event)):
        return None
    return event.envelope, event.data, event
