"""One suite for the ids in a dict and the ids in arrays: the same answers, whatever the history."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from streamapp.runtime import seen_compact
from streamapp.runtime.seen_compact import CompactSeen
from streamapp.schemas.fingerprint import digest_of, print_of
from tables.seen import SeenIds, StoredIds
from tables.window import HOUR_MS

MAKERS: tuple[Callable[[], SeenIds], ...] = (SeenIds, CompactSeen)


def count(seen: SeenIds, chunk: int, names: list[str], expiry_ms: int) -> StoredIds:
    """Count ids as a chunk of the ledger does; what would be stored of them."""
    seen.settle()
    ids: dict[int, list[bytes]] = {}
    for name in names:
        seen.recent[digest_of(name)] = print_of(name.encode())
        seen.bucket(ids, expiry_ms).append(digest_of(name))
    return seen.keep(chunk, ids)


def known(seen: SeenIds, name: str, watermark_ms: int) -> bool:
    """Whether an id is remembered, as the ledger asks."""
    digest = digest_of(name)
    older = seen.look_up([digest])
    if digest in seen.recent:
        return seen.recent[digest] == print_of(name.encode())
    return (
        digest in older
        and older[digest] == (print_of(name.encode()), older[digest][1])
        and (older[digest][1] > watermark_ms)
    )


@pytest.mark.parametrize("make", MAKERS)
def test_an_id_is_known_until_its_time_and_not_longer(make: Callable[[], SeenIds]) -> None:
    seen = make()
    many = [f"first-{number}" for number in range(seen_compact.RECENT_MAX)]
    count(seen, 1, many, 10 * HOUR_MS)
    count(seen, 2, ["second"], 11 * HOUR_MS)  # the first chunk's are moved into a run before it
    assert known(seen, many[0], 9 * HOUR_MS)
    assert known(seen, many[-1], 9 * HOUR_MS)
    assert not known(seen, "never", 9 * HOUR_MS)
    assert seen.forget(10 * HOUR_MS) == [1]
    assert not known(seen, many[0], 10 * HOUR_MS)
    assert known(seen, "second", 10 * HOUR_MS)
    assert seen.forget(11 * HOUR_MS) == [2]
    assert not known(seen, "second", 11 * HOUR_MS)


@pytest.mark.parametrize("make", MAKERS)
def test_what_was_stored_is_remembered_again(make: Callable[[], SeenIds]) -> None:
    seen, again = make(), make()
    for chunk in range(5):
        stored = count(seen, chunk, [f"{chunk}-{number}" for number in range(9000)], (10 + chunk) * HOUR_MS)
        again.restore(chunk, stored, 10 * HOUR_MS)
    again.settle()
    assert not known(again, "0-7", 10 * HOUR_MS)  # its time had come
    assert all(known(again, f"{chunk}-8999", 10 * HOUR_MS) for chunk in range(1, 5))
    assert again.forget(12 * HOUR_MS) == [0, 1, 2]


def test_both_give_the_same_answers_over_a_long_history() -> None:
    rng = random.Random(7)
    plain, compact = SeenIds(), CompactSeen()
    watermark_ms = 0
    for chunk in range(60):
        watermark_ms += rng.randrange(HOUR_MS)
        assert sorted(plain.forget(watermark_ms)) == sorted(compact.forget(watermark_ms))
        expiry_ms = (watermark_ms // HOUR_MS + rng.randrange(1, 12)) * HOUR_MS
        fresh = [f"{chunk}-{number}" for number in range(rng.randrange(1, 4000))]
        again = [f"{rng.randrange(chunk + 1)}-{rng.randrange(4000)}" for _ in range(50)]
        new = [name for name in again if not known(plain, name, watermark_ms)]
        assert new == [name for name in again if not known(compact, name, watermark_ms)]
        names = list(dict.fromkeys([*fresh, *new]))
        names = [name for name in names if not known(plain, name, watermark_ms)]
        assert count(plain, chunk, names, expiry_ms) == count(compact, chunk, names, expiry_ms)


def test_a_million_ids_take_little_memory() -> None:
    seen = CompactSeen()
    for chunk in range(50):
        stored = {30 * HOUR_MS: (random.Random(chunk).randbytes(16 * 20_000), bytes(8 * 20_000))}
        seen.restore(chunk, stored, 0)
    seen.settle()
    arrays = sum(run.high.nbytes + run.low.nbytes + run.prints.nbytes + run.expiry_h.nbytes for run in seen._runs)
    assert len(seen) == 1_000_000
    assert arrays + seen._filter.nbytes < 32_500_000
