"""The hashes of remembered ids (docs/adr/0027), written down a second time: what the library is held to."""

from __future__ import annotations

from functools import lru_cache

from plain_seen import Hashes
from xxhash import xxh64_intdigest

WORD = (1 << 64) - 1
BLOCK_BYTES, STEP = 512, 32


def turned(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & WORD


class Sip:
    """SipHash, after the paper's description. The key has 16 bytes."""

    def __init__(self, key: bytes, rounds: int = 2, last_rounds: int = 4) -> None:
        low, high = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
        self.rounds, self.last_rounds = rounds, last_rounds
        letters = b"somepseudorandomlygeneratedbytes"
        starts = [int.from_bytes(letters[at : at + 8], "big") for at in range(0, 32, 8)]
        self.v = [start ^ half for start, half in zip(starts, (low, high, low, high), strict=True)]

    def turn(self, rounds: int) -> None:
        v = self.v
        for _ in range(rounds):
            v[0], v[2] = (v[0] + v[1]) & WORD, (v[2] + v[3]) & WORD
            v[1], v[3] = turned(v[1], 13) ^ v[0], turned(v[3], 16) ^ v[2]
            v[0] = turned(v[0], 32)
            v[2], v[0] = (v[2] + v[1]) & WORD, (v[0] + v[3]) & WORD
            v[1], v[3] = turned(v[1], 17) ^ v[2], turned(v[3], 21) ^ v[0]
            v[2] = turned(v[2], 32)

    def text(self, text: bytes) -> None:
        padded = text + bytes(7 - len(text) % 8) + bytes([len(text) & 0xFF])
        for at in range(0, len(padded), 8):
            word = int.from_bytes(padded[at : at + 8], "little")
            self.v[3] ^= word
            self.turn(self.rounds)
            self.v[0] ^= word

    def end(self, mark: int) -> bytes:
        self.v[2] ^= mark
        self.turn(self.last_rounds)
        return (self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3]).to_bytes(8, "little")


def sip64(key: bytes, text: bytes) -> bytes:
    sip = Sip(key)
    sip.text(text)
    return sip.end(0xFF)


def sip128(key: bytes, text: bytes) -> bytes:
    sip = Sip(key)
    sip.v[1] ^= 0xEE
    sip.text(text)
    low = sip.end(0xEE)
    sip.v[1] ^= 0xDD
    return low + sip.end(0)


@lru_cache(maxsize=4096)
def derived(secret: bytes, number: int) -> bytes:
    return sip64(secret, number.to_bytes(8, "little"))


def nh(secret: bytes, block: bytes) -> bytes:
    """The sum of one block: (word + key) × (word + key), modulo 2^128."""
    padded = block + bytes(-len(block) % 16)
    words = [int.from_bytes(padded[at : at + 8], "little") for at in range(0, len(padded), 8)]
    keyed = [(word + int.from_bytes(derived(secret, 6 + number), "little")) & WORD for number, word in enumerate(words)]
    total = sum(one * other for one, other in zip(keyed[::2], keyed[1::2], strict=True))
    return (total & ((1 << 128) - 1)).to_bytes(16, "little")


@lru_cache(maxsize=50_000)
def digest_of(secret: bytes, event_id: bytes) -> bytes:
    """16 bytes. Without a secret: as it was stored before there were any."""
    if not secret:
        return b"".join(xxh64_intdigest(event_id, seed).to_bytes(8, "little") for seed in (0, 1))
    return sip128(derived(secret, 0) + derived(secret, 1), event_id)


@lru_cache(maxsize=50_000)
def print_of(secret: bytes, value: bytes) -> bytes:
    """8 bytes."""
    if not secret:
        return xxh64_intdigest(value).to_bytes(8, "little")
    key, sums = derived(secret, 2) + derived(secret, 3), list[bytes]()
    for at in range(0, len(value), BLOCK_BYTES):
        if len(sums) == STEP:
            sums = [sip128(key, b"".join(sums))]
        sums.append(nh(secret, value[at : at + BLOCK_BYTES]))
    return sip64(key, b"".join(sums) + len(value).to_bytes(16, "little"))


COMPILED = Hashes(digest_of, print_of)
