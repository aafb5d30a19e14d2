"""One suite for the ids in a dict, in the compiled table, and in its file: the same answers, whatever the history."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from streamapp.runtime.express.ids import CompactSeen
from streamapp.schemas.fingerprint import digest_of, print_of
from tables.seen import Counted, Seen, SeenIds, StoredIds
from tables.window import HOUR_MS


def on_disk() -> CompactSeen:
    """Nearly all of its ids are in a file."""
    with tempfile.TemporaryDirectory() as folder:  # the file has no name: it outlives its folder
        return CompactSeen(Path(folder), in_memory=100)


MAKERS: tuple[Callable[[], Seen], ...] = (SeenIds, CompactSeen, on_disk)


def count(seen: Seen, chunk: int, names: list[str], expiry_ms: int) -> StoredIds:
    """Count ids as a chunk of the ledger does; what would be stored of them."""
    for name in names:
        seen.add(digest_of(name), print_of(name.encode()), expiry_ms)
    return seen.keep(chunk)


def known(seen: Seen, name: str) -> bool:
    """Whether an id is remembered, with its fingerprint."""
    counted = seen.find(digest_of(name))
    return counted is not None and counted.print_ == print_of(name.encode())


@pytest.mark.parametrize("make", MAKERS)
def test_an_id_is_known_until_its_time_and_not_longer(make: Callable[[], Seen]) -> None:
    seen = make()
    many = [f"first-{number}" for number in range(20_000)]
    count(seen, 1, many, 10 * HOUR_MS)
    count(seen, 2, ["second"], 11 * HOUR_MS)
    assert all(known(seen, name) for name in many)
    assert seen.find(digest_of("second")) == Counted(print_of(b"second"), 11 * HOUR_MS)
    assert not known(seen, "never")
    assert (seen.next_expiry_ms, len(seen)) == (10 * HOUR_MS, 20_001)
    assert seen.forget(10 * HOUR_MS - 1) == []
    assert seen.forget(10 * HOUR_MS) == [1]
    assert not any(known(seen, name) for name in many)
    assert known(seen, "second")
    assert (seen.next_expiry_ms, len(seen)) == (11 * HOUR_MS, 1)
    assert seen.forget(11 * HOUR_MS) == [2]
    assert not known(seen, "second")
    assert (seen.next_expiry_ms, len(seen)) == (None, 0)


@pytest.mark.parametrize("make", MAKERS)
def test_what_was_stored_is_remembered_again(make: Callable[[], Seen]) -> None:
    seen, again = make(), make()
    for chunk in range(5):
        stored = count(seen, chunk, [f"{chunk}-{number}" for number in range(9000)], (10 + chunk) * HOUR_MS)
        again.restore(chunk, stored, 10 * HOUR_MS)
    assert not known(again, "0-7")  # its time had come
    assert all(known(again, f"{chunk}-8999") for chunk in range(1, 5))
    assert again.keep(9) == {}, "what was restored is stored already"
    assert again.forget(12 * HOUR_MS) == [0, 1, 2]


@pytest.mark.parametrize("make", MAKERS)
def test_restoring_leaves_out_ids_whose_time_has_come(make: Callable[[], Seen]) -> None:
    seen, again = make(), make()
    seen.add(digest_of("x"), print_of(b"x"), 1 * HOUR_MS)
    old = count(seen, 0, ["y"], 3 * HOUR_MS)
    seen.forget(1 * HOUR_MS)
    new = count(seen, 1, ["x"], 4 * HOUR_MS)
    again.restore(0, old, 1 * HOUR_MS)
    again.restore(1, new, 1 * HOUR_MS)
    assert again.find(digest_of("x")) == Counted(print_of(b"x"), 4 * HOUR_MS)
    assert again.find(digest_of("y")) == Counted(print_of(b"y"), 3 * HOUR_MS)
    assert again.forget(3 * HOUR_MS) == [0]


@pytest.mark.parametrize("make", MAKERS)
def test_a_chunk_without_ids_is_not_kept(make: Callable[[], Seen]) -> None:
    seen = make()
    assert seen.keep(0) == {}
    assert seen.forget(9 * HOUR_MS) == []


@pytest.mark.parametrize("make", MAKERS)
def test_what_expires_within_its_chunk_is_not_stored(make: Callable[[], Seen]) -> None:
    seen = make()
    seen.add(digest_of("a"), print_of(b"a"), 2 * HOUR_MS)
    seen.add(digest_of("b"), print_of(b"b"), 1 * HOUR_MS)
    seen.add(digest_of("c"), print_of(b"c"), 2 * HOUR_MS)
    assert seen.forget(1 * HOUR_MS) == []
    assert seen.keep(7) == {2 * HOUR_MS: (digest_of("a") + digest_of("c"), print_of(b"a") + print_of(b"c"))}


def test_ids_beyond_the_number_in_memory_are_on_disk(tmp_path: Path) -> None:
    seen = CompactSeen(tmp_path, in_memory=1000)
    count(seen, 1, [f"id-{number}" for number in range(50_000)], 10 * HOUR_MS)
    assert len(seen) == 50_000
    assert seen.in_memory < 2000
    assert list(tmp_path.iterdir()) == [], "the file has no name: nobody else sees it, and it goes with the process"


def test_ids_stay_in_memory_where_no_file_can_be_made(tmp_path: Path) -> None:
    seen = CompactSeen(tmp_path / "nowhere", in_memory=1000)
    count(seen, 1, [f"id-{number}" for number in range(5000)], 10 * HOUR_MS)
    assert (len(seen), seen.in_memory) == (5000, 5000)


@pytest.mark.parametrize("make", MAKERS[1:])
def test_all_give_the_same_answers_over_a_long_history(make: Callable[[], Seen]) -> None:
    rng = random.Random(7)
    plain, compact = SeenIds(), make()
    watermark_ms = 0
    for chunk in range(60):
        watermark_ms += rng.randrange(HOUR_MS)
        assert sorted(plain.forget(watermark_ms)) == sorted(compact.forget(watermark_ms))
        expiry_ms = (watermark_ms // HOUR_MS + rng.randrange(1, 12)) * HOUR_MS
        fresh = [f"{chunk}-{number}" for number in range(rng.randrange(1, 4000))]
        again = [f"{rng.randrange(chunk + 1)}-{rng.randrange(4000)}" for _ in range(50)]
        for name in again:
            assert plain.find(digest_of(name)) == compact.find(digest_of(name))
        new = [name for name in dict.fromkeys(fresh + again) if not known(plain, name)]
        assert count(plain, chunk, new, expiry_ms) == count(compact, chunk, new, expiry_ms)
        assert (len(plain), plain.next_expiry_ms) == (len(compact), compact.next_expiry_ms)
