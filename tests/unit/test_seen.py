"""Which ids are remembered, and until when."""

from __future__ import annotations

import pytest
from usage_log import at, clock

from tables.seen import IdsByExpiry, SeenIds, StoredIds, expiry_of
from tables.window import HOUR_MS, Rules


def digest(event_id: str) -> bytes:
    """Sixteen bytes a person can read."""
    return event_id.encode().ljust(16, b".")


def names(seen: SeenIds) -> list[str]:
    """The ids that are remembered."""
    return sorted(one.rstrip(b".").decode() for one in seen.recent)


def counted(seen: SeenIds, chunk: int, **expiry_ms: int) -> StoredIds:
    """One chunk that counts these ids; what is stored of it."""
    ids: IdsByExpiry = {}
    for number, (event_id, expiry) in enumerate(expiry_ms.items()):
        seen.recent[digest(event_id)] = (chunk * 100 + number).to_bytes(8)
        seen.bucket(ids, expiry).append(digest(event_id))
    return seen.keep(chunk, ids)


@pytest.mark.parametrize(
    ("event_at", "watermark", "grace_ms", "expiry"),
    [
        ("10:30", "10:30", 300_000, "2025-01-16T12:00"),  # the hour closes at 11:05
        ("10:30", "11:59:59.999", 300_000, "2025-01-16T12:00"),
        ("10:30", "12:00", 300_000, "2025-01-16T12:00"),
        ("10:30", "12:00:00.001", 300_000, "2025-01-16T13:00"),  # late: from its arrival
        ("10:30", "10:30", 0, "2025-01-16T11:00"),
    ],
)
def test_an_id_lives_to_the_full_hour_a_day_after_its_hour_closed(
    event_at: str, watermark: str, grace_ms: int, expiry: str
) -> None:
    assert clock(expiry_of(at(event_at), at(watermark), Rules(grace_ms=grace_ms))) == expiry


def test_ids_are_forgotten_when_the_watermark_reaches_their_time() -> None:
    seen = SeenIds()
    counted(seen, 0, a=HOUR_MS, b=2 * HOUR_MS)
    assert seen.next_expiry_ms == HOUR_MS
    assert seen.forget(HOUR_MS - 1) == []
    assert names(seen) == ["a", "b"]
    assert seen.forget(HOUR_MS) == []
    assert names(seen) == ["b"]
    assert seen.forget(5 * HOUR_MS) == [0]
    assert len(seen) == 0
    assert SeenIds().next_expiry_ms is None


def test_restoring_what_was_stored_gives_the_same_memory() -> None:
    seen, twin = SeenIds(), SeenIds()
    stored = {chunk: counted(seen, chunk, **{f"a{chunk}": HOUR_MS * (chunk + 1), "z": 9 * HOUR_MS}) for chunk in (0, 1)}
    for chunk, ids in stored.items():
        twin.restore(chunk, ids, watermark_ms=0)
    assert twin.recent == seen.recent
    for watermark_ms in (HOUR_MS, 2 * HOUR_MS, 9 * HOUR_MS):
        assert sorted(twin.forget(watermark_ms)) == sorted(seen.forget(watermark_ms))
        assert twin.recent == seen.recent


def test_restoring_leaves_out_ids_whose_time_has_come() -> None:
    seen = SeenIds()
    old = counted(seen, 0, x=HOUR_MS, y=3 * HOUR_MS)
    seen.forget(HOUR_MS)
    new = counted(seen, 1, x=4 * HOUR_MS)
    twin = SeenIds()
    twin.restore(0, old, watermark_ms=HOUR_MS)
    twin.restore(1, new, watermark_ms=HOUR_MS)
    assert twin.recent == seen.recent == {digest("x"): (100).to_bytes(8), digest("y"): (1).to_bytes(8)}
    assert twin.forget(3 * HOUR_MS) == [0]


def test_ids_that_expired_within_their_chunk_are_not_stored() -> None:
    seen, ids = SeenIds(), IdsByExpiry()
    for event_id, expiry_ms in (("a", HOUR_MS), ("b", 2 * HOUR_MS)):
        seen.recent[digest(event_id)] = bytes(8)
        seen.bucket(ids, expiry_ms).append(digest(event_id))
    seen.forget(HOUR_MS)
    assert seen.keep(0, ids) == {2 * HOUR_MS: (digest("b"), bytes(8))}


def test_a_chunk_without_ids_is_not_kept() -> None:
    seen = SeenIds()
    seen.keep(0, {})
    assert seen.forget(9 * HOUR_MS) == []
