"""When records become a chunk."""

from __future__ import annotations

from faust.types import TP

from streamapp.exact.consumer import CATCH_UP_S, Gathering
from streamapp.lane.records import Record, Records, Stretch, payload_of

HERE = TP("llm_usage", 3)
OWNER, NEXT_OWNER = object(), object()


def some(count: int, first: int = 0) -> Records:
    payload = payload_of(Record(first + number, 0, b"k", b"v", ()) for number in range(count))
    return Records([Stretch(payload, 0, count)])


def sizes(gathering: Gathering, now_s: float) -> list[int]:
    return [len(records) for _, _, records in gathering.ready(now_s)]


def test_few_records_wait_for_the_linger_when_nothing_more_is_there() -> None:
    gathering = Gathering(5, 0.1, lambda tp: True)
    gathering.add(HERE, OWNER, some(2), 10.0)
    assert sizes(gathering, 10.09) == []
    assert round(gathering.patience_s(10.04, 0.5), 3) == 0.06
    gathering.add(HERE, OWNER, some(1, 2), 10.09)
    assert sizes(gathering, 10.11) == [3]
    assert not gathering.has(HERE)
    assert gathering.patience_s(10.11, 0.5) == 0.5


def test_what_kafka_gathered_waits_no_longer() -> None:
    gathering = Gathering(5, 0.1, lambda tp: True)
    gathering.add(HERE, OWNER, some(2), 10.0, gathered=True)
    assert sizes(gathering, 10.0) == [2]
    gathering.add(HERE, OWNER, some(1, 2), 10.0)
    gathering.add(HERE, OWNER, some(1, 3), 10.01, gathered=True)
    assert sizes(gathering, 10.01) == [2]


def test_a_chunk_that_is_behind_waits_to_be_full_but_not_for_ever() -> None:
    gathering = Gathering(5, 0.1, lambda tp: False)
    gathering.add(HERE, OWNER, some(2), 10.0)
    assert sizes(gathering, 10.0 + CATCH_UP_S - 0.01) == []
    assert sizes(gathering, 10.0 + CATCH_UP_S) == [2]


def test_full_chunks_go_at_once_and_the_rest_has_its_own_time() -> None:
    gathering = Gathering(5, 0.1, lambda tp: True)
    gathering.add(HERE, OWNER, some(12), 10.0)
    ready = gathering.ready(10.05)
    assert [(records.first_offset, records.last_offset) for _, _, records in ready] == [(0, 4), (5, 9)]
    assert sizes(gathering, 10.14) == []
    assert sizes(gathering, 10.16) == [2]


def test_what_another_owner_had_fetched_is_not_handed_on() -> None:
    gathering = Gathering(5, 0.1, lambda tp: True)
    gathering.add(HERE, OWNER, some(2), 10.0)
    gathering.add(HERE, NEXT_OWNER, some(3), 10.05)
    assert sizes(gathering, 10.11) == []
    assert [(owner, len(records)) for _, owner, records in gathering.ready(10.2)] == [(NEXT_OWNER, 3)]
