"""Rows by key and hour against plain counting: any log, cut into chunks and interrupted anywhere, gives the same rows
and states the same bytes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from memory_store import MemoryStore

from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.place import Place
from streamapp.meters.hourly.codec import RowTable
from streamapp.meters.hourly.statements import Statements
from streamapp.meters.hourly.table import KeyedTask, keyed_parts
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.store.rows import stored_position
from tables.admission import Admission
from tables.keyed import KeyedOutcome, KeyedRow, Recipe
from tables.window import DAY_MS, HOUR_MS, MARK_MS, Rules

NOW_MS = 1_763_900_000_000 // HOUR_MS * HOUR_MS
RULES = Rules(retention_ms=2 * DAY_MS)
PLACE = Place("group-of-tests", "topic", 0, "id", 1, {"dead_letter": 1, "out": 1}, entropy=bytes)


class Key(NamedTuple):
    start_ms: int
    org_id: str


@dataclass
class Row:
    number: int = 0
    by_other: dict[str, int] = field(default_factory=dict)

    def count(self, said: Said) -> None:
        self.number += 1
        self.by_other[str(said.other)] = self.by_other.get(str(said.other), 0) + 1

    def totals(self) -> dict[str, Any]:
        return {"number": self.number, "by_other": self.by_other}


class Said(msgspec.Struct):
    """An event of these tests. An empty `org_id` is refused."""

    id: str
    at_ms: int
    org_id: str
    other: int = 0
    team_id: str = ""
    is_rounded: bool = False


class Record(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Any, ...] = ()


def read(value: bytes | None) -> Any:
    said = msgspec.json.decode(value or b"", type=Said)
    return said if said.org_id else Rejected(Reason.INVALID_DATA, "it has no name")


RECIPE = Recipe(lambda start_ms, org, said: Key(start_ms, org), Row, Row.count, states=True)
STATES = Statements("out", "said.hourly", "said.revised", Row.totals)
TABLE = RowTable("said_hourly", Key, Row, attrgetter("org_id"), STATES)
ADMISSION = Admission(read, lambda key, owner: True, lambda team: None)


class Log:
    """A producer whose commits are remembered."""

    def __init__(self) -> None:
        self.committed: list[Transaction] = []

    async def commit(self, transaction: Transaction) -> int | None:
        self.committed.append(transaction)
        return len(self.committed) if transaction.writes else None

    async def stop(self) -> None: ...


class Worker:
    """Tasks on the same store, one after the other."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.rules = rules
        self.store = MemoryStore(TABLE.table.unsettled)
        self.log = Log()
        self.landed: list[KeyedOutcome] = []
        self.start()

    def start(self) -> None:
        """As after a crash: what was not committed is gone."""
        parts = keyed_parts(TABLE, RECIPE, self.rules, ADMISSION)
        self.task = KeyedTask(parts, PLACE, self.store, self.log, stored_position(self.store))
        self.task.landed = self.landed.append

    def do(self, records: list[Record]) -> None:
        self._commit(self.task.fold(records, NOW_MS))

    def tick(self, now_ms: int) -> None:
        transaction = self.task.tick(now_ms)
        assert transaction is not None
        self._commit(transaction)

    def _commit(self, transaction: Transaction) -> None:
        try:
            self.task.commit(transaction).send(None)
        except StopIteration:
            return
        raise AssertionError("nothing here waits")

    def rows(self) -> dict[Key, KeyedRow]:
        rows = (TABLE.unpack(key, value) for key, value in self.store.scan(b"f", b"g"))
        return {row.key: row for row in rows}

    def letters(self) -> Counter[str]:
        return Counter(event["data"]["reason"] for event in self._sent("dead_letter"))

    def stated(self) -> list[dict[str, Any]]:
        return self._sent("out")

    def _sent(self, topic: str) -> list[dict[str, Any]]:
        sends = (send for transaction in self.log.committed for send in transaction.sends if send.topic == topic)
        return [msgspec.json.decode(send.value or b"") for send in sends]


