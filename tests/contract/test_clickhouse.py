"""ClickHouse's table of events: the engine inside of this process and behind HTTP do the same."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clickhouses import AT_MS, TOPIC, Events, Record, captured
from conftest import wait_until

from streamapp.errors import Misconfigured, Unavailable
from streamapp.processes.child import Child, free_port, listens
from streamapp.schemas.judging.rejected import Reason
from streamapp.settings import ClickHouseSettings
from streamapp.sinks.clickhouse.client import ClickHouse
from streamapp.sinks.clickhouse.columns import EventColumns
from streamapp.sinks.clickhouse.schema import MIGRATIONS, migrate

pytest_plugins = ("clickhouse_fixtures",)

COLUMNS = {
    "uuid": "UUID",
    "event": "String",
    "properties": "String",
    "timestamp": "DateTime64(3, 'UTC')",
    "team_id": "String",
    "distinct_id": "String",
    "session_id": "String",
    "created_at": "DateTime64(3, 'UTC')",
    "_topic": "LowCardinality(String)",
    "_partition": "UInt32",
    "_offset": "UInt64",
    "_revision": "UInt64",
}
ODD = 'a "quoted" \\ line\nand\ttab, é, 漢, \U0001f600, \x00'


def test_a_block_that_is_written_again_is_there_once(events: Events) -> None:
    blocks = [events.rows(*(captured(at + n) for n in range(50)), first=at) for at in (0, 100, 200)]
    for at in (0, 1, 0, 2, 1, 2, 0):
        events.insert(blocks[at])
    assert events.count == 150
    assert events.ask("sum(_offset)") == [(sum(row.offset for block in blocks for row in block),)]


def test_so_is_one_with_rows_of_many_months(events: Events) -> None:
    month_ms = 31 * 86_400_000
    rows = events.rows(*(captured(n, AT_MS - n * month_ms) for n in range(150)))
    events.insert(rows)
    events.insert(rows)
    assert events.count == 150
    assert events.ask("uniqExact(toYYYYMM(timestamp))") == [(150,)]


def test_rows_that_were_lost_behind_their_token_come_again(events: Events) -> None:
    """A server that ends between the note of a token and its rows knows the token only."""
    month_ms = 31 * 86_400_000
    rows = events.rows(*(captured(n, AT_MS - n % 2 * month_ms) for n in range(20)))
    events.insert(rows)
    events.lose("_offset % 2")  # the part of one month
    events.insert(rows)
    assert events.count == 10, "by its token alone the block is there"
    for _ in range(2):
        events.insert(rows, again=True)
        assert events.ask("_offset", " ORDER BY _offset") == [(row.offset,) for row in rows]


def test_a_repair_that_was_lost_itself_is_made_again(events: Events) -> None:
    rows = events.rows(*(captured(n) for n in range(20)))
    events.insert(rows)
    for _ in range(3):
        events.lose("_offset >= 5")
        events.insert(rows, again=True)
    assert events.count == 20


def test_rows_of_a_topic_before_are_not_taken_for_those_of_a_block(events: Events) -> None:
    """A topic that was made anew has the same offsets."""
    before, rows = events.rows(*map(captured, range(5))), events.rows(*map(captured, range(5, 10)))
    events.insert(rows)
    events.lose("1")
    events.insert(before, "of the topic before")
    events.insert(rows, again=True)
    assert events.count == 10


def test_rows_of_any_time_are_found_where_they_are(events: Events) -> None:
    rows = events.rows(*(captured(n, at) for n, at in enumerate((0, AT_MS, 4_102_444_799_999))))
    events.insert(rows)
    events.insert(rows, again=True)
    assert events.count == 3


def test_copies_in_a_block_that_is_written_again_are_one_row(events: Events) -> None:
    rows = events.rows(captured(1), captured(2), captured(1))
    events.insert(rows)
    events.insert(rows, again=True)
    assert events.ask("_offset", " ORDER BY _offset") == [(1,), (2,)]


def test_another_token_is_another_block(events: Events) -> None:
    rows = events.rows(captured(1))
    events.insert(rows, "one")
    events.insert(rows, "two")
    assert events.count == 2


def test_the_same_block_by_two_clients(events: Events, connect: Callable[..., ClickHouse]) -> None:
    other = Events(connect())
    rows = events.rows(*map(captured, range(20)))
    events.insert(rows)
    other.insert(rows)
    assert other.count == 20


def test_every_value_comes_back_as_it_was(events: Events) -> None:
    odd = captured(7, event=ODD[:-1] + "x", distinct_id=ODD, session_id="sess", properties={"text": ODD, "big": 10**30})
    events.insert(events.rows(odd, first=2**40))
    columns = "toString(uuid), event, properties, toUnixTimestamp64Milli(timestamp), team_id, distinct_id, session_id"
    assert events.ask(f"{columns}, toUnixTimestamp64Milli(created_at), _topic, _partition, _offset") == [
        (
            "01942a00-0000-7000-8000-000000000007",
            ODD[:-1] + "x",
            json.dumps({"text": ODD, "big": str(10**30)}),
            AT_MS,
            "team_a",
            ODD,
            "sess",
            AT_MS + 1000,
            TOPIC,
            3,
            2**40,
        )
    ]


WIDE = ["18446744073709551616", "-9223372036854775809", "1e400", "-1E+309", "1" * 400, "9" * 320 + ".5"]
NARROW = ["18446744073709551615", "-9223372036854775808", "1e-400", "1E308", "0.1234567890123456789012", "-0"]


def test_a_number_that_is_too_large_does_not_hide_the_other_properties(events: Events) -> None:
    values = [*WIDE, *NARROW, '"18446744073709551616"', f'[{WIDE[0]},{{"a":{WIDE[2]}}}]', '"1e400, \\"7"']
    raws = [
        captured(number, properties={"plan": "pro", "n": "@"}).replace(b'"@"', value.encode())
        for number, value in enumerate(values)
    ]
    events.insert(events.rows(*raws))
    found = events.ask("JSONExtractString(properties, 'plan'), JSONExtractRaw(properties, 'n')", " ORDER BY _offset")
    assert [plan for plan, _ in found] == ["pro"] * len(values)
    assert [raw for _, raw in found[: len(WIDE)]] == [f'"{digits}"' for digits in WIDE]
    columns = EventColumns(keep_ip=False)
    columns.read([Record(raw, number) for number, raw in enumerate(raws)])
    assert columns.arrow()["properties"].to_pylist() == [row.properties for row in events.rows(*raws)]


@pytest.mark.parametrize("edge_ms", [1_736_985_600_000, 1_738_368_000_000])  # midnight, also of another month
def test_one_uuid_on_both_sides_of_midnight_is_one_event(events: Events, edge_ms: int) -> None:
    events.insert(events.rows(captured(1, edge_ms - 15), captured(2, edge_ms - 15)))
    events.insert(events.rows(captured(1, edge_ms + 15), captured(3, edge_ms + 15), first=5))
    events.insert(events.rows(captured(1, edge_ms - 15), first=9))
    other = captured(1, edge_ms).replace(b"team_a", b"team_b")
    events.insert(events.rows(other, first=20))
    assert events.ask("team_id, _offset", "_once ORDER BY _offset") == [
        ("team_a", 1), ("team_a", 6), ("team_a", 9), ("team_b", 20)
    ]  # fmt: skip


@pytest.mark.parametrize("at", ["1970-01-01T00:00:00Z", "2099-12-31T23:59:59.999Z"])
def test_a_row_of_any_time_that_is_accepted_is_kept(events: Events, at: str) -> None:
    events.insert(events.rows(captured(1, at), captured(2)))
    assert events.count == 2


def test_a_bad_row_is_refused_before_and_the_others_are_kept(events: Events) -> None:
    records = [Record(captured(0), 0), Record(captured(1, "2100-01-01T00:00:00Z"), 1), Record(b"{", 2), Record(None, 3)]
    columns = EventColumns(keep_ip=False)
    reasons = [refusal.reason for refusal in columns.read(records)]
    assert reasons == [Reason.INVALID_DATA, Reason.MALFORMED_JSON, Reason.EMPTY_VALUE]
    events.events.insert(events.events.block(TOPIC, 3, [columns.arrow()]), "token")
    assert events.ask("_offset") == [(0,)]


def test_of_a_block_that_is_refused_nothing_is_kept(events: Events) -> None:
    good, bad = events.rows(captured(1), captured(2))
    broken = bad._replace(uuid="none")
    with pytest.raises(Unavailable, match="does not do it"):
        events.insert([good, broken])
    assert events.count == 0
    events.insert([good, bad])
    assert events.count == 2


def test_the_newest_copy_of_an_event_stands(events: Events) -> None:
    newest = events.rows(captured(1, session_id="new"), first=9)
    events.insert(newest)
    events.insert(events.rows(captured(1, session_id="old"), captured(2), first=4))
    events.insert(events.rows(captured(1, AT_MS + 86_400_000), first=20))
    assert events.count == 4
    kept = [("", 5), ("", 20)]  # of the newest copy the time counts, too
    assert sorted(events.ask("session_id, _offset", "_once")) == sorted(kept)
    events.clickhouse.command(f"OPTIMIZE TABLE {events.clickhouse.database}.events FINAL")
    assert sorted(events.ask("session_id, _offset", "_once")) == sorted(kept)
    assert sorted(events.ask("session_id, _offset")) == sorted([*kept, ("new", 9)])  # the key of the table has the day


def test_columns_and_order_are_those_of_the_decision(events: Events) -> None:
    migrate(events.clickhouse)
    database = events.clickhouse.database
    rows, of = events.clickhouse.rows, f"WHERE database = '{database}' AND"
    told = rows(f"SELECT name, type FROM system.columns {of} table = 'events'")
    assert {str(name): str(type_) for name, type_ in told} == COLUMNS
    asked = f"SELECT engine, sorting_key, partition_key FROM system.tables {of} name = 'events'"
    assert tuple(rows(asked)[0]) == (
        "ReplacingMergeTree",
        "team_id, toDate(timestamp), event, cityHash64(distinct_id), cityHash64(uuid)",
        "toYYYYMM(timestamp)",
    )


def test_addresses_of_clients_are_kept_only_when_asked(connect: Callable[..., ClickHouse]) -> None:
    for keep, properties in ((False, '{"number": 1}'), (True, '{"$ip":"203.0.113.42","number": 1}')):
        events = Events(connect(), keep)
        events.insert(events.rows(captured(1, ip="203.0.113.42")), str(keep))
        assert (properties,) in events.ask("properties")


def test_migrations_are_done_once(connect: Callable[..., ClickHouse]) -> None:
    numbers = [number for number, _, _ in MIGRATIONS]
    assert migrate(connect()) == numbers
    assert migrate(connect()) == []


def test_two_workers_may_migrate_at_once(connect: Callable[..., ClickHouse]) -> None:
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(migrate, (connect(), connect()))
    assert sorted({*one, *other}) == [number for number, _, _ in MIGRATIONS], "either may begin behind what is done"
    events = Events(connect())
    events.insert(events.rows(captured(1)))
    assert events.count == 1


def test_a_database_of_a_newer_version_is_left_alone(connect: Callable[..., ClickHouse]) -> None:
    clickhouse = connect()
    migrate(clickhouse)
    clickhouse.command(f"INSERT INTO {clickhouse.database}.migrations VALUES (99, 'of tomorrow', now64(3))")
    with pytest.raises(Misconfigured, match="made by a newer version: it has step 99"):
        migrate(clickhouse)


@pytest.mark.parametrize("dropped", ["TABLE {}.events", "DATABASE {}"])
def test_a_table_that_was_dropped_is_made_again_and_the_loss_is_said(
    connect: Callable[..., ClickHouse], caplog: pytest.LogCaptureFixture, dropped: str
) -> None:
    events = Events(connect())
    events.insert(events.rows(captured(1)))
    connect().command(f"DROP {dropped.format(events.clickhouse.database)}")
    block = events.rows(captured(2), captured(3), first=1)
    with pytest.raises(Unavailable, match="it is made again, empty"):
        events.insert(block)
    events.insert(block)  # as the worker does: it asks again
    events.insert(block)
    assert events.count == 2
    assert events.clickhouse.rows(f"SELECT count() FROM {events.clickhouse.database}.events_once") == [(2,)]
    said = [record.message for record in caplog.records if "was dropped" in record.message]
    assert len(said) == (1 if "TABLE" in dropped else 0)


def test_a_worker_that_starts_without_its_table_makes_it_again(connect: Callable[..., ClickHouse]) -> None:
    events = Events(connect())
    events.insert(events.rows(captured(1)))
    connect().command(f"DROP TABLE {events.clickhouse.database}.events")
    events = Events(connect())
    events.insert(events.rows(captured(2), first=1))
    assert events.count == 1


def test_a_database_that_is_not_there_is_for_a_person(connect: Callable[..., ClickHouse]) -> None:
    events = Events(connect(database="nowhere"))
    with pytest.raises(Misconfigured, match="create the database, or set STREAM_CLICKHOUSE__DATABASE"):
        events.clickhouse.insert("events", events.block(0, events.rows(captured(1))), "t")


def test_a_client_goes_on_after_an_error(events: Events) -> None:
    with pytest.raises(Unavailable):
        events.clickhouse.rows("SELECT nonsense")
    events.insert(events.rows(captured(1)))
    assert events.count == 1


def test_a_server_that_is_away_is_asked_again_and_found_when_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    events = Events(ClickHouse(ClickHouseSettings(url=f"http://127.0.0.1:{port}")))
    rows = events.rows(*map(captured, range(10)))
    variables = [f"STREAM_STATE_DIR={tmp_path}", f"STREAM_CLICKHOUSE__PORT={port}"]
    for _ in range(2):
        with pytest.raises(Unavailable, match="is `streamapp clickhouse` running"):
            events.insert(rows)
        child = Child("/usr/bin/env", [*variables, sys.executable, "-m", "streamapp", "clickhouse"], tmp_path / "log")
        wait_until(lambda: listens(port), 60)
        events.insert(rows)
        assert events.count == 10
        child.end(signal.SIGKILL, 20)
    events.clickhouse.close()


def test_a_folder_that_another_process_has_is_asked_for_again(tmp_path: Path, engine: str) -> None:
    folder = tmp_path / "taken"
    folder.write_text("no folder")
    clickhouse = ClickHouse(ClickHouseSettings(url=f"chdb://{folder}"))
    with pytest.raises(Unavailable, match="does not do it"):
        clickhouse.rows("SELECT 1")


@pytest.mark.parametrize("url", ["clickhouse://host", "127.0.0.1:8123", "chdb://", "http://"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(Misconfigured, match="http://host:port"):
        ClickHouse(ClickHouseSettings(url=url))
