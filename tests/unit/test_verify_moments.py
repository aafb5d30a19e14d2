"""Rows that are gone, and what two readings agree on. Arrivals between the looks: `property/test_moments.py`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.kafka.log.reader import Record, Span
from streamapp.settings import Settings
from streamapp.verify.copies.events_clickhouse import TOPIC, Place, Row
from streamapp.verify.copies.events_clickhouse import Kept as Rows
from streamapp.verify.copies.events_clickhouse import events as copy_of
from streamapp.verify.copies.records import walk
from streamapp.verify.pairs import look
from streamapp.verify.report import PLACES_MAX, Findings, PairReport

AT_MS = 1_736_942_400_000


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


def event(offset: int, number: int | None) -> Record:
    data = {"event": "click", "distinct_id": "d", "properties": {}}
    if number is not None:
        data["uuid"] = uuid(number)
    value = json.dumps({"team_id": "t", "timestamp": "2025-01-15T12:00:00.000Z", "data": data}).encode()
    return Record(TOPIC, 0, offset, AT_MS, b"t", value)


def row(number: int | None, offset: int) -> Row:
    return Row("t", "click", "d", AT_MS, uuid(number if number is not None else 10_000 + offset))


class Kept:
    """A table that keeps the newest row of a uuid, at two moments: when offsets are asked for, and later."""

    def __init__(self, log: list[int | None], gone: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.rows: dict[str, tuple[int, Row]] = {}
        for offset, number in enumerate(log):
            if offset not in gone:
                one = row(number, offset)
                assert one.uuid is not None
                self.rows[one.uuid] = offset, one

    def below(self, partition: int, span: Span) -> dict[int, list[Row]]:
        return {offset: [one] for offset, one in self.rows.values() if span.start <= offset < span.end}

    def newest(self, uuids: Collection[str]) -> Mapping[Row, Place]:
        return {one: Place(0, offset) for offset, one in self.rows.values() if one.uuid in uuids}

    def close(self) -> None:
        pass


def compared(log: list[int | None], kept: Kept) -> PairReport:
    """What the check finds of the events that are committed."""
    report = PairReport("events=clickhouse", TOPIC, "ClickHouse")
    events = [event(offset, number) for offset, number in enumerate(log)]
    end = len(log)
    walk(events, {0: Span(0, end)}, {0: end}, Rows(kept), copy_of((), report.lost), report)
    return report


LOGS = st.lists(st.none() | st.integers(0, 4), min_size=1, max_size=20)


@given(LOGS, st.data())
def test_an_event_of_which_no_copy_is_kept_is_lost(log: list[int | None], data: st.DataObject) -> None:
    chosen = data.draw(st.integers(0, len(log) - 1))
    number = log[chosen]
    gone = {chosen} if number is None else {offset for offset, other in enumerate(log) if other == number}
    report = compared(log, Kept(log, gone))
    assert report.lost.count == len(gone), report.as_json()


def differing(*places: str) -> PairReport:
    report = PairReport("a=b", "a", "b")
    for place in places:
        report.lost.add(place, "is not there")
    return report


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [(["a"], [], 0), (["a"], ["b"], 0), (["a", "b"], ["b", "c"], 1), (["a"], ["a"], 1), ([], ["a"], 0)],
)
def test_a_difference_is_what_two_readings_agree_on(first: list[str], second: list[str], found: int) -> None:
    readings = iter((differing(*first), differing(*second)))
    outcome = look("a=b", lambda settings: next(readings), Settings())
    assert outcome.report is not None
    assert outcome.report.difference == found
    assert [example.where for example in outcome.report.lost.examples] == sorted({*first} & {*second})


def test_too_many_differences_are_not_doubted() -> None:
    before, now = Findings(), Findings()
    for number in range(PLACES_MAX + 2):
        now.add(f"@{number}", "is not there")
    before.add("elsewhere", "is not there")
    now.keep(before)
    assert now.count == PLACES_MAX + 2
