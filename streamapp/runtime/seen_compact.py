"""Remembered ids in 28 bytes each: the newest in a dict, older ones in sorted arrays.

A worker remembers a day of ids, millions of them; as Python objects each would take 200 bytes. Ids that were stored
are moved into runs: arrays sorted by the digest's first half, merged when one has grown to the size of the one before,
so there are few. A chunk asks for all its ids at once; a filter of bits answers for nearly all that are new.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tables.seen import NONE_OLDER, IdsByExpiry, Older, SeenIds, StoredIds

RECENT_MAX = 20_000  # ids of a partition that stay in the dict
BITS_PER_ID = 16  # one new id in sixteen passes the filter and is looked for in the runs
BITS_MIN = 1 << 20

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Run:
    """Ids in the order of their digests' first halves. `expiry_h` is the expiry in hours since the epoch."""

    high: Words
    low: Words
    prints: Words
    expiry_h: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.high)


class CompactSeen(SeenIds):
    """`SeenIds` for millions of ids: the same answers from a fraction of the memory."""

    def __init__(self) -> None:
        super().__init__()
        self._runs: list[Run] = []  # biggest first
        self._kept: list[tuple[bytes, bytes, int]] = []  # `recent` as it was stored
        self._restored: list[Run] = []  # small runs, gathered while a takeover reads the stored rows
        self._restored_ids = 0
        self._watermark_ms = -1
        self._filter = np.zeros(BITS_MIN >> 3, np.uint8)

    def __len__(self) -> int:
        return len(self.recent) + self._restored_ids + sum(len(run) for run in self._runs)

    def settle(self) -> None:
        if self._restored:
            self._add_restored()
        if len(self.recent) >= RECENT_MAX:
            self._add(_living(_merged([_run(*part) for part in self._kept]), self._watermark_ms))
            self._kept = []
            self.recent.clear()
            self._ids.clear()

    def keep(self, chunk: int, ids: IdsByExpiry) -> StoredIds:
        stored = super().keep(chunk, ids)
        self._kept += [(digests, prints, expiry_ms) for expiry_ms, (digests, prints) in stored.items()]
        return stored

    def forget(self, watermark_ms: int) -> list[int]:
        self._watermark_ms = watermark_ms  # runs are not searched: what has expired goes at the next merge
        return super().forget(watermark_ms)

    def restore(self, chunk: int, stored: StoredIds, watermark_ms: int) -> None:
        self._watermark_ms = watermark_ms
        for expiry_ms, (digests, prints) in stored.items():
            if expiry_ms > watermark_ms:
                self._restored.append(_run(digests, prints, expiry_ms))
                self._restored_ids += len(self._restored[-1])
        if self._restored_ids >= RECENT_MAX:
            self._add_restored()
        if stored:
            self._chunks.setdefault(max(stored), []).append(chunk)

    def look_up(self, digests: Sequence[bytes]) -> Older:
        if not self._runs or not digests:
            return NONE_OLDER
        halves = _words(b"".join(digests)).reshape(-1, 2)
        high = halves[:, 0]
        maybe = np.flatnonzero(self._passes(high))
        if not len(maybe):
            return NONE_OLDER
        found: dict[bytes, tuple[bytes, int]] = {}
        for run in reversed(self._runs):  # newest last: an id that was counted anew after its time
            for at, place in _places(run, high, halves[:, 1], maybe):
                expiry_ms = int(run.expiry_h[place]) * 3_600_000
                known = found.get(digests[at])
                if known is None or known[1] < expiry_ms:
                    found[digests[at]] = (run.prints[place].tobytes(), expiry_ms)
        return found

    def _add_restored(self) -> None:
        self._add(_merged(self._restored))
        self._restored, self._restored_ids = [], 0

    def _add(self, run: Run) -> None:
        """Put a run behind the others; merge from the end while the last has grown to the size before it."""
        self._runs.append(run)
        while len(self._runs) > 1 and 2 * len(self._runs[-1]) > len(self._runs[-2]):
            last, before = self._runs.pop(), self._runs.pop()
            self._runs.append(_living(_merged([before, last]), self._watermark_ms))
        if sum(len(one) for one in self._runs) * BITS_PER_ID > 8 * len(self._filter):
            self._filter = np.zeros(2 * len(self._filter), np.uint8)
            for one in self._runs:
                self._note(one.high)
        else:
            self._note(run.high)

    def _note(self, high: Words) -> None:
        bit = high & np.uint64(8 * len(self._filter) - 1)
        np.bitwise_or.at(self._filter, bit >> np.uint64(3), np.uint8(1) << (bit & np.uint64(7)).astype(np.uint8))

    def _passes(self, high: Words) -> npt.NDArray[np.uint8]:
        bit = high & np.uint64(8 * len(self._filter) - 1)
        passes: npt.NDArray[np.uint8] = (
            self._filter[bit >> np.uint64(3)] >> (bit & np.uint64(7)).astype(np.uint8)
        ) & np.uint8(1)
        return passes


def _words(raw: bytes) -> Words:
    return np.frombuffer(raw, "<u8")


def _run(digests: bytes, prints: bytes, expiry_ms: int) -> Run:
    halves = _words(digests).reshape(-1, 2)
    order = np.argsort(halves[:, 0], kind="stable")
    expiry_h = np.full(len(order), expiry_ms // 3_600_000, np.uint32)
    return Run(halves[order, 0], halves[order, 1], _words(prints)[order], expiry_h)


def _merged(runs: Sequence[Run]) -> Run:
    if len(runs) == 1:
        return runs[0]
    high = np.concatenate([run.high for run in runs])
    order = np.argsort(high, kind="stable")
    low = np.concatenate([run.low for run in runs])
    prints = np.concatenate([run.prints for run in runs])
    expiry_h = np.concatenate([run.expiry_h for run in runs])
    return Run(high[order], low[order], prints[order], expiry_h[order])


def _living(run: Run, watermark_ms: int) -> Run:
    """The ids of a run that have not expired."""
    living = run.expiry_h.astype(np.int64) * 3_600_000 > watermark_ms
    return run if living.all() else Run(run.high[living], run.low[living], run.prints[living], run.expiry_h[living])


def _places(run: Run, high: Words, low: Words, maybe: npt.NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """(index of the digest, place in the run) for each of the `maybe` digests that the run holds."""
    first = np.searchsorted(run.high, high[maybe], side="left")
    for at, place in zip(maybe.tolist(), first.tolist(), strict=True):
        while place < len(run) and run.high[place] == high[at]:
            if run.low[place] == low[at]:
                yield at, place
            place += 1
