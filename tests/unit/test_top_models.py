"""Which models are told apart, whoever invents names."""

from __future__ import annotations

from collections import Counter

from tables.latency.tally import OTHERS, Name
from tables.latency.top_models import EARNED_MIN, TopModels


class Asking:
    """TopModels, and what is counted under each name."""

    def __init__(self, limit: int) -> None:
        self.places = TopModels(limit)
        self.counts: Counter[Name] = Counter()
        self.lost: list[Name] = []

    def call(self, model: str, times: int = 1) -> None:
        for _ in range(times):
            name, lost = self.places.place(Name("p", model), lambda: self.counts)
            if lost is not None:
                self.lost.append(lost)
                self.counts[OTHERS] += self.counts.pop(lost, 0)
            self.counts[name] += 1


def test_the_first_get_a_place_at_once() -> None:
    asking = Asking(3)
    for model in "abcd":
        asking.call(model, 5)
    assert asking.counts == {Name("p", "a"): 5, Name("p", "b"): 5, Name("p", "c"): 5, OTHERS: 5}


def test_a_flood_of_inventions_moves_nobody_and_nothing_grows() -> None:
    asking = Asking(10)
    for model in "abcdefghij":
        asking.call(model, 20)
    for number in range(5_000):
        asking.call(f"invented-{number}")
    assert asking.lost == []
    assert asking.counts[OTHERS] == 5_000
    assert len(asking.places.candidates) <= 10


def test_a_model_that_comes_late_takes_the_lightest_place() -> None:
    asking = Asking(3)
    asking.call("heavy", 1_000)
    for number in range(50):
        asking.call(f"invented-{number}", 2)
    for number in range(1_000):
        asking.call("late")
        asking.call(f"more-{number}")
    assert asking.lost == [Name("p", "invented-0")]
    assert asking.counts[Name("p", "heavy")] == 1_000
    late = asking.counts[Name("p", "late")]
    assert 1_000 - 3 * EARNED_MIN < late < 1_000
    assert asking.counts.total() == 1_000 + 100 + 2_000


def test_who_is_called_as_often_as_the_lightest_must_wait() -> None:
    asking = Asking(1)
    asking.call("first", 500)
    asking.call("second", 999)
    assert asking.lost == []
    asking.call("second")
    assert asking.lost == [Name("p", "first")]
    asking.call("first", 1_999)
    assert asking.lost == [Name("p", "first")], "what it earned protects its place"


def test_what_has_changed_is_said_once() -> None:
    asking = Asking(1)
    asking.call("first")
    assert asking.places.changes() == ({Name("p", "first"): 0}, None)
    asking.call("second")
    assert asking.places.changes() == ({}, {Name("p", "second"): 1})
    assert asking.places.changes() == ({}, None)
    asking.call("second", EARNED_MIN)
    changed, candidates = asking.places.changes()
    assert changed == {Name("p", "first"): None, Name("p", "second"): EARNED_MIN}
    assert candidates == {}
