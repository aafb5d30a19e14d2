"""Rows by key against plain counting: any log, cut into chunks and interrupted anywhere, gives the same rows."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streamapp.exact.chunk import Transaction
from streamapp.exact.place import Place
from streamapp.meters.row_table import KeyedTask, RowTable, keyed_parts
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.store.rows import MemoryStore, always_settled, stored_position
from tables.keyed import KeyedOutcome, Recipe, Rows
from tables.window import DAY_MS, HOUR_MS, Rules

NOW_MS = 1_763_900_000_000 // HOUR_MS * HOUR_MS
RULES = Rules(retention_ms=2 * DAY_MS)
PLACE = Place("group-of-tests", "topic", 0, "id", 1, {"dead_letter": 1}, entropy=bytes)


class Key(NamedTuple):
    name: str
    start_ms: int


class Row(NamedTuple):
    number: int = 0


class Said(NamedTuple):
    """An event of these tests, itself a tuple: `name` None does not matter, empty is refused."""

    id: str
    at_ms: int
    name: str | None
    other: int = 0


class Record(NamedTuple):
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Any, ...] = ()


def read(value: bytes | None) -> Any:
    said = msgspec.json.decode(value or b"", type=Said)
    if said.name is None:
        return None
    return said if said.name else Rejected(Reason.INVALID_DATA, "it has no name")


def count(rows: Rows, said: Said) -> None:
    key = Key(said.name or "", said.at_ms // HOUR_MS * HOUR_MS)
    rows[key] = Row(rows.get(key, Row()).number + 1)


def over(key: Key, limit_ms: int) -> bool:
    return key.start_ms + HOUR_MS <= limit_ms


RECIPE = Recipe(read, Rejected, count, over)
TABLE = RowTable("said_hourly", Key, Row)


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

    def __init__(self) -> None:
        self.store = MemoryStore(always_settled)
        self.log = Log()
        self.landed: list[KeyedOutcome] = []
        self.start()

    def start(self) -> None:
        """As after a crash: what was not committed is gone."""
        parts = keyed_parts(TABLE, RECIPE, RULES)
        self.task = KeyedTask(parts, PLACE, self.store, self.log, stored_position(self.store))
        self.task.landed = self.landed.append

    def do(self, records: list[Record]) -> None:
        transaction = self.task.fold(records, NOW_MS)
        try:
            self.task.commit(transaction).send(None)
        except StopIteration:
            return
        raise AssertionError("nothing here waits")

    def rows(self) -> dict[Key, Row]:
        return {TABLE.unpack_key(key): TABLE.unpack(value) for key, value in self.store.scan(b"f", b"g")}

    def letters(self) -> Counter[str]:
        sends = (send for transaction in self.log.committed for send in transaction.sends)
        return Counter(msgspec.json.decode(send.value or b"")["data"]["reason"] for send in sends)


def closes(at_ms: int) -> int:
    """The watermark that closes a moment's hour."""
    return at_ms // HOUR_MS * HOUR_MS + HOUR_MS + RULES.grace_ms


def expiry(at_ms: int) -> int:
    return -(-(at_ms + RULES.remember_ms) // HOUR_MS) * HOUR_MS


def plain(records: list[Record]) -> tuple[dict[Key, Row], Counter[str]]:
    """The same by the book: one record after the other, over everything that came before."""
    watermark_ms = -1
    seen: dict[str, tuple[bytes | None, int, int]] = {}  # value, expiry of an hour that closes on time, expiry
    rows: Counter[Key] = Counter()
    letters: Counter[str] = Counter()
    for record in records:
        said = msgspec.json.decode(record.value or b"", type=Said)
        before = seen.get(said.id)
        if said.name is None:
            continue
        if not said.name:
            letters["invalid_data"] += 1
        elif said.at_ms > record.timestamp + RULES.future_ms:
            letters["timestamp_in_future"] += 1
        elif before is not None and before[2] > watermark_ms:
            letters["conflicting_duplicate"] += before[0] != record.value
        elif said.at_ms < watermark_ms - RULES.retention_ms:
            letters["too_late"] += 1
        else:
            if said.at_ms > watermark_ms >= 0:  # whatever it closes late is known for longer
                first_ms, last_ms = expiry(closes(watermark_ms - RULES.grace_ms)), expiry(said.at_ms)
                known = seen.items()
                seen |= {id: (value, on, last_ms) for id, (value, on, _) in known if first_ms <= on < last_ms}
            watermark_ms = max(watermark_ms, said.at_ms)
            expiry_ms = expiry(max(closes(said.at_ms), watermark_ms))
            seen[said.id] = record.value, expiry_ms, expiry_ms
            rows[Key(said.name, said.at_ms // HOUR_MS * HOUR_MS)] += 1
    limit_ms = watermark_ms // HOUR_MS * HOUR_MS - RULES.retention_ms
    return {key: Row(number) for key, number in rows.items() if not over(key, limit_ms)}, +letters


EVENTS = st.builds(
    Said,
    id=st.integers(0, 30).map(str),
    at_ms=st.integers(-60, 60).map(lambda hours: NOW_MS + hours * HOUR_MS) | st.integers(NOW_MS, NOW_MS + HOUR_MS),
    name=st.sampled_from(["a", "b", "c", "", None]),
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
    rows, letters = plain(records)
    assert worker.letters() == letters
    assert worker.rows() == rows
    position = stored_position(worker.store)
    assert position is not None
    assert position.next_offset == len(records)


def test_rows_read_as_people_read_them_and_back() -> None:
    worker = Worker()
    worker.do([Record(0, NOW_MS, None, msgspec.json.encode(Said("1", NOW_MS, "a")))])
    for key, value in worker.store.scan(TABLE.table.first, TABLE.table.last):
        parts, _ = TABLE.table.readable(key, value)
        assert TABLE.table.readable_key(parts) == key
    key = TABLE.pack_key(Key("a", NOW_MS))
    assert TABLE.table.readable(key, worker.store.rows[key]) == (("row", "a", NOW_MS), {"number": 1})


def test_what_is_read_again_writes_nothing_but_the_offset() -> None:
    worker = Worker()
    records = [Record(0, NOW_MS, None, msgspec.json.encode(Said("1", NOW_MS, "a")))]
    worker.do(records)
    worker.do(records)
    assert worker.log.committed[-1] == Transaction({}, (), 1)
    assert worker.rows() == {Key("a", NOW_MS): Row(1)}
    assert [outcome.accepted for outcome in worker.landed] == [1, 0]
