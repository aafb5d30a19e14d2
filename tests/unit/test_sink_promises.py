"""Batches that are promised before they are written: the owner may end at any step, each record is kept once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from memory_store import MemoryStore

from streamapp.errors import Misconfigured, Unavailable
from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.owned import LetGo
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.poison import PoisonLimit
from streamapp.lane.records import Records, Stretch, payload_of
from streamapp.sinks.destination import Destination, Sealed
from streamapp.sinks.marks import INTENT_KEY, Extent, Mark, marks
from streamapp.sinks.task import Bounds, SinkTask
from streamapp.store.rows import always_settled, stored_position
from tables.outcome import Refusal

PLACE = Place("audit-archive", "audit_log", 0, "id", 4, {"dead_letter": 1})
BOUNDS = Bounds(records=5, size_bytes=1000, age_ms=1000)


@dataclass(frozen=True)
class Rec:
    """A record of the log."""

    offset: int
    value: bytes | None
    timestamp: int = 0
    key: bytes | None = None
    headers: tuple[Any, ...] = ()


class Ended(Exception):
    """The process ends here."""


@dataclass
class Elsewhere(Destination[int]):
    """A sink in memory. Names are extents; a name is written once, or again with the same bytes."""

    kept: dict[Extent, tuple[int, ...]] = field(default_factory=dict)
    writes: int = 0
    away: int = 0  # so many answers fail
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def seal(self, place: Place, extent: Extent, rows: Sequence[int], state: bytes) -> Sealed:
        return Sealed(tuple(rows), state + bytes([len(rows)]))

    async def write(self, place: Place, extent: Extent, sealed: Sealed) -> None:
        self.asked.set()
        if self.away:
            self.away -= 1
            raise Unavailable("the sink is away")
        self.writes += 1
        assert self.kept.setdefault(extent, sealed.content) == sealed.content

    def rows(self) -> list[int]:
        return sorted(offset for rows in self.kept.values() for offset in rows)


def parted(place: Place, records: Sequence[Rec]) -> tuple[list[int], list[Refusal]]:
    """Good records are rows."""
    bad = [Refusal(record, "malformed_json", "bad") for record in records if record.value == b"bad"]
    return [record.offset for record in records if record.value != b"bad"], bad


@dataclass
class Owner:
    """One owner of the partition after the other, on the same store and sink. `lives` counts down the writes that
    happen until the process ends."""

    store: MemoryStore = field(default_factory=lambda: MemoryStore(always_settled))
    sink: Elsewhere = field(default_factory=Elsewhere)
    lives: int = 1 << 30
    offset: int = 0  # the group's
    letters: int = 0
    _checkpoint: int = 0

    async def commit(self, transaction: Transaction) -> int:
        self._step()
        self._checkpoint += 1
        if transaction.next_offset is not None:
            self.offset = transaction.next_offset
        self.letters += len(transaction.sends)
        self.store.write(transaction.writes, self._checkpoint)  # the changelog, which the next owner restores from
        return self._checkpoint

    async def stop(self) -> None:
        pass

    def task(self) -> SinkTask[int]:
        limit = PoisonLimit(ratio=1.0, consecutive=100)
        return SinkTask(PLACE, self.store, self, stored_position(self.store), self.sink, parted, BOUNDS, limit)

    def _step(self) -> None:
        if self.lives == 0:
            raise Ended
        self.lives -= 1


def read(owner: Owner, log: Sequence[Rec] | Records, chunk: int, now_ms: int = 0) -> None:
    """An owner takes over, reads the log from the group's offset in chunks, then sees silence."""

    async def run() -> None:
        task = owner.task()
        for start in range(owner.offset, len(log), chunk):
            transaction = task.fold(log[start : start + chunk], now_ms)
            if transaction is not None:
                await task.commit(transaction)
        while task.tick_due(now_ms + BOUNDS.age_ms):
            transaction = task.tick(now_ms + BOUNDS.age_ms)
            assert transaction is not None
            await task.commit(transaction)

    asyncio.run(run())


LOG = [Rec(offset, b"bad" if offset in (3, 11, 12) else b"x") for offset in range(23)]
GOOD = [record.offset for record in LOG if record.value != b"bad"]


@pytest.mark.parametrize("steps", range(14))
@pytest.mark.parametrize("chunk", [1, 3, 23])
def test_an_owner_may_end_between_any_two_transactions(steps: int, chunk: int) -> None:
    owner = Owner(lives=steps)
    try:
        read(owner, LOG, 4)
    except Ended:
        owner.lives = 1 << 30
        read(owner, LOG, chunk)
    assert owner.sink.rows() == GOOD
    assert owner.offset == len(LOG)
    assert owner.letters == 3


def test_the_next_owner_writes_what_was_promised_and_no_more() -> None:
    owner = Owner(lives=1)  # the intent is committed, the batch is written, its end is not
    with pytest.raises(Ended):
        read(owner, LOG, 6)
    assert list(owner.sink.kept) == [Extent(0, 5, 6)]
    owner.lives = 1 << 30
    read(owner, LOG, 23)
    assert list(owner.sink.kept) == [Extent(0, 5, 6), Extent(6, 22, 17)]


