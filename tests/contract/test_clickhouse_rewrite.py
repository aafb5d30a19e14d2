"""Rows of ClickHouse's table of events made again: readers see each event once at every step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from clickhouses import TOPIC, Events, Record, captured

from streamapp.exact.partition.place import Place
from streamapp.kafka.log.reader import Span
from streamapp.sinks.clickhouse.client import ClickHouse
from streamapp.sinks.clickhouse.columns import EventColumns
from streamapp.sinks.clickhouse.events import Row
from streamapp.sinks.clickhouse.rewrite import EventsRewriter
from streamapp.sinks.rewriter import Difference, Reading
from streamapp.verify.copies.events_clickhouse import _ClickHouse

pytest_plugins = ("clickhouse_fixtures",)

COUNT = 30
RECORDS = [Record(captured(number, event=f"event {number}"), number) for number in range(COUNT)]
MONTH_MS = 31 * 86_400_000
PLACE = Place("analytics-ingest", TOPIC, 3, topic_id="", partitions=0, outputs={})
ONCE = "_once ORDER BY _offset"


def older(row: Row) -> Row:
    """As a release of before read the record: another name, uuid or month, or no difference."""
    if row.offset % 2:
        row = row._replace(event="old")
    if row.offset % 3 == 0:
        row = row._replace(uuid="1" + row.uuid[1:])
    return row._replace(at_ms=row.at_ms - MONTH_MS) if row.offset % 5 == 0 else row


def same_today(offset: int) -> bool:
    return bool(offset % 2 == 0 and offset % 3 and offset % 5)


class Rewrite:
    """One run over the records."""

    def __init__(self, clickhouse: ClickHouse, now_ms: int) -> None:
        self._rewriter, self._now_ms = EventsRewriter(clickhouse), now_ms

    def batch(self, first: int, last: int, refused: Sequence[int] = ()) -> Difference:
        """Compare and write."""
        columns = EventColumns(keep_ip=False)
        assert columns.read(RECORDS[first : last + 1]) == []
        reading = Reading(PLACE, first, last, [columns.arrow()], refused)

        async def done() -> Difference:
            await self._rewriter.begin(self._now_ms)
            difference = await self._rewriter.compared(reading)
            await self._rewriter.write(reading, difference)
            return difference

        return asyncio.run(done())

    def finish(self) -> int:
        return asyncio.run(self._rewriter.finish())


@pytest.fixture
def kept(events: Events) -> Events:
    """The rows of before."""
    values = [record.value or b"" for record in RECORDS]
    events.insert([older(row) for row in events.rows(*values)])
    return events


def offsets(events: Events, rest: str = ONCE) -> list[int]:
    return [offset for (offset,) in events.ask("_offset", rest)]


def test_each_event_is_there_once_at_every_step(kept: Events, connect: Callable[..., ClickHouse]) -> None:
    run, every = Rewrite(connect(), 1000), list(range(COUNT))
    first = run.batch(0, 9)
    assert (first.same, first.changed, first.missing) == (3, 7, 0)
    assert offsets(kept) == every
    checked = _ClickHouse(kept.clickhouse.settings).below(PLACE.partition, Span(0, COUNT))
    assert {offset: [row.event for row in rows] for offset, rows in checked.items()} == {
        offset: [f"event {offset}" if offset < 10 else older(row).event]
        for offset, row in enumerate(kept.rows(*(record.value or b"" for record in RECORDS)))
    }, "the check reads the latest revision"
    kept.insert(kept.rows(captured(COUNT), first=COUNT))  # a new event arrives
    again = Rewrite(connect(), 2000)  # the first run was killed
    assert again.batch(0, 9).changed == 0
    rest = again.batch(10, COUNT - 1)
    assert rest.same == len([offset for offset in every[10:] if same_today(offset)])
    assert offsets(kept) == [*every, COUNT]
    assert again.finish() == first.changed + rest.changed
    assert sorted(offsets(kept, "")) == [*every, COUNT]
    assert kept.ask("DISTINCT event", f"{ONCE} LIMIT {COUNT}") == [(f"event {offset}",) for offset in every]
    assert again.finish() == 0


def test_what_is_written_twice_is_there_once(kept: Events, connect: Callable[..., ClickHouse]) -> None:
    """An operator starts a second run while the first goes on."""
    one, two = Rewrite(connect(), 1000), Rewrite(connect(), 1000)
    one.batch(0, 19)
    two.batch(10, 29)
    one.batch(20, 29)
    one.finish()
    assert two.finish() == 0
    assert sorted(offsets(kept, "")) == offsets(kept) == list(range(COUNT))


def test_what_was_refused_stays_as_it_is(kept: Events, connect: Callable[..., ClickHouse]) -> None:
    run = Rewrite(connect(), 1000)
    assert run.batch(0, 9, refused=[7]).changed == 6
    run.finish()
    assert kept.ask("event", " WHERE _offset = 7") == [("old",)]


def test_a_dropped_table_is_filled_and_what_was_merged_away_is_not(
    events: Events, connect: Callable[..., ClickHouse]
) -> None:
    copy = captured(4, event="event 4")  # the client sent it once more
    events.insert(events.rows(copy, first=COUNT))
    found = Rewrite(connect(), 1000).batch(0, 9)
    assert (found.same, found.changed, found.missing) == (1, 0, 9)
    assert offsets(events) == [0, 1, 2, 3, 5, 6, 7, 8, 9, COUNT]


def test_the_later_reading_stands_also_when_its_key_is_the_same(
    kept: Events, connect: Callable[..., ClickHouse]
) -> None:
    """ClickHouse merges both rows into one before the older is deleted."""
    rows = [row._replace(properties="{}") for row in kept.rows(*(record.value or b"" for record in RECORDS[:3]))]
    kept.clickhouse.command(f"TRUNCATE TABLE {kept.clickhouse.database}.events")
    kept.insert(rows, "wrong")
    run = Rewrite(connect(), 1000)
    assert run.batch(0, 2).changed == 3
    right: list[tuple[Any, ...]] = [(f'{{"number": {number}}}',) for number in range(3)]
    assert kept.ask("properties", ONCE) == right
    kept.clickhouse.command(f"OPTIMIZE TABLE {kept.clickhouse.database}.events FINAL")
    assert kept.ask("properties", ONCE) == kept.ask("properties", " ORDER BY _offset") == right
    assert run.finish() == 0
