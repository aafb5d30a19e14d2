"""One suite for the ids in a dict, in the compiled table, and in its file: the same answers, whatever the history."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hash_model import COMPILED, digest_of, print_of
from plain_seen import SeenIds

from streamapp.lane.ids import CompactSeen
from tables.seen import Known, Seen, StoredIds
from tables.window import HOUR_MS

SECRET, OTHER, NONE = b"sixteen letters!", b"of somebody else", b""


def in_a_dict(secret: bytes = SECRET) -> SeenIds:
    return SeenIds(secret, COMPILED)


def in_memory(secret: bytes = SECRET) -> CompactSeen:
    return CompactSeen(secret)


def on_disk(secret: bytes = SECRET) -> CompactSeen:
    """Nearly all of its ids are in a file."""
    with tempfile.TemporaryDirectory() as folder:  # the file has no name: it outlives its folder
        return CompactSeen(secret, Path(folder), in_memory=100)


MAKERS: tuple[Callable[..., Seen], ...] = (in_a_dict, in_memory, on_disk)
each = pytest.mark.parametrize("make", MAKERS)


def value(name: str) -> bytes:
    """The bytes of the event of this id."""
    return b"an event of " + name.encode()


def count(seen: Seen, chunk: int, names: list[str], expiry_ms: int) -> StoredIds | None:
    """Count ids as a chunk of the ledger does; what would be stored of them."""
    for name in names:
        seen.add(name, value(name), expiry_ms)
    return seen.keep(chunk)


def stored(secret: bytes, names: list[str], expiry_ms: int) -> StoredIds:
    """A row as somebody with this secret has stored it; without one, as earlier versions did."""
    digests = b"".join(digest_of(secret, name.encode()) for name in names)
    return StoredIds(secret, {expiry_ms: (digests, b"".join(print_of(secret, value(name)) for name in names))})


def known(seen: Seen, name: str) -> bool:
    """Whether an id is remembered, with its fingerprint."""
    return seen.look(name, value(name)) == Known.SAME


@each
def test_an_id_is_known_until_its_time_and_not_longer(make: Callable[..., Seen]) -> None:
    seen = make()
    many = [f"first-{number}" for number in range(2_000)]
    count(seen, 1, many, 10 * HOUR_MS)
    count(seen, 2, ["second"], 11 * HOUR_MS)
    assert all(known(seen, name) for name in many)
    assert seen.look("second", b"other bytes") == Known.OTHER
    assert seen.look("never", b"") == Known.NEW
    assert (seen.next_expiry_ms, len(seen)) == (10 * HOUR_MS, 2_001)
    assert seen.forget(10 * HOUR_MS - 1) == []
    assert seen.forget(10 * HOUR_MS) == [1]
    assert not any(known(seen, name) for name in many)
    assert known(seen, "second")
    assert (seen.next_expiry_ms, len(seen)) == (11 * HOUR_MS, 1)
    assert seen.forget(11 * HOUR_MS) == [2]
    assert not known(seen, "second")
    assert (seen.next_expiry_ms, len(seen)) == (None, 0)


@each
def test_what_was_stored_is_remembered_again(make: Callable[..., Seen]) -> None:
    seen, again = make(), make()
    for chunk in range(5):
        row = count(seen, chunk, [f"{chunk}-{number}" for number in range(900)], (10 + chunk) * HOUR_MS)
        assert row is not None
        again.restore(chunk, row, 10 * HOUR_MS)
    assert not known(again, "0-7")  # its time had come
    assert all(known(again, f"{chunk}-899") for chunk in range(1, 5))
    assert again.keep(9) is None, "what was restored is stored already"
    assert again.forget(12 * HOUR_MS) == [0, 1, 2]


@each
@pytest.mark.parametrize("secret", [NONE, OTHER], ids=["before there were secrets", "another secret"])
def test_ids_under_another_secret_are_known_until_their_time(make: Callable[..., Seen], secret: bytes) -> None:
    seen = make()
    names = [f"old-{number}" for number in range(500)]
    seen.restore(1, stored(secret, names, 10 * HOUR_MS), 0)
    seen.restore(2, stored(secret, ["older"], 9 * HOUR_MS), 0)
    count(seen, 3, ["new"], 11 * HOUR_MS)
    assert all(known(seen, name) for name in [*names, "older", "new"])
    assert seen.look("old-7", b"other bytes") == Known.OTHER
    assert seen.look("old-500", value("old-500")) == Known.NEW
    assert sorted(seen.forget(9 * HOUR_MS)) == [2]
    assert known(seen, "old-7")
    assert not known(seen, "older")
    assert seen.forget(10 * HOUR_MS) == [1]
    assert not any(known(seen, name) for name in names)
    assert known(seen, "new")


def test_other_secrets_are_asked_only_as_long_as_ids_are_under_them() -> None:
    seen = CompactSeen(SECRET)
    for chunk, secret in enumerate((NONE, OTHER, SECRET, OTHER)):
        seen.restore(chunk, stored(secret, [f"id-{chunk}"], (10 + chunk) * HOUR_MS), 0)
    assert seen.secrets == 3
    seen.forget(10 * HOUR_MS)
    assert seen.secrets == 2
    seen.forget(13 * HOUR_MS)
    assert (seen.secrets, len(seen)) == (1, 0)


@each
def test_restoring_leaves_out_ids_whose_time_has_come(make: Callable[..., Seen]) -> None:
    seen, again = make(), make()
    seen.add("x", value("x"), 1 * HOUR_MS)
    old = count(seen, 0, ["y"], 3 * HOUR_MS)
    seen.forget(1 * HOUR_MS)
    new = count(seen, 1, ["x"], 4 * HOUR_MS)
    assert old is not None
    assert new is not None
    again.restore(0, old, 1 * HOUR_MS)
    again.restore(1, new, 1 * HOUR_MS)
    assert again.forget(3 * HOUR_MS) == [0]
    assert known(again, "x")
    assert not known(again, "y")
    assert again.next_expiry_ms == 4 * HOUR_MS


@each
def test_a_chunk_without_ids_is_not_kept(make: Callable[..., Seen]) -> None:
    seen = make()
    assert seen.keep(0) is None
    assert seen.forget(9 * HOUR_MS) == []


@each
def test_what_expires_within_its_chunk_is_not_stored(make: Callable[..., Seen]) -> None:
    seen = make()
    seen.add("a", value("a"), 2 * HOUR_MS)
    seen.add("b", value("b"), 1 * HOUR_MS)
    seen.add("c", value("c"), 2 * HOUR_MS)
    assert seen.forget(1 * HOUR_MS) == []
    assert seen.keep(7) == stored(SECRET, ["a", "c"], 2 * HOUR_MS)


def test_ids_beyond_the_number_in_memory_are_on_disk(tmp_path: Path) -> None:
    seen = CompactSeen(SECRET, tmp_path, in_memory=1000)
    count(seen, 1, [f"id-{number}" for number in range(50_000)], 10 * HOUR_MS)
    assert len(seen) == 50_000
    assert seen.in_memory < 2000
    assert list(tmp_path.iterdir()) == [], "the file has no name: nobody else sees it, and it goes with the process"


def test_ids_stay_in_memory_where_no_file_can_be_made(tmp_path: Path) -> None:
    seen = CompactSeen(SECRET, tmp_path / "nowhere", in_memory=1000)
    count(seen, 1, [f"id-{number}" for number in range(5000)], 10 * HOUR_MS)
    assert (len(seen), seen.in_memory) == (5000, 5000)


@pytest.mark.parametrize("make", MAKERS[1:])
def test_all_give_the_same_answers_over_a_long_history(make: Callable[..., Seen]) -> None:
    rng = random.Random(7)
    plain, compact = in_a_dict(), make()
    watermark_ms = 0
    for chunk in range(40):
        watermark_ms += rng.randrange(HOUR_MS)
        assert sorted(plain.forget(watermark_ms)) == sorted(compact.forget(watermark_ms))
        expiry_ms = (watermark_ms // HOUR_MS + rng.randrange(1, 12)) * HOUR_MS
        fresh = [f"{chunk}-{number}" for number in range(rng.randrange(1, 400))]
        again = [f"{rng.randrange(chunk + 1)}-{rng.randrange(400)}" for _ in range(50)]
        for name in again:
            assert plain.look(name, value(name)) == compact.look(name, value(name))
        foreign = stored(rng.choice([NONE, OTHER]), [f"foreign-{chunk}-{n}" for n in range(20)], expiry_ms)
        for seen in (plain, compact):
            seen.restore(1000 + chunk, foreign, watermark_ms)
        name = f"foreign-{rng.randrange(chunk + 1)}-{rng.randrange(20)}"
        assert plain.look(name, value(name)) == compact.look(name, value(name))
        new = [name for name in dict.fromkeys(fresh + again) if not known(plain, name)]
        assert count(plain, chunk, new, expiry_ms) == count(compact, chunk, new, expiry_ms)
        assert (len(plain), plain.next_expiry_ms) == (len(compact), compact.next_expiry_ms)
