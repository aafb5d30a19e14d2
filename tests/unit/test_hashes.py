"""The library's hashes: the vectors of their authors, and our own model of what is made of them."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable
from hashlib import sha256

import pytest
from hash_model import digest_of, nh, print_of, sip64, sip128

from streamapp.lane.ids import CompactSeen
from streamapp.lane.library import library
from tables.seen import StoredIds
from tables.window import HOUR_MS

KEY = bytes(range(16))
Sip = Callable[[bytes, bytes], bytes]


class Pair(ctypes.Structure):
    """`pair_t`."""

    _fields_ = (("low", ctypes.c_uint64), ("high", ctypes.c_uint64))


def compiled64(key: bytes, text: bytes) -> bytes:
    call = library()["sip64"]
    call.restype = ctypes.c_uint64
    return int(call(Pair.from_buffer_copy(key), text, ctypes.c_size_t(len(text)))).to_bytes(8, "little")


def compiled128(key: bytes, text: bytes) -> bytes:
    call = library()["sip128"]
    call.restype = Pair
    return bytes(call(Pair.from_buffer_copy(key), text, ctypes.c_size_t(len(text))))


@pytest.mark.parametrize("hashed", [sip64, compiled64], ids=["model", "library"])
def test_siphash_gives_what_its_authors_say(hashed: Sip) -> None:
    assert hashed(KEY, b"").hex() == "310e0edd47db6f72"
    assert hashed(KEY, bytes(range(15))).hex() == "e545be4961ca29a1"  # of the paper: a129ca6149be45e5


@pytest.mark.parametrize("hashed", [sip128, compiled128], ids=["model", "library"])
def test_siphash_of_128_bits_gives_what_its_authors_say(hashed: Sip) -> None:
    assert hashed(KEY, b"").hex() == "a3817f04ba25a8e66df67214c7550293"
    assert hashed(KEY, b"\0").hex() == "da87c1d86b99af44347659119b22fc45"


def test_the_library_and_the_model_agree_on_texts_of_every_length() -> None:
    rng = random.Random(1)
    for length in range(70):
        text = rng.randbytes(length)
        assert (compiled64(KEY, text), compiled128(KEY, text)) == (sip64(KEY, text), sip128(KEY, text))


def test_sha256_is_the_one_of_the_standard_library_at_every_length() -> None:
    rng = random.Random(3)
    for length in range(200):
        text, digest = rng.randbytes(length), ctypes.create_string_buffer(32)
        library()["sha256"](text, ctypes.c_size_t(length), digest)
        assert digest.raw == sha256(text).digest()


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 511, 512, 513, 520, 1024, 1025, 16383, 16384, 16400, 40_000])
def test_what_is_stored_of_an_event_is_what_the_model_says(length: int) -> None:
    rng = random.Random(length)
    secret, value = rng.randbytes(16), rng.randbytes(length)
    seen = CompactSeen(secret)
    seen.add("evt_1", value, HOUR_MS)
    assert seen.keep(0) == StoredIds(secret, {HOUR_MS: (digest_of(secret, b"evt_1"), print_of(secret, value))})


def test_a_changed_byte_changes_the_fingerprint_wherever_it_stands() -> None:
    value = random.Random(2).randbytes(1100)
    prints = {print_of(KEY, value)}
    for at in range(0, len(value), 37):
        prints.add(print_of(KEY, value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]))
    prints |= {print_of(KEY, value + bytes(count)) for count in range(1, 20)}
    assert len(prints) == 1 + 30 + 19
    assert nh(KEY, b"ab") == nh(KEY, b"ab" + bytes(3)), "the sum does not see zeros at the end; the length does"
