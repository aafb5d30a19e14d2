"""Remembered ids in a dict: what the compiled ones (`streamapp/lane/ids.py`) are compared with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from tables.seen import DIGEST_BYTES, PRINT_BYTES, SECRET_BYTES, IdsByExpiry, Known, Seen


class Hashes(NamedTuple):
    """Secret and id → digest; secret and record value → fingerprint. An empty secret is no secret."""

    digest: Callable[[bytes, bytes], bytes]
    print_: Callable[[bytes, bytes], bytes]


def _blake2b(size: int) -> Callable[[bytes, bytes], bytes]:
    return lambda secret, text: hashlib.blake2b(text, key=secret, digest_size=size).digest()


BLAKE2 = Hashes(_blake2b(DIGEST_BYTES), _blake2b(PRINT_BYTES))


class SeenIds(Seen):
    """Two hundred bytes each."""

    def __init__(self, secret: bytes = bytes(SECRET_BYTES), hashes: Hashes = BLAKE2) -> None:
        super().__init__(secret)
        self._hashes = hashes
        self._counted: dict[tuple[bytes, bytes], bytes] = {}  # secret and digest → fingerprint
        self._by_expiry: dict[int, list[tuple[bytes, bytes]]] = {}
        self._new: dict[int, list[bytes]] = {}  # digests, since the last chunk was kept
        self._others: dict[bytes, int] = {}  # other secrets → when the last of their ids expires

    def look(self, event_id: str, value: bytes) -> Known:
        name = event_id.encode()
        for secret in (self.secret, *self._others):
            print_ = self._counted.get((secret, self._hashes.digest(secret, name)))
            if print_ is not None:
                return Known.SAME if print_ == self._hashes.print_(secret, value) else Known.OTHER
        return Known.NEW

    def digest(self, event_id: str) -> bytes:
        return self._hashes.digest(self.secret, event_id.encode())

    def add(self, event_id: str, value: bytes, expiry_ms: int) -> None:
        digest = self.digest(event_id)
        self._remember(self.secret, digest, self._hashes.print_(self.secret, value), expiry_ms)
        self._new.setdefault(expiry_ms, []).append(digest)

    def _remember(self, secret: bytes, digest: bytes, print_: bytes, expiry_ms: int) -> None:
        self._counted[secret, digest] = print_
        self._by_expiry.setdefault(expiry_ms, []).append((secret, digest))

    def _take(self) -> IdsByExpiry:
        new, self._new = self._new, {}
        return {
            expiry_ms: (b"".join(digests), b"".join(self._counted[self.secret, digest] for digest in digests))
            for expiry_ms, digests in new.items()
        }

    def _put_back(self, secret: bytes, digests: bytes, prints: bytes, expiry_ms: int) -> None:
        if secret != self.secret:
            self._others[secret] = max(expiry_ms, self._others.get(secret, 0))
        for at in range(len(digests) // DIGEST_BYTES):
            digest = digests[at * DIGEST_BYTES : (at + 1) * DIGEST_BYTES]
            self._remember(secret, digest, prints[at * PRINT_BYTES : (at + 1) * PRINT_BYTES], expiry_ms)

    def _first_expiry_ms(self) -> int | None:
        return min(self._by_expiry, default=None)

    def _drop(self, watermark_ms: int) -> None:
        for expiry_ms in [e for e in self._by_expiry if e <= watermark_ms]:
            for name in self._by_expiry.pop(expiry_ms):
                del self._counted[name]
            self._new.pop(expiry_ms, None)
        self._others = {secret: until_ms for secret, until_ms in self._others.items() if until_ms > watermark_ms}

    def __len__(self) -> int:
        return len(self._counted)
