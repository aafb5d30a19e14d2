"""Event ids that were counted: an id counts once, as long as it is remembered (decision 13).

An id is remembered until a full hour of event time that is at least `remember_ms` after its hour closed and after it
arrived. The watermark alone decides when that is, at the record that reaches it: so what counts as a duplicate is a
function of the log, however it is cut into chunks.
"""

from __future__ import annotations

from tables.window import HOUR_MS, Rules, hour_at_or_after, hour_of

IdsByExpiry = dict[int, list[str]]
"""Expiry (a watermark, ms) → ids that one chunk counted."""

StoredIds = dict[int, tuple[list[str], list[int]]]
"""Expiry → ids and the fingerprints of their bytes, as stored."""


class SeenIds:
    """The ids one partition remembers, with the fingerprints of their bytes."""

    def __init__(self) -> None:
        self.fingerprints: dict[str, int] = {}
        self._ids: dict[int, list[list[str]]] = {}  # expiry → the chunks' lists
        self._chunks: dict[int, list[int]] = {}  # expiry of a chunk's last id → chunks

    def __len__(self) -> int:
        return len(self.fingerprints)

    @property
    def next_expiry_ms(self) -> int | None:
        """The watermark at which ids are forgotten next."""
        return min(self._ids, default=None)

    def bucket(self, ids: IdsByExpiry, expiry_ms: int) -> list[str]:
        """The list of a chunk's ids that expire then; what is appended to it is forgotten in time."""
        bucket = ids.get(expiry_ms)
        if bucket is None:
            bucket = ids[expiry_ms] = []
            self._ids.setdefault(expiry_ms, []).append(bucket)
        return bucket

    def keep(self, chunk: int, ids: IdsByExpiry) -> None:
        """Note that a chunk's ids are stored under `chunk`, needed until the last of them expires."""
        if ids:
            self._chunks.setdefault(max(ids), []).append(chunk)

    def restore(self, chunk: int, stored: StoredIds, watermark_ms: int) -> None:
        """Remember a stored chunk's ids again, but those whose time has come: a later chunk may have counted the same
        id anew, and that one must stay."""
        for expiry_ms, (ids, fingerprints) in stored.items():
            if expiry_ms <= watermark_ms:
                continue
            self.fingerprints.update(zip(ids, fingerprints, strict=True))
            self._ids.setdefault(expiry_ms, []).append(ids)
        if stored:
            self._chunks.setdefault(max(stored), []).append(chunk)

    def forget(self, watermark_ms: int) -> list[int]:
        """Forget the ids whose time has come. Returns the chunks whose stored ids are no longer needed."""
        for expiry_ms in [e for e in self._ids if e <= watermark_ms]:
            for ids in self._ids.pop(expiry_ms):
                for event_id in ids:
                    self.fingerprints.pop(event_id, None)
        gone: list[int] = []
        for expiry_ms in [e for e in self._chunks if e <= watermark_ms]:
            gone.extend(self._chunks.pop(expiry_ms))
        return gone

    def stored(self, ids: IdsByExpiry) -> StoredIds:
        """A chunk's ids with their fingerprints; ids that expired within the chunk are left out."""
        prints = self.fingerprints
        return {
            expiry_ms: (bucket, [prints[event_id] for event_id in bucket])
            for expiry_ms, bucket in ids.items()
            if expiry_ms in self._ids
        }


def expiry_of(at_ms: int, watermark_ms: int, rules: Rules) -> int:
    """Until which watermark an id is remembered that was counted at `at_ms` when the watermark was `watermark_ms`."""
    closes_ms = hour_of(at_ms) + HOUR_MS + rules.grace_ms
    return hour_at_or_after(max(closes_ms, watermark_ms) + rules.remember_ms)