def test_records_that_lie_in_batches_are_gathered_like_others() -> None:
    pieces = [payload_of(LOG[start : start + 7]) for start in range(0, len(LOG), 7)]
    whole = Records(Stretch(piece, 0, piece.count) for piece in pieces)
    kept = []
    for log in (LOG, whole):
        owner = Owner(lives=4)  # the second batch is written, its end is not
        with pytest.raises(Ended):
            read(owner, log, 6)
        owner.lives, owner.offset = 1 << 30, 3  # somebody has put the group back, into the middle of a batch
        read(owner, log, 20)
        kept.append(owner.sink.kept)
    assert kept[0] == kept[1] != {}


def test_one_record_and_silence_is_kept_when_it_is_old() -> None:
    owner = Owner()
    task = owner.task()
    assert task.fold([Rec(0, b"x")], 500) is None
    assert not task.tick_due(1499)
    assert task.tick_due(1500)


def test_a_clock_that_was_set_back_does_not_hold_a_batch_up() -> None:
    task = Owner().task()
    task.fold([Rec(0, b"x")], 5_000_000)
    assert task.tick_due(0)


def test_records_that_were_kept_before_are_passed_over() -> None:
    owner = Owner()
    read(owner, LOG, 4)
    owner.offset = 0  # somebody put the group back
    read(owner, LOG, 7)
    assert owner.sink.rows() == GOOD
    assert owner.letters == 3
    assert owner.offset == len(LOG), "the group is where it was, and not behind for ever"


def test_a_sink_that_is_away_is_asked_again() -> None:
    owner = Owner(sink=Elsewhere(away=1))
    read(owner, LOG, 23)
    assert owner.sink.rows() == GOOD


def test_a_partition_that_goes_leaves_the_batch_to_its_next_owner() -> None:
    owner = Owner(sink=Elsewhere(away=1 << 30))

    async def run() -> None:
        task = owner.task()
        transaction = task.fold(LOG, 0)
        assert transaction is not None
        under_way = asyncio.create_task(task.commit(transaction))
        await owner.sink.asked.wait()
        task.stop_waiting()
        with pytest.raises(LetGo):
            await under_way

    asyncio.run(run())
    owner.sink.away = 0
    read(owner, LOG, 23)
    assert owner.sink.rows() == GOOD


def test_the_rows_are_readable() -> None:
    owner = Owner()
    read(owner, LOG, 23)
    table = marks("archive")
    rows = dict(table.readable(key, value) for key, value in owner.store.scan(table.first, table.last))
    assert rows[("batch",)] == {"first_offset": 0, "last_offset": 22, "records": 23, "state": "14"}
    assert rows[("position",)]["next_offset"] == 23
    assert [table.readable_key(parts) for parts in rows] == [b"b", b"p"]


def test_a_partition_that_goes_does_not_wait_for_a_sink_that_hangs() -> None:
    class Hangs(Elsewhere):
        async def write(self, place: Place, extent: Extent, sealed: Sealed) -> None:
            self.asked.set()
            await asyncio.Event().wait()

    owner = Owner(sink=Hangs())

    async def run() -> None:
        task = owner.task()
        transaction = task.fold(LOG, 0)
        assert transaction is not None
        under_way = asyncio.create_task(task.commit(transaction))
        await owner.sink.asked.wait()
        task.stop_waiting()
        with pytest.raises(LetGo):
            await under_way

    asyncio.run(run())
    assert owner.offset == 0


@dataclass
class Strangers(Elsewhere):
    """A sink that finds batches it does not know, as the archive does behind another chain."""

    async def write(self, place: Place, extent: Extent, sealed: Sealed) -> None:
        raise Misconfigured("it has objects that this group did not write")

    async def holds(self, place: Place, mark: Mark) -> bool:
        raise Misconfigured("it has objects that this group did not write")


def promised() -> Owner:
    """An owner that made a promise and ended."""
    owner = Owner(lives=1)
    with pytest.raises(Ended):
        read(owner, LOG, 5)
    return owner


@pytest.mark.parametrize("owner", [Owner(), promised()], ids=["writing", "asking for what was promised"])
def test_an_owner_whose_partition_is_anothers_says_so_and_not_what_its_sink_says(owner: Owner) -> None:
    """It was frozen between its promise and the sink's answer; its next transaction is refused by Kafka."""
    owner.sink = Strangers()
    owner.lives = 0 if owner.store.get(INTENT_KEY) is not None else 1
    with pytest.raises(Ended):
        read(owner, LOG, 5)


def test_the_owner_itself_is_told_what_its_sink_says() -> None:
    with pytest.raises(Misconfigured, match="did not write"):
        read(Owner(sink=Strangers()), LOG, 5)
