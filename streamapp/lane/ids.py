"""Remembered ids in thirty bytes each, and those beyond a number of them in a file."""

from __future__ import annotations

import ctypes
import os
import weakref
from pathlib import Path

from streamapp.errors import Misconfigured, Unavailable
from streamapp.lane.library import Stored, library
from tables.seen import DIGEST_BYTES, PRINT_BYTES, IdsByExpiry, Known, Seen
from tables.window import HOUR_MS

_MARK_BYTES = DIGEST_BYTES + PRINT_BYTES
_UNREADABLE, _MALFORMED = -1, -1  # as in `ids.h`
EXPIRIES_MAX = 4096  # as in `ids.h`: different expiries at a time
IN_MEMORY = 250_000  # ids of a partition; eight such partitions take 70 MB


class CompactSeen(Seen):
    """Millions of ids in a fraction of the memory that Python's objects take. Expiries are full hours.

    96 bits of a digest are compared; all 128 are stored. When more than `in_memory` ids are
    there, they go to a file in `folder`, which nobody else sees and which goes with the process; without a folder all
    stay in memory. Raises `Unavailable` when that file cannot be read, `Misconfigured` for stored ids that are damaged.
    """

    def __init__(self, secret: bytes, folder: Path | None = None, in_memory: int = IN_MEMORY) -> None:
        super().__init__(secret)
        self._library = library()
        where = None if folder is None else os.fsencode(folder)
        self.handle = _allocated(self._library.ids_new(secret, where, in_memory))
        weakref.finalize(self, self._library.ids_free, self.handle)

    def look(self, event_id: str, value: bytes) -> Known:
        return self._looked(event_id, value)[0]

    def digest(self, event_id: str) -> bytes:
        return self._looked(event_id, b"")[1][:DIGEST_BYTES]

    def _looked(self, event_id: str, value: bytes) -> tuple[Known, bytes]:
        name, mark = event_id.encode(), ctypes.create_string_buffer(_MARK_BYTES)
        known = self._library.ids_look(self.handle, name, len(name), value, len(value), mark)
        if known == _UNREADABLE:
            raise Unavailable("the file of remembered ids cannot be read; is the disk of STREAM_STATE_DIR sound?")
        return Known(known), mark.raw

    def add(self, event_id: str, value: bytes, expiry_ms: int) -> None:
        name = event_id.encode()
        add = self._library.ids_add_event
        _allocated(add(self.handle, name, len(name), value, len(value), _hour(expiry_ms)))

    def _take(self) -> IdsByExpiry:
        expiries = (ctypes.c_uint32 * EXPIRIES_MAX)()
        count = self._library.ids_expiries(self.handle, expiries, EXPIRIES_MAX)
        assert count <= EXPIRIES_MAX, "a chunk's ids expire at more different hours than there can be"
        stored = {expiry_h * HOUR_MS: self._logged(expiry_h) for expiry_h in expiries[:count]}
        self._library.ids_take_end(self.handle)
        return stored

    def _logged(self, expiry_h: int) -> tuple[bytes, bytes]:
        most = self._library.ids_logged(self.handle)
        digests = ctypes.create_string_buffer(most * DIGEST_BYTES)
        prints = ctypes.create_string_buffer(most * PRINT_BYTES)
        count = self._library.ids_take(self.handle, expiry_h, digests, prints)
        return digests.raw[: count * DIGEST_BYTES], prints.raw[: count * PRINT_BYTES]

    def _put_back(self, secret: bytes, digests: bytes, prints: bytes, expiry_ms: int) -> None:
        stored = Stored(secret, digests, prints, len(secret), len(digests), len(prints), _hour(expiry_ms))
        restored = self._library.ids_restore(self.handle, ctypes.byref(stored))
        if restored == _MALFORMED:
            raise Misconfigured(
                f"a stored row of remembered ids is damaged ({len(digests)} bytes of digests, {len(prints)} of "
                f"fingerprints, {len(secret)} of secret): restore the table's changelog"
            )
        _allocated(restored)

    def _first_expiry_ms(self) -> int | None:
        return self._library.ids_first_expiry(self.handle) * HOUR_MS or None

    def _drop(self, watermark_ms: int) -> None:
        if (first := self._first_expiry_ms()) is not None and first <= watermark_ms:
            _allocated(self._library.ids_forget(self.handle, watermark_ms // HOUR_MS))

    @property
    def in_memory(self) -> int:
        """How many of the ids are not in the file."""
        count: int = self._library.ids_in_memory(self.handle)
        return count

    @property
    def secrets(self) -> int:
        """How many secrets an id is looked for under."""
        count: int = self._library.ids_secrets(self.handle)
        return count

    def __len__(self) -> int:
        count: int = self._library.ids_count(self.handle)
        return count


def _hour(expiry_ms: int) -> int:
    assert expiry_ms % HOUR_MS == 0, "ids expire at full hours"
    return expiry_ms // HOUR_MS


def _allocated(result: int | None) -> int:
    if not result:
        raise MemoryError("no memory for remembered ids")
    return result
