"""When refusals stop the worker instead of filling the dead-letter topic."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streamapp.exact.partition.poison import WINDOW_RECORDS, PoisonFlood, PoisonLimit, counts_in
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.store.position import PoisonCounts
from tables.outcome import Refusal


def refusals(*offsets: int) -> list[Refusal]:
    """Of records whose timestamps are their offsets."""
    records = (SimpleNamespace(offset=offset, timestamp=offset, value=b"?") for offset in offsets)
    return [Refusal(record, "malformed_json", "it is not JSON") for record in records]


def test_so_many_in_a_row_stop_the_worker_over_the_borders_of_chunks() -> None:
    limit = PoisonLimit(ratio=1.0, consecutive=5)
    limit.check(4, 3, refusals(1, 2, 3))
    limit.check(2, 5, refusals(4, 5))
    with pytest.raises(PoisonFlood, match=r"6 records in a row were refused .*malformed_json"):
        limit.check(1, 6, refusals(6))


def test_a_good_record_between_them_starts_the_count_again() -> None:
    limit = PoisonLimit(ratio=1.0, consecutive=3)
    for start in range(0, 100, 4):
        limit.check(4, start + 3, refusals(start, start + 1, start + 2))
    limit.check(4, 103, refusals(101, 102, 103))


def test_batches_that_cannot_be_read_follow_each_other_though_they_cover_many_offsets() -> None:
    limit = PoisonLimit(ratio=1.0, consecutive=5)
    batches = [UnreadableBatch.of(b"", first, first + 9, "is damaged") for first in range(0, 60, 10)]
    lost = [
        Refusal(SimpleNamespace(offset=one.last, timestamp=0, value=one), "unreadable_batch", one.error)
        for one in batches
    ]
    limit.check(5, 49, lost[:5])
    with pytest.raises(PoisonFlood, match="6 records in a row"):
        limit.check(1, 59, lost[5:])


def test_a_share_of_the_last_records_stops_the_worker_and_old_ones_do_not_count() -> None:
    limit = PoisonLimit(ratio=0.5, consecutive=WINDOW_RECORDS)
    half = WINDOW_RECORDS // 2
    limit.check(half, half - 1, refusals(*range(half - 1)))  # nearly all bad, but too few to judge by
    limit.check(WINDOW_RECORDS, half + WINDOW_RECORDS - 1, [])
    limit.check(WINDOW_RECORDS, half + 2 * WINDOW_RECORDS - 1, refusals(*range(half)))
    with pytest.raises(PoisonFlood, match=f"{half + 1} of the last {WINDOW_RECORDS} records"):
        limit.check(WINDOW_RECORDS, half + 3 * WINDOW_RECORDS - 1, refusals(*range(half + 1)))


def test_the_next_owner_goes_on_counting_in_a_row() -> None:
    first = PoisonLimit(ratio=1.0, consecutive=5)
    first.check(4, 3, refusals(0, 1, 2, 3))
    second = PoisonLimit(1.0, 5, counts=first.counts)
    second.check(1, 4, refusals(4))
    for _ in range(3):  # what goes over is not counted: nothing of its chunk has happened
        third = PoisonLimit(1.0, 5, counts=second.counts)
        with pytest.raises(PoisonFlood, match="7 records in a row"):
            third.check(2, 6, refusals(5, 6))


def test_the_next_owner_goes_on_counting_the_share() -> None:
    limit, offset, chunk = PoisonLimit(0.5, WINDOW_RECORDS), 0, 1000
    for _ in range(WINDOW_RECORDS // chunk - 1):
        limit.check(chunk, offset + chunk - 1, refusals(*range(offset, offset + chunk // 2 + 1)))
        offset += chunk
        limit = PoisonLimit(0.5, WINDOW_RECORDS, counts=limit.counts)
        assert len(limit.counts.slices) <= 12, "the position row stays small"
    with pytest.raises(PoisonFlood, match=f"of the last {WINDOW_RECORDS} records"):
        limit.check(chunk, offset + chunk - 1, refusals(*range(offset, offset + chunk // 2 + 1)))


def test_what_a_person_accepted_does_not_count_and_what_comes_behind_does() -> None:
    before = PoisonLimit(ratio=1.0, consecutive=5)
    before.check(5, 4, refusals(0, 1, 2, 3, 4))
    with pytest.raises(PoisonFlood, match=r"POISON_ACCEPTED_UNTIL=1970-01-01T00:00:00\.005Z"):
        before.check(1, 5, refusals(5))
    accepted = PoisonLimit(1.0, 5, accepted_until_ms=100, counts=before.counts)
    accepted.check(100, 99, refusals(*range(99)))
    accepted.check(6, 105, refusals(*range(100, 106)))  # the first one is accepted, too
    with pytest.raises(PoisonFlood, match="6 records in a row"):
        accepted.check(1, 106, refusals(106))


def test_an_older_acceptance_does_not_forget_what_was_counted_since() -> None:
    limit = PoisonLimit(1.0, 5, accepted_until_ms=100)
    limit.check(5, 205, refusals(201, 202, 203, 204, 205))
    again = PoisonLimit(1.0, 5, accepted_until_ms=100, counts=limit.counts)
    with pytest.raises(PoisonFlood, match="6 records in a row"):
        again.check(1, 206, refusals(206))


def test_counts_of_an_earlier_release_are_read_and_other_metadata_is_none() -> None:
    assert counts_in("[5,7002,[[7000,2],[3,3]]]") == PoisonCounts(5, 7002, ((7000, 2), (3, 3)))
    assert [counts_in(note) for note in ("", "somebody", "7", "[]", '["x"]', "{}")] == [
        None, None, None, PoisonCounts(), None, None,
    ]  # fmt: skip