def closes(at_ms: int) -> int:
    """The watermark that closes a moment's hour."""
    return at_ms // HOUR_MS * HOUR_MS + HOUR_MS + RULES.grace_ms


def expiry(at_ms: int) -> int:
    return -(-(at_ms + RULES.remember_ms) // HOUR_MS) * HOUR_MS


class Told(NamedTuple):
    """A statement as it has to be."""

    mark_ms: int
    start_ms: int
    org: str
    revision: int
    number: int
    more: int


@dataclass
class Book:
    """The same by the book: one record after the other, over everything that came before."""

    watermark_ms: int = -1
    seen: dict[str, tuple[bytes | None, int, int]] = field(default_factory=dict)  # value, expiry on time, expiry
    rows: Counter[Key] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)
    due: dict[Key, int] = field(default_factory=dict)  # the watermark that states it
    stated: dict[Key, tuple[int, int]] = field(default_factory=dict)  # revision, number
    told: list[Told] = field(default_factory=list)

    def take(self, record: Record) -> None:
        said = msgspec.json.decode(record.value or b"", type=Said)
        before = self.seen.get(said.id)
        if not said.org_id:
            self.letters["invalid_data"] += 1
        elif said.at_ms > record.timestamp + RULES.future_ms:
            self.letters["timestamp_in_future"] += 1
        elif before is not None and before[2] > self.watermark_ms:
            self.letters["conflicting_duplicate"] += before[0] != record.value
        elif said.at_ms < self.watermark_ms - RULES.retention_ms:
            self.letters["too_late"] += 1
        else:
            self._move(said.at_ms)
            expiry_ms = expiry(max(closes(said.at_ms), self.watermark_ms))
            self.seen[said.id] = record.value, expiry_ms, expiry_ms
            key = Key(said.at_ms // HOUR_MS * HOUR_MS, said.org_id)
            self.rows[key] += 1
            late_ms = self.watermark_ms // MARK_MS * MARK_MS + MARK_MS
            closes_ms = closes(said.at_ms)
            self.due.setdefault(key, closes_ms if closes_ms > self.watermark_ms else late_ms)

    def _move(self, at_ms: int) -> None:
        if at_ms > self.watermark_ms >= 0:  # whatever it closes late is known for longer
            first_ms, last_ms = expiry(closes(self.watermark_ms - RULES.grace_ms)), expiry(at_ms)
            known = self.seen.items()
            self.seen |= {id: (value, on, last_ms) for id, (value, on, _) in known if first_ms <= on < last_ms}
        self.watermark_ms = max(self.watermark_ms, at_ms)
        for key in sorted(key for key, mark_ms in self.due.items() if mark_ms <= self.watermark_ms):
            revision, number = self.stated.get(key, (-1, 0))
            now = self.stated[key] = revision + 1, self.rows[key]
            self.told.append(Told(self.due.pop(key), *key, *now, self.rows[key] - number))


EVENTS = st.builds(
    Said,
    id=st.integers(0, 30).map(str),
    at_ms=st.integers(-60, 60).map(lambda hours: NOW_MS + hours * HOUR_MS) | st.integers(NOW_MS, NOW_MS + HOUR_MS),
    org_id=st.sampled_from(["a", "b", "c", ""]),
    other=st.integers(0, 1),
)


@given(st.lists(EVENTS, min_size=1, max_size=60), st.data())
def test_any_cutting_with_crashes_between_and_records_read_again_gives_the_plain_counts(
    said: list[Said], data: st.DataObject
) -> None:
    records = [Record(n, NOW_MS + 40 * HOUR_MS, None, msgspec.json.encode(each)) for n, each in enumerate(said)]
    worker, at = Worker(), 0
    while at < len(records):
        size = data.draw(st.integers(1, 20), "chunk")
        worker.do(records[at : at + size])
        at += size
        if data.draw(st.booleans(), "crash"):
            worker.task.fold(records[at : at + 3] or records[:1], NOW_MS)  # not committed
            worker.start()
            back = data.draw(st.integers(0, 10), "offsets put back")
            if worker.log.committed and back and at < len(records):
                at = max(0, at - back)
    book = Book()
    for record in records:
        book.take(record)
    assert worker.letters() == +book.letters
    limit_ms = book.watermark_ms // HOUR_MS * HOUR_MS - RULES.retention_ms
    rows = {key: number for key, number in book.rows.items() if key.start_ms + HOUR_MS > limit_ms}
    assert {key: row.row.number for key, row in worker.rows().items()} == rows
    assert [told_of(event) for event in worker.stated()] == book.told
    position = stored_position(worker.store)
    assert position is not None
    assert position.next_offset == len(records)


def told_of(event: dict[str, Any]) -> Told:
    data, key = event["data"], Key(ms(event["data"]["period_start"]), event["org_id"])
    assert sum(data["totals"]["by_other"].values()) == data["totals"]["number"] == data["coverage"]["events"]
    assert sum(data["delta"]["by_other"].values()) == data["delta"]["number"]
    assert event["id"] == data["billing_id"] == STATES.id(key, data["revision"])
    assert data["supersedes"] == (STATES.id(key, data["revision"] - 1) if data["revision"] else None)
    assert event["type"] == ("said.revised" if data["revision"] else "said.hourly")
    counted = data["revision"], data["totals"]["number"], data["delta"]["number"]
    return Told(ms(event["timestamp"]), *key, *counted)


def ms(text: str) -> int:
    return round(msgspec.convert(text, type=datetime).timestamp() * 1000)


def said_at(*at_ms: int) -> list[Record]:
    said = (Said(str(number), one, "a") for number, one in enumerate(at_ms))
    return [Record(n, NOW_MS + 40 * HOUR_MS, None, msgspec.json.encode(each)) for n, each in enumerate(said)]


def test_rows_read_as_people_read_them_and_back() -> None:
    worker = Worker()
    worker.do(said_at(NOW_MS))
    for key, value in worker.store.scan(TABLE.table.first, TABLE.table.last):
        parts, _ = TABLE.table.readable(key, value)
        assert TABLE.table.readable_key(parts) == key
    key = TABLE.pack_key(Key(NOW_MS, "a"))
    facts = {
        "number": 1,
        "by_other": {"0": 1},
        "events": 1,
        "waiting": 1,
        "revision": None,
        "last_offset": 0,
        "stated_as": None,
    }
    assert TABLE.table.readable(key, worker.store.rows[key]) == (("row", NOW_MS, "a"), facts)
    assert TABLE.table.home is not None
    assert TABLE.table.home(key, b"") == "a"


def test_the_wall_clock_closes_what_a_silent_partition_leaves_behind_and_later_events_revise_it() -> None:
    worker = Worker()
    first, second, third = said_at(NOW_MS, NOW_MS + 1, NOW_MS + 2 * HOUR_MS)
    worker.do([first])
    assert not worker.task.tick_due(NOW_MS + HOUR_MS)
    now_ms = NOW_MS + HOUR_MS + RULES.grace_ms
    assert worker.task.tick_due(now_ms)
    worker.tick(now_ms)
    worker.start()
    assert not worker.task.tick_due(now_ms)
    worker.do([second])
    worker.start()
    worker.do([third])
    told = [told_of(event) for event in worker.stated()]
    assert told == [Told(now_ms, NOW_MS, "a", 0, 1, 1), Told(NOW_MS + MARK_MS, NOW_MS, "a", 1, 2, 1)]


def test_what_is_read_again_writes_nothing_but_the_offset() -> None:
    worker = Worker()
    records = said_at(NOW_MS)
    worker.do(records)
    worker.do(records)
    assert worker.log.committed[-1] == Transaction({}, (), 1)
    assert [row.row.number for row in worker.rows().values()] == [1]
    assert [outcome.accepted for outcome in worker.landed] == [1, 0]
