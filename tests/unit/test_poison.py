"""When refusals stop the worker instead of filling the dead-letter topic."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streamapp.runtime.poison import WINDOW_RECORDS, PoisonFlood, PoisonLimit
from tables.outcome import Refusal


def refusals(*offsets: int) -> list[Refusal]:
    return [Refusal(SimpleNamespace(offset=offset), "malformed_json", "it is not JSON") for offset in offsets]


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


def test_a_share_of_the_last_records_stops_the_worker_and_old_ones_do_not_count() -> None:
    limit = PoisonLimit(ratio=0.5, consecutive=WINDOW_RECORDS)
    half = WINDOW_RECORDS // 2
    limit.check(half, half - 1, refusals(*range(half - 1)))  # nearly all bad, but too few to judge by
    limit.check(WINDOW_RECORDS, half + WINDOW_RECORDS - 1, [])
    limit.check(WINDOW_RECORDS, half + 2 * WINDOW_RECORDS - 1, refusals(*range(half)))
    with pytest.raises(PoisonFlood, match=f"{half + 1} of the last {WINDOW_RECORDS} records"):
        limit.check(WINDOW_RECORDS, half + 3 * WINDOW_RECORDS - 1, refusals(*range(half + 1)))
