"""Rows come back from their bytes as they were, and their keys sort by time."""

from __future__ import annotations

import json
from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from searches import search

from streamapp.meters.usage import codec
from streamapp.meters.usage.store import USAGE
from streamapp.store.ids import ids_key, pack_ids, unpack_ids, unpack_ids_key
from streamapp.store.position import POSITION_KEY, PoisonCounts, StoredPosition, pack_position, unpack_position
from tables.counters import EXACT, Counters
from tables.seen import IdsByExpiry, StoredIds
from tables.usage.hourly import HourKey, MonthKey, MonthRow, UsageRow, state

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
START = st.integers(0, 2**41).map(lambda ms: ms - ms % 3_600_000)
HOUR = st.builds(HourKey, START, TEXT, TEXT, TEXT)
MONTH = st.builds(MonthKey, st.sampled_from(["1970-01", "2025-01", "2025-12", "9999-12"]), TEXT, TEXT, TEXT)
OFFSET = st.integers(0, 2**62)
COUNT = st.integers(0, 2**70)
COST = st.integers(0, 10**40).map(lambda pico: EXACT.scaleb(Decimal(pico), -12))
COUNTERS = st.builds(Counters, COUNT, COUNT, COUNT, COUNT, COUNT, COST)
LINES = st.dictionaries(st.tuples(TEXT, TEXT), COUNTERS, max_size=4)
IDS = st.dictionaries(st.integers(0, 2**53), st.tuples(st.binary(max_size=64), st.binary(max_size=32)), max_size=4)
many = search(150)


def facts(row: UsageRow) -> object:
    lines = [(names, line.numbers()) for names, line in row.lines.items()]
    return row.key, row.first_offset, row.last_offset, row.revision, repr(row.stated), repr(lines), row.settled


@given(HOUR, LINES, st.none() | st.integers(0, 1000), COUNTERS, OFFSET)
@many
def test_hours(
    key: HourKey, lines: dict[tuple[str, str], Counters], revision: int | None, stated: Counters, offset: int
) -> None:
    row = UsageRow(key)
    row.revision, row.stated, row.first_offset, row.last_offset = revision, stated, offset, offset + 1
    for (provider, model), counters in lines.items():
        line = row.line(provider, model)
        line.requests, line.errors, line.cache_hits = counters.requests, counters.errors, counters.cache_hits
        line.prompt_tokens, line.completion_tokens = counters.prompt_tokens, counters.completion_tokens
        line.cost = counters.cost
    value = codec.pack_hour(row)
    back = codec.unpack_hour(codec.hour_key(key), value)
    assert facts(back) == facts(row)
    assert codec.pack_hour(back) == value
    assert codec.is_settled(value) == row.settled


def test_a_row_tells_whether_it_is_settled() -> None:
    row = UsageRow(HourKey(0, "o", "t", "USD"))
    row.line("p", "m").requests = 1
    assert not codec.is_settled(codec.pack_hour(row))
    state(row, MonthRow(), 0)
    assert codec.is_settled(codec.pack_hour(row))


@given(MONTH, COST, COUNT)
@many
def test_months(key: MonthKey, cost: Decimal, tokens: int) -> None:
    row = MonthRow(cost, tokens)
    assert codec.unpack_month_key(codec.month_key(key)) == key
    assert repr(codec.unpack_month(codec.pack_month(row))) == repr(row)


@given(OFFSET, st.binary(max_size=16), IDS)
@many
def test_ids(chunk: int, secret: bytes, ids: IdsByExpiry) -> None:
    assert unpack_ids_key(ids_key(chunk)) == chunk
    assert unpack_ids(pack_ids(StoredIds(secret, ids))) == StoredIds(secret, ids)
    assert unpack_ids(msgspec.msgpack.encode(ids)) == StoredIds(b"", ids), "as earlier versions wrote them"


@given(OFFSET, st.integers(-1, 2**45), st.integers(-1, 2**45), TEXT, st.integers(1, 1000), st.integers(0, 2**45))
@many
def test_positions(
    next_offset: int, watermark_ms: int, expired_ms: int, topic_id: str, partitions: int, active_ms: int
) -> None:
    position = StoredPosition(next_offset, watermark_ms, expired_ms, topic_id, partitions, active_ms)
    assert unpack_position(pack_position(position)) == position
    at = position.position()
    assert (at.next_offset, at.watermark_ms, at.expired_ms) == (next_offset, watermark_ms, expired_ms)


def test_positions_of_earlier_versions_are_read() -> None:
    counted = StoredPosition(3, 2, 1, "topic", 8, 4, 5, PoisonCounts(7, 9, ((5000, 1), (20, 20))))
    assert unpack_position(pack_position(counted)) == counted
    for known in (6, 7, 9):  # as earlier versions wrote it
        earlier = msgspec.msgpack.encode(msgspec.structs.astuple(counted)[:known])
        assert unpack_position(earlier).poison == (counted.poison if known > 7 else None)
        assert unpack_position(earlier).secret == b""


@given(st.lists(HOUR, min_size=2, max_size=6), st.lists(OFFSET, min_size=2, max_size=6))
@many
def test_keys_sort_by_time_and_by_offset(hours: list[HourKey], chunks: list[int]) -> None:
    assert [codec.unpack_hour_key(key).start_ms for key in sorted(map(codec.hour_key, hours))] == sorted(
        key.start_ms for key in hours
    )
    assert [unpack_ids_key(key) for key in sorted(map(ids_key, chunks))] == sorted(chunks)
    for key in hours:
        assert codec.hour_prefix(key.start_ms) <= codec.hour_key(key) < codec.hour_prefix(key.start_ms + 1)


def test_every_kind_of_row_can_be_shown_to_a_person() -> None:
    row = UsageRow(HourKey(0, "o", "t", "USD"))
    row.line("p", "m").requests = 1
    position = StoredPosition(3, 2, 1, "topic", 8, 4, secret=b"a secret of 16 b")
    shown = dict(
        USAGE.readable(key, value)
        for key, value in {
            codec.hour_key(row.key): codec.pack_hour(row),
            codec.month_key(MonthKey("2025-01", "o", "t", "USD")): codec.pack_month(MonthRow(Decimal(1), 2)),
            ids_key(7): pack_ids(StoredIds(b"a secret of 16 b", {5: (bytes(32), bytes(16))})),
            codec.bill_key("evt_1"): b'{"id":"evt_1"}',
            POSITION_KEY: pack_position(position),
        }.items()
    )
    assert list(shown) == [
        ("hour", 0, "o", "t", "USD"),
        ("month", "2025-01", "o", "t", "USD"),
        ("ids", 7),
        ("bill", "evt_1"),
        ("position",),
    ]
    assert shown[("ids", 7)] == {5: 2}
    assert shown[("bill", "evt_1")] == {"id": "evt_1"}
    facts = msgspec.structs.asdict(position) | {"held": []}
    assert facts.pop("secret")
    assert shown[("position",)] == facts, "a secret is shown to nobody"
    assert "a secret" not in repr(shown)
    assert json.loads(msgspec.json.encode(shown[("hour", 0, "o", "t", "USD")]))["revision"] is None
