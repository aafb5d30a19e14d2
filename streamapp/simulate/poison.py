"""Records that must be refused, one of each kind: what goes wrong at real producers. Pure, seeded."""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from streamapp.schemas.judging.rejected import Reason
from streamapp.schemas.values.timestamp import format_ms

DAY_MS = 86_400_000
UNLISTED_TEAM = b"team_unlisted"


Spoil = Callable[["Sound", Random], tuple[bytes, bytes | None]]


class Sound(NamedTuple):
    """The good event that is spoilt, under a key that was seen before, and the moments between which good ones lie. Its
    value is compact JSON: the envelope's fields in the order of the standard, then `data`."""

    key: bytes
    value: bytes
    at_ms: int
    now_ms: int


class Poison(NamedTuple):
    """One way to be wrong. `reason` is what `dead_letter` says; `by_value` tells whether the bytes alone show it."""

    name: str
    reason: Reason
    by_value: bool
    spoil: Spoil


def sub(pattern: bytes, by: bytes) -> Spoil:
    """Replaces what stands once in every good value."""
    find = re.compile(pattern)

    def spoil(sound: Sound, rng: Random) -> tuple[bytes, bytes | None]:
        value, count = find.subn(by, sound.value, count=1)
        assert count == 1, (pattern, sound.value)
        return sound.key, value

    return spoil


def _future(sound: Sound, rng: Random) -> tuple[bytes, bytes | None]:
    return _moved(sound, max(sound.at_ms, sound.now_ms) + rng.randint(2 * DAY_MS, 30 * DAY_MS))


def _too_late(sound: Sound, rng: Random) -> tuple[bytes, bytes | None]:
    return _moved(sound, sound.at_ms - rng.randint(15 * DAY_MS, 20 * DAY_MS))


def _moved(sound: Sound, at_ms: int) -> tuple[bytes, bytes | None]:
    return sound.key, _TIMESTAMP.sub(b'"timestamp":"' + format_ms(at_ms).encode() + b'"', sound.value, count=1)


def _cut(sound: Sound, rng: Random) -> tuple[bytes, bytes | None]:
    return sound.key, sound.value[: rng.randrange(1, len(sound.value))]


def _unlisted(sound: Sound, rng: Random) -> tuple[bytes, bytes | None]:
    value = _TEAM.sub(b'"team_id":"' + UNLISTED_TEAM + b'",', sound.value, count=1)
    return UNLISTED_TEAM, _ORG.sub(b"", value, count=1)


_TIMESTAMP = re.compile(rb'"timestamp":"[^"]*"')
_TEAM = re.compile(rb'"team_id":"[^"]*",')
_ORG = re.compile(rb'"org_id":"[^"]*",')
_COST = rb'"cost_usd":[0-9.]+'

# What may happen to any event of any producer.
BROKEN: tuple[Poison, ...] = (
    Poison("no value", Reason.EMPTY_VALUE, True, lambda sound, rng: (sound.key, None)),
    Poison("empty value", Reason.EMPTY_VALUE, True, lambda sound, rng: (sound.key, b"")),
    Poison("cut off", Reason.MALFORMED_JSON, True, _cut),
    Poison("not UTF-8", Reason.MALFORMED_JSON, True, sub(rb'"source":"([^"]{3}-?)', b'"source":"\\1\xff\xfe')),
    Poison(
        "single quotes", Reason.MALFORMED_JSON, True, lambda sound, rng: (sound.key, sound.value.replace(b'"', b"'"))
    ),
    Poison("a list", Reason.INVALID_ENVELOPE, True, lambda sound, rng: (sound.key, b"[" + sound.value + b"]")),
    Poison("schema v2", Reason.INVALID_ENVELOPE, True, sub(rb"hanzo\.stream\.v1", b"hanzo.stream.v2")),
)
NO_TEAM = Poison("no team", Reason.INVALID_ENVELOPE, True, sub(_TEAM.pattern, b""))
NO_MOMENT = Poison("no moment", Reason.INVALID_ENVELOPE, True, sub(_TIMESTAMP.pattern, b'"timestamp":"yesterday"'))
IN_FUTURE = Poison("in the future", Reason.TIMESTAMP_IN_FUTURE, False, _future)
TOO_LATE = Poison("too late", Reason.TOO_LATE, False, _too_late)
WRONG_KEY = Poison("wrong key", Reason.WRONG_PARTITION, False, lambda sound, rng: (b"not-" + sound.key, sound.value))

POISONS: tuple[Poison, ...] = (
    *BROKEN,
    NO_TEAM,
    NO_MOMENT,
    Poison("another type", Reason.UNKNOWN_TYPE, True, sub(rb"llm\.usage\.completed", b"llm.usage.started")),
    Poison("no model", Reason.INVALID_DATA, True, sub(rb'"model":"[^"]*",', b"")),
    Poison("tokens as text", Reason.INVALID_DATA, True, sub(rb'"prompt_tokens":([0-9]+)', rb'"prompt_tokens":"\1"')),
    Poison("negative cost", Reason.INVALID_COST, True, sub(_COST, b'"cost_usd":-0.0038')),
    Poison("19 integer digits", Reason.INVALID_COST, True, sub(_COST, b'"cost_usd":1000000000000000000')),
    Poison("cost as text", Reason.INVALID_COST, True, sub(_COST, b'"cost_usd":"0.0038"')),
    Poison("NaN", Reason.INVALID_COST, True, sub(_COST, b'"cost_usd":NaN')),
    Poison("wrong total", Reason.TOKENS_MISMATCH, True, sub(rb'"total_tokens":([0-9]+)', rb'"total_tokens":0')),
    IN_FUTURE,
    TOO_LATE,
    WRONG_KEY,
    Poison("unknown org", Reason.ORG_UNRESOLVED, False, _unlisted),
)
