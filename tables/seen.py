"""Event ids that were counted: an id counts once, as long as it is remembered (decision 13).

An id is remembered until a full hour of event time that is at least `remember_ms` after its hour closed and after it
arrived. The watermark alone decides when that is, at the record that reaches it: so what counts as a duplicate is a
function of the log, however it is cut into chunks.

What is remembered of an id is a digest of 16 bytes, with a fingerprint of 8 bytes of the record it came in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from tables.window import HOUR_MS, Rules, hour_at_or_after, hour_of

DIGEST_BYTES = 16
PRINT_BYTES = 8

StoredIds = dict[int, tuple[bytes, bytes]]
"""Expiry (a watermark, ms) → the digests, back to back, and the fingerprints, as stored."""


class Counted(NamedTuple):
    """What is remembered of an id."""

    print_: bytes
    expiry_ms: int


class Seen(ABC):
    """The ids one partition remembers, and the chunks whose stored ids are still needed."""

    def __init__(self) -> None:
        self._chunks: dict[int, list[int]] = {}  # expiry of a chunk's last id → chunks

    @abstractmethod
    def find(self, digest: bytes) -> Counted | None:
        """What is remembered of an id."""

    @abstractmethod
    def add(self, digest: bytes, print_: bytes, expiry_ms: int) -> None:
        """Remember an id that is not remembered until the watermark reaches `expiry_ms`, a full hour."""

    @abstractmethod
    def _take(self) -> StoredIds:
        """The ids added since the last call, in the order of counting, but those that have expired."""

    @abstractmethod
    def _put_back(self, digests: bytes, prints: bytes, expiry_ms: int) -> None:
        """Remember stored ids again."""

    @abstractmethod
    def _drop(self, watermark_ms: int) -> None:
        """Forget ids that expire at or before the watermark."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _first_expiry_ms(self) -> int | None:
        """The lowest expiry of a remembered id."""

    @property
    def next_expiry_ms(self) -> int | None:
        """The watermark at which ids are forgotten next."""
        first = self._first_expiry_ms()
        return min(self._chunks if first is None else (first, *self._chunks), default=None)

    def keep(self, chunk: int) -> StoredIds:
        """A chunk ends: what has to be stored of its ids under `chunk`, until the last of them expires."""
        stored = self._take()
        self._note(chunk, stored)
        return stored

    def restore(self, chunk: int, stored: StoredIds, watermark_ms: int) -> None:
        """Remember a stored chunk's ids again, but those whose time has come: a later chunk may have counted the same
        id anew, and that one must stay."""
        for expiry_ms, (digests, prints) in stored.items():
            if expiry_ms > watermark_ms:
                self._put_back(digests, prints, expiry_ms)
        self._note(chunk, stored)

    def forget(self, watermark_ms: int) -> list[int]:
        """Forget the ids whose time has come. Returns the chunks whose stored ids are no longer needed."""
        self._drop(watermark_ms)
        gone: list[int] = []
        for expiry_ms in [e for e in self._chunks if e <= watermark_ms]:
            gone.extend(self._chunks.pop(expiry_ms))
        return gone

    def _note(self, chunk: int, stored: StoredIds) -> None:
        if stored:
            self._chunks.setdefault(max(stored), []).append(chunk)


class SeenIds(Seen):
    """Remembered ids in a dict: two hundred bytes each. The workers keep them in less (`runtime/express/ids.py`)."""

    def __init__(self) -> None:
        super().__init__()
        self._counted: dict[bytes, Counted] = {}
        self._by_expiry: dict[int, list[bytes]] = {}
        self._new: dict[int, list[bytes]] = {}  # since the last chunk was kept

    def find(self, digest: bytes) -> Counted | None:
        return self._counted.get(digest)

    def add(self, digest: bytes, print_: bytes, expiry_ms: int) -> None:
        self._counted[digest] = Counted(print_, expiry_ms)
        self._by_expiry.setdefault(expiry_ms, []).append(digest)
        self._new.setdefault(expiry_ms, []).append(digest)

    def _take(self) -> StoredIds:
        new, self._new = self._new, {}
        return {
            expiry_ms: (b"".join(digests), b"".join(self._counted[digest].print_ for digest in digests))
            for expiry_ms, digests in new.items()
        }

    def _put_back(self, digests: bytes, prints: bytes, expiry_ms: int) -> None:
        for at in range(len(digests) // DIGEST_BYTES):
            digest = digests[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES]
            self._counted[digest] = Counted(prints[at * PRINT_BYTES : (at + 1) * PRINT_BYTES], expiry_ms)
            self._by_expiry.setdefault(expiry_ms, []).append(digest)

    def _first_expiry_ms(self) -> int | None:
        return min(self._by_expiry, default=None)

    def _drop(self, watermark_ms: int) -> None:
        for expiry_ms in [e for e in self._by_expiry if e <= watermark_ms]:
            for digest in self._by_expiry.pop(expiry_ms):
                del self._counted[digest]
            self._new.pop(expiry_ms, None)

    def __len__(self) -> int:
        return len(self._counted)


def expiry_of(at_ms: int, watermark_ms: int, rules: Rules) -> int:
    """Until which watermark an id is remembered that was counted at `at_ms` when the watermark was `watermark_ms`."""
    closes_ms = hour_of(at_ms) + HOUR_MS + rules.grace_ms
    return hour_at_or_after(max(closes_ms, watermark_ms) + rules.remember_ms)
