"""Ids, names and events that somebody has chosen to be taken for one another; and what earlier versions have stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

import msgspec
import pytest
from latency_log import LatencyTable
from memory_store import UsageStore
from usage_log import Rec, Table, at, event, refused, value, without_lane
from xxh_forged import TWO_IDS_OF_ONE_DIGEST, text_of_hash, with_the_hash_of
from xxhash import xxh64_intdigest

from streamapp.lane.ids import CompactSeen
from streamapp.lane.library import library
from streamapp.store.ids import remembered
from streamapp.store.position import POSITION_KEY, unpack_position
from streamapp.store.rows import stored_position
from tables.seen import StoredIds
from tables.window import HOUR_MS

STORED = Path(__file__).parent.parent / "golden" / "usage_table_before_secrets.json"
FLOOD = 20_000

lanes = pytest.mark.parametrize("lane", [True, False], ids=["lane", "python"])


def table_of(lane: bool, store: UsageStore | None = None) -> Table:
    table = Table(store=UsageStore() if store is None else store)
    if not lane:
        without_lane(table)
    return table


def seconds(work: Callable[[], object]) -> float:
    """CPU time, the least of three."""
    spent = []
    for _ in range(3):
        begin = process_time()
        work()
        spent.append(process_time() - begin)
    return min(spent)


def test_ids_that_are_chosen_to_meet_in_one_place_cost_no_more_than_others() -> None:
    """Of 20,000 chosen ids, adding them took a hundred times as long as of others."""
    rng = Random(1)
    chosen = [text_of_hash(number) for number in range(FLOOD)]
    usual = [rng.randbytes(8) for _ in range(FLOOD)]

    def add(names: list[bytes]) -> None:
        seen = CompactSeen(rng.randbytes(16))
        for name in names:
            assert library().ids_add_event(seen.handle, name, 8, b"", 0, 1)

    assert seconds(lambda: add(chosen)) < 5 * seconds(lambda: add(usual))


def test_old_ids_that_were_chosen_so_cost_no_more_at_a_restart() -> None:
    def row(digests: bytes) -> StoredIds:
        return StoredIds(b"", {HOUR_MS: (digests, bytes(8 * FLOOD))})

    chosen = row(b"".join(number.to_bytes(16, "little") for number in range(FLOOD)))
    usual = row(Random(1).randbytes(16 * FLOOD))

    def restore(stored: StoredIds) -> None:
        CompactSeen(bytes(16)).restore(0, stored, 0)

    assert seconds(lambda: restore(chosen)) < 5 * seconds(lambda: restore(usual))


@lanes
def test_two_ids_of_one_digest_without_a_secret_are_two_events(lane: bool) -> None:
    one, other = TWO_IDS_OF_ONE_DIGEST
    assert len({(xxh64_intdigest(name.encode()), xxh64_intdigest(name.encode(), 1)) for name in (one, other)}) == 1
    outcome = table_of(lane).apply(event("10:30"), event("10:31", id=one), event("10:32", id=other))
    assert (outcome.accepted, refused(outcome)) == (3, [])


def two_events_of_one_fingerprint() -> tuple[bytes, bytes]:
    """The same id, other costs, one XXH64."""

    def made(cost: str, source: str) -> bytes:
        content = value("x", at("10:30"), cost=cost).replace(b'"gateway"', f'"{source}"'.encode())
        free = f',"request_id":"{"p" * 9}{"q" * 8}"'
        return content.replace(f'"cost_usd":{cost}'.encode(), f'"cost_usd":{cost}{free}'.encode())

    source = "s" * next(n for n in range(1, 33) if made("0.000001", "s" * n).index(b"0.000001") % 32 == 0)
    one = made("0.000001", source)
    free_at = one.index(b"q" * 8)
    rng = Random(4)
    while True:
        other = with_the_hash_of(one, made(f"{rng.randrange(1, 10)}.{rng.randrange(10**6):06}", source), free_at)
        if other is not None:
            assert xxh64_intdigest(one) == xxh64_intdigest(other)
            assert one != other
            return one, other


@lanes
def test_two_events_of_one_fingerprint_without_a_secret_are_a_conflict(lane: bool) -> None:
    one, other = (Rec(b"team_a", content, at("10:30")) for content in two_events_of_one_fingerprint())
    outcome = table_of(lane).apply(event("10:29"), one, other, replace(one, offset=-1))
    assert (outcome.duplicates, refused(outcome)) == (1, [(2, "conflicting_duplicate")])


def test_each_table_has_a_secret_of_its_own_and_keeps_it() -> None:
    store = UsageStore()
    table = Table(store=store)
    table.apply(event("10:30"))
    position = stored_position(store)
    assert position is not None
    assert position.secret == table.task.memory.seen.secret
    secret = b"made by a worker"
    store.rows[POSITION_KEY] = codec_position(store, secret)
    table.restart()
    table.apply(event("10:31"))
    assert unpack_position(store.rows[POSITION_KEY]).secret == secret
    assert [ids.secret for _, ids in remembered(store)] == [bytes(16), secret]


def codec_position(store: UsageStore, secret: bytes) -> bytes:
    """The position row with another secret."""
    return msgspec.msgpack.encode(msgspec.structs.replace(unpack_position(store.rows[POSITION_KEY]), secret=secret))


# -- what an earlier version has stored ------------------------------------------------------------------------------


def earlier() -> tuple[UsageStore, list[Rec]]:
    """A table's rows as an earlier version wrote them, byte for byte, and the log that it had read."""
    kept: dict[str, Any] = json.loads(STORED.read_text(encoding="utf-8"))
    store = UsageStore()
    store.rows = {bytes.fromhex(key): bytes.fromhex(row) for key, row in kept["rows"].items()}
    store.write({}, len(store.rows))
    records = [Rec(r["key"].encode(), r["value"].encode(), r["timestamp"]) for r in kept["records"]]
    return store, records


