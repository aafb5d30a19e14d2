"""Whatever happens between the questions of a look: lag is never below zero and never wrong, and a date is exact."""

from __future__ import annotations

import random
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st
from searches import is_long, search

from streamapp.kafka.groups import GroupSeen, Member, Seen
from streamapp.watch.dates import EXACT_MS, Dates
from streamapp.watch.lag import Memory, Watched, step

A = ("events", 0)
ONE = Watched("g", "events", 1, 86_400_000, markers=2)
MEMBER = Member("client", "host", b"", (A,))
HISTORIES = 10_000 if is_long() else 1_000
NOW_MS = 1_800_000_000_000


class Log:
    """One partition and one group, moved at random."""

    def __init__(self, random_: random.Random) -> None:
        self.random = random_
        self.start = self.end = self.lost = self.done = 0
        self.committed: int | None = None

    def move(self) -> None:
        what = self.random.randrange(5)
        if what <= 1:
            self.end += self.random.randrange(5)
        elif what <= 3:
            self.committed = self.random.randint(max(self.start, self.committed or 0), self.end)
            self.done = max(self.done, self.committed)
        else:
            new = self.random.randint(self.start, self.end)
            self.lost += max(0, new - max(self.start, self.done))
            self.start = new

    def moves(self) -> None:
        for _ in range(self.random.randrange(3)):
            self.move()


def test_ten_thousand_interleavings_of_commits_appends_and_retention() -> None:
    random_ = random.Random(14)
    for _ in range(HISTORIES):
        log, memory, now_ms, counted = Log(random_), Memory(), 0, 0
        log.move()
        for _ in range(random_.randrange(1, 4)):
            log.moves()
            start = log.start
            log.moves()
            committed, end_then, start_then = log.committed, log.end, log.start
            log.moves()
            group = GroupSeen("Stable", (MEMBER,), {} if committed is None else {A: committed})
            now_ms += random_.randrange(1, 60_000)
            memory, series = step([ONE], memory, Seen({"g": group}, {A: start}, {A: log.end}), now_ms)
            found = series.groups["g"].partitions[A]
            true_then = end_then - max(start_then, committed or 0)
            assert found.lag >= 0
            assert found.lag >= true_then or found.first is None  # settled: at most two ends of transactions
            assert found.lag <= log.end - max(start, committed or 0)
            assert counted <= found.expired <= log.lost
            counted = found.expired


@search(800)
@given(
    st.lists(st.tuples(st.integers(-3_000, 90_000), st.booleans()), min_size=1, max_size=40),
    st.integers(0, 40),
    st.integers(0, 10**9),
)
def test_a_date_is_that_of_the_record_or_of_the_latest_before_it(
    steps: list[tuple[int, bool]], wanted: int, age_ms: int
) -> None:
    times = list(accumulate((step for step, _ in steps), initial=NOW_MS - age_ms))
    there = {offset: times[offset] for offset in range(len(times)) if offset == 0 or steps[offset - 1][1]}
    offset = min(wanted, len(times) - 1)
    search, rounds = Dates({("g", A): offset}, NOW_MS), 0
    while asks := search.asks():
        at = asks[0][A]
        first = next(((place, time) for place, time in sorted(there.items()) if time >= at), (-1, -1))
        search.told([{A: first}])
        rounds += 1
    latest = max(time for place, time in there.items() if place <= offset)
    found = search.found()["g", A]
    exact = there.get(offset)
    assert found == exact or min(latest, NOW_MS) - EXACT_MS <= found <= latest
    assert rounds <= 40


def test_a_date_that_is_known_is_not_asked_again_and_narrows_the_next_search() -> None:
    target = ("g", A)
    assert not Dates({target: 7}, NOW_MS, {target: (7, 5)}).asks()
    assert Dates({target: 7}, NOW_MS, {target: (7, 5)}).found() == {target: 5}
    near = Dates({target: 9}, NOW_MS, {target: (7, NOW_MS - 4000)})
    rounds = 0
    while asks := near.asks():
        near.told([{A: (9, NOW_MS - 2000) if asks[0][A] <= NOW_MS - 2000 else (-1, -1)}])
        rounds += 1
    assert near.found() == {target: NOW_MS - 2000}
    assert rounds <= 3


def test_what_kafka_does_not_answer_has_no_date() -> None:
    search = Dates({("g", A): 3}, NOW_MS)
    assert search.asks()
    search.told([{}])
    assert not search.asks()
    assert search.found() == {}


def test_records_without_timestamps_end_the_search() -> None:
    search = Dates({("g", A): 3}, NOW_MS)
    while search.asks():
        search.told([{A: (-1, -1)}])
    assert search.found() == {}
