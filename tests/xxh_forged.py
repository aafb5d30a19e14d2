"""Texts that XXH64 takes for one another: it has no secret, so anybody can choose them."""

from __future__ import annotations

from functools import lru_cache

from xxhash import xxh64_intdigest

WORD = (1 << 64) - 1
P1, P2, P3, P4, P5 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
TWO_IDS_OF_ONE_DIGEST = ".iGyg:nY0lK:.kQs", "^,aU8:?L0lKVY;Qx"  # under the seeds 0 and 1; found in two seconds
LETTERS = bytes(set(range(0x21, 0x7F)) - set(b'"\\'))
_VISIBLE = bytes.maketrans(LETTERS, bytes(len(LETTERS)))


def turned(word: int, bits: int) -> int:
    return (word << bits | word >> (64 - bits)) & WORD


def times(word: int, factor: int) -> int:
    return word * factor & WORD


@lru_cache(maxsize=8)
def inverse(factor: int) -> int:
    return pow(factor, -1, 1 << 64)


def divided(word: int, factor: int) -> int:
    return word * inverse(factor) & WORD


def unshifted(word: int, bits: int) -> int:
    """The word that was, before `word ^= word >> bits`."""
    found = word
    for _ in range(64 // bits):
        found = word ^ found >> bits
    return found


def unmixed(word: int) -> int:
    return divided(turned(divided(word, P1), 33), P2)


def is_text(word: int) -> bool:
    """Whether the word's bytes are visible ASCII that JSON takes as it is."""
    return word.to_bytes(8, "little").translate(_VISIBLE) == bytes(8)


def text_of_hash(target: int) -> bytes:
    """The eight bytes whose XXH64 is this."""
    word = unshifted(target, 32)
    word = unshifted(divided(word, P3), 29)
    word = unshifted(divided(word, P2), 33)
    word = turned(divided(word - P4 & WORD, P1), 37)
    text = unmixed(word ^ (P5 + 8 & WORD)).to_bytes(8, "little")
    assert xxh64_intdigest(text) == target
    return text


def lane_before(text: bytes, at: int) -> int:
    """The state of the lane that the word at this place goes into. `at` is a multiple of eight."""
    lane = (P1 + P2 & WORD, P2, 0, -P1 & WORD)[at % 32 // 8]
    for place in range(at % 32, at, 32):
        lane = times(turned(lane + times(int.from_bytes(text[place : place + 8], "little"), P2) & WORD, 31), P1)
    return lane


def with_the_hash_of(text: bytes, other: bytes, at: int) -> bytes | None:
    """`other` with the word at this place changed, so that it has the hash of `text`; None when that is no text. They
    differ in the same lane before it only."""
    before, wanted = lane_before(other, at), lane_before(text, at)
    word = int.from_bytes(text[at : at + 8], "little")
    solved = (word + divided(wanted - before & WORD, P2)) & WORD
    if not is_text(solved):
        return None
    return other[:at] + solved.to_bytes(8, "little") + other[at + 8 :]