@lanes
def test_what_an_earlier_version_has_counted_counts_no_second_time(lane: bool) -> None:
    store, log = earlier()
    table = table_of(lane, store)
    again = [replace(record, offset=len(log) + number) for number, record in enumerate(log)]
    outcome = table.apply(*again)
    assert (outcome.accepted, outcome.duplicates, refused(outcome)) == (0, len(log), [])
    assert log[0].value is not None
    other = replace(log[0], value=log[0].value.replace(b'"cost_usd":0.001', b'"cost_usd":0.002'), offset=20)
    assert refused(table.apply(other)) == [(20, "conflicting_duplicate")]
    assert table.apply(replace(event("11:12", id="c-0"), offset=21)).accepted == 1
    for number in range(2):  # old rows and new ones side by side
        table.restart()
        if not lane:
            without_lane(table)
        outcome = table.apply(*[replace(record, offset=30 + 10 * number + at) for at, record in enumerate(log)])
        assert (outcome.accepted, outcome.duplicates) == (0, len(log))
    (stored,) = [ids for _, ids in remembered(store) if ids.secret]
    assert stored.secret == table.task.memory.seen.secret


def test_rows_of_an_earlier_version_stay_as_they_are_and_go_when_their_time_has_come() -> None:
    store, log = earlier()
    before = {key: row for key, row in store.rows.items() if key[:1] == b"i"}
    table = Table(store=store)
    table.apply(replace(event("11:12"), offset=10))
    assert {key: store.rows[key] for key in before} == before
    seen = table.task.memory.seen
    assert isinstance(seen, CompactSeen)
    assert seen.secrets == 2
    table.apply(replace(event("12:05"), offset=11))
    table.apply(replace(event("2025-01-16T13:10"), offset=12))
    assert not set(before) & set(store.rows)
    assert seen.secrets == 1
    assert table.apply(replace(log[0], offset=13)).duplicates == 0, "it is forgotten, as it would have been"


@lanes
def test_the_table_of_latencies_counts_none_of_them_again(lane: bool) -> None:
    store, log = earlier()
    table = LatencyTable(lane=lane)
    table.store.write({key: row for key, row in store.rows.items() if key[:1] in (b"i", b"p")}, 1)
    table.restart()
    outcome = table.apply(*[replace(record, offset=10 + number) for number, record in enumerate(log)])
    assert (outcome.accepted, outcome.duplicates) == (0, len(log))
