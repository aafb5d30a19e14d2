"""Event ids that were counted: an id counts once, as long as it is remembered (decision 13).

An id is remembered until a full hour of event time that is at least `remember_ms` after its hour closed and after it
arrived. The watermark alone decides when that is, at the record that reaches it: so what counts as a duplicate is a
function of the log, however it is cut into chunks.

What is remembered of an id is a digest of 16 bytes, with a fingerprint of 8 bytes of the record it came in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tables.window import HOUR_MS, Rules, hour_at_or_after, hour_of

DIGEST_BYTES = 16
PRINT_BYTES = 8

IdsByExpiry = dict[int, list[bytes]]
"""Expiry (a watermark, ms) → digests of the ids that one chunk counted."""

StoredIds = dict[int, tuple[bytes, bytes]]
"""Expiry → the digests, back to back, and the fingerprints, as stored."""

Older = Mapping[bytes, tuple[bytes, int]]
"""Digest → fingerprint and expiry, of ids that are not in `recent`."""

NONE_OLDER: Older = {}


class SeenIds:
    """The ids one partition remembers. This one keeps them all in `recent`; one that keeps older ids elsewhere
    overrides `look_up`, `settle` and `restore`."""

    def __init__(self) -> None:
        self.recent: dict[bytes, bytes] = {}
        self._ids: dict[int, list[Sequence[bytes]]] = {}  # expiry → the chunks' digests
        self._chunks: dict[int, list[int]] = {}  # expiry of a chunk's last id → chunks

    def __len__(self) -> int:
        return len(self.recent)

    @property
    def next_expiry_ms(self) -> int | None:
        """The watermark at which ids are forgotten next."""
        return min((*self._ids, *self._chunks), default=None)

    def settle(self) -> None:
        """A chunk begins: what was counted before it is stored."""

    def look_up(self, digests: Sequence[bytes]) -> Older:
        """Which of a chunk's ids are remembered, but not in `recent`. They may have expired."""
        return NONE_OLDER

    def bucket(self, ids: IdsByExpiry, expiry_ms: int) -> list[bytes]:
        """The list of a chunk's ids that expire then; what is appended to it is forgotten in time."""
        bucket = ids.get(expiry_ms)
        if bucket is None:
            bucket = ids[expiry_ms] = []
            self._ids.setdefault(expiry_ms, []).append(bucket)
        return bucket

    def keep(self, chunk: int, ids: IdsByExpiry) -> StoredIds:
        """A chunk ends: what has to be stored of its ids under `chunk`, until the last of them expires. Ids that
        expired within the chunk are left out."""
        if ids:
            self._chunks.setdefault(max(ids), []).append(chunk)
        print_of = self.recent.__getitem__
        return {
            expiry_ms: (b"".join(bucket), b"".join(map(print_of, bucket)))
            for expiry_ms, bucket in ids.items()
            if expiry_ms in self._ids
        }

    def restore(self, chunk: int, stored: StoredIds, watermark_ms: int) -> None:
        """Remember a stored chunk's ids again, but those whose time has come: a later chunk may have counted the same
        id anew, and that one must stay."""
        for expiry_ms, (digests, prints) in stored.items():
            if expiry_ms > watermark_ms:
                split = [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]
                starts = range(0, len(prints), PRINT_BYTES)
                self.recent.update(zip(split, (prints[at : at + PRINT_BYTES] for at in starts), strict=True))
                self._ids.setdefault(expiry_ms, []).append(split)
        if stored:
            self._chunks.setdefault(max(stored), []).append(chunk)

    def forget(self, watermark_ms: int) -> list[int]:
        """Forget the ids whose time has come. Returns the chunks whose stored ids are no longer needed."""
        for expiry_ms in [e for e in self._ids if e <= watermark_ms]:
            for digests in self._ids.pop(expiry_ms):
                for digest in digests:
                    self.recent.pop(digest, None)
        gone: list[int] = []
        for expiry_ms in [e for e in self._chunks if e <= watermark_ms]:
            gone.extend(self._chunks.pop(expiry_ms))
        return gone


def expiry_of(at_ms: int, watermark_ms: int, rules: Rules) -> int:
    """Until which watermark an id is remembered that was counted at `at_ms` when the watermark was `watermark_ms`."""
    closes_ms = hour_of(at_ms) + HOUR_MS + rules.grace_ms
    return hour_at_or_after(max(closes_ms, watermark_ms) + rules.remember_ms)
