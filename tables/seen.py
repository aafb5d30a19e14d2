"""Event ids that were counted: an id counts once, as long as it is remembered (decision 13).

An id is remembered until a full hour of event time that is at least `remember_ms` after its hour closed and after it
arrived. The watermark alone decides when that is, at the record that reaches it: so what counts as a duplicate is a
function of the log, however it is cut into chunks.

When an id is counted, its expiry is that of an hour that closes on time. A watermark that jumps, because the records
before were days late, closes hours late: then the ids of these hours are *held* until `remember_ms` after the jump.

What is remembered of an id is a digest of 16 bytes, with a fingerprint of 8 bytes of the record it came in. Both are
keyed by a secret (docs/adr/0027): nobody who does not know it can find two ids of one digest. Ids are stored with the
secret they are under, so that rows of another partition, or of an earlier version, stay known under theirs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from tables.window import HOUR_MS, Rules, hour_at_or_after, hour_of, next_close

SECRET_BYTES = 16
DIGEST_BYTES = 16
PRINT_BYTES = 8

IdsByExpiry = dict[int, tuple[bytes, bytes]]
"""Expiry (a watermark, ms) → the digests, back to back, and the fingerprints, as stored."""


class StoredIds(NamedTuple):
    """A chunk's ids as they are stored. `secret` is what they are under; empty: stored before there were secrets."""

    secret: bytes
    by_expiry: IdsByExpiry


class Held(NamedTuple):
    """Ids that would expire at or after `from_ms` and before `until_ms` expire at `until_ms`; both are full hours."""

    from_ms: int
    until_ms: int


def merged(holds: Iterable[Held]) -> tuple[Held, ...]:
    """What several partitions hold, for one that gets the ids of all: nothing is held for less."""
    found: list[Held] = []
    for one in sorted(holds):
        if found and one.from_ms < found[-1].until_ms:
            found[-1] = Held(found[-1].from_ms, max(found[-1].until_ms, one.until_ms))
        else:
            found.append(one)
    return tuple(found)


class Known(IntEnum):
    """What is known of an event."""

    NEW = 0
    SAME = 1  # its id is remembered, from an event of the same bytes
    OTHER = 2  # its id is remembered, from an event of other bytes


class Seen(ABC):
    """The ids one partition remembers, and the chunks whose stored ids are still needed. `secret`: 16 bytes that the
    ids added here are under."""

    def __init__(self, secret: bytes) -> None:
        assert len(secret) == SECRET_BYTES, "a secret has 16 bytes"
        self.secret = secret
        self.held: tuple[Held, ...] = ()  # in the order of time; none overlaps another
        self._chunks: dict[int, list[int]] = {}  # expiry of a chunk's last id → chunks

    @abstractmethod
    def look(self, event_id: str, value: bytes) -> Known:
        """What is known of an event, by its id and its record's value."""

    @abstractmethod
    def digest(self, event_id: str) -> bytes:
        """What is stored of an id, under the secret that the ids added here are under."""

    @abstractmethod
    def add(self, event_id: str, value: bytes, expiry_ms: int) -> None:
        """Remember an id that is not remembered until the watermark reaches `expiry_ms`, a full hour."""

    @abstractmethod
    def _take(self) -> IdsByExpiry:
        """The ids added since the last call, in the order of counting, but those that have expired."""

    @abstractmethod
    def _put_back(self, secret: bytes, digests: bytes, prints: bytes, expiry_ms: int) -> None:
        """Remember stored ids again."""

    @abstractmethod
    def _drop(self, watermark_ms: int) -> None:
        """Forget ids that expire at or before a watermark."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _first_expiry_ms(self) -> int | None:
        """The lowest expiry of a remembered id."""

    @property
    def next_expiry_ms(self) -> int | None:
        """The watermark at which ids are forgotten next."""
        first = self._first_expiry_ms()
        next_ms = min(self._chunks if first is None else (first, *self._chunks), default=None)
        if next_ms is None:
            return None
        return next((until_ms for from_ms, until_ms in self.held if from_ms <= next_ms < until_ms), next_ms)

    def chunks(self, start: int | None, most: int) -> list[int]:
        """Chunks whose ids are stored, by their first offsets: the first ones that begin at `start` or behind it, in
        the order of the log; without `start` the newest, newest first."""
        if start is None:
            return sorted((chunk for part in self._chunks.values() for chunk in part[-most:]), reverse=True)[:most]
        parts = ((part, bisect_left(part, start)) for part in self._chunks.values())
        return sorted(chunk for part, at in parts for chunk in part[at : at + most])[:most]

    def hold(self, before_ms: int, watermark_ms: int, rules: Rules) -> None:
        """The watermark has moved. Hold the ids of the hours that were open before, and that it has closed late."""
        if before_ms < 0:
            return
        first_ms = hour_at_or_after(next_close(before_ms, rules.grace_ms) + rules.remember_ms)
        until_ms = hour_at_or_after(watermark_ms + rules.remember_ms)
        kept = tuple(held for held in self.held if held.until_ms > watermark_ms)
        self.held = (*kept, Held(first_ms, until_ms)) if first_ms < until_ms else kept

    def keep(self, chunk: int) -> StoredIds | None:
        """A chunk ends: what has to be stored of its ids under `chunk`, until the last of them expires; None: there are
        none."""
        by_expiry = self._take()
        if not by_expiry:
            return None
        self._note(chunk, by_expiry)
        return StoredIds(self.secret, by_expiry)

    def restore(self, chunk: int, stored: StoredIds, watermark_ms: int) -> None:
        """Remember a stored chunk's ids again, but those whose time has come: a later chunk may have counted the same
        id anew, and that one must stay."""
        for expiry_ms, (digests, prints) in stored.by_expiry.items():
            if expiry_ms > self._forgotten_ms(watermark_ms):
                self._put_back(stored.secret, digests, prints, expiry_ms)
        self._note(chunk, stored.by_expiry)

    def forget(self, watermark_ms: int) -> list[int]:
        """Forget the ids whose time has come. Returns the chunks whose stored ids are no longer needed."""
        until_ms = self._forgotten_ms(watermark_ms)
        self._drop(until_ms)
        gone: list[int] = []
        for expiry_ms in [e for e in self._chunks if e <= until_ms]:
            gone.extend(self._chunks.pop(expiry_ms))
        return gone

    def _forgotten_ms(self, watermark_ms: int) -> int:
        """Ids whose expiry is at or before this are forgotten."""
        holds = (from_ms for from_ms, until_ms in self.held if from_ms <= watermark_ms < until_ms)
        return next(holds, watermark_ms + HOUR_MS) - HOUR_MS

    def _note(self, chunk: int, by_expiry: IdsByExpiry) -> None:
        if by_expiry:
            self._chunks.setdefault(max(by_expiry), []).append(chunk)


def expiry_of(at_ms: int, watermark_ms: int, rules: Rules) -> int:
    """Until which watermark an id is remembered that was counted at `at_ms` when the watermark was `watermark_ms`."""
    closes_ms = hour_of(at_ms) + HOUR_MS + rules.grace_ms
    return hour_at_or_after(max(closes_ms, watermark_ms) + rules.remember_ms)
