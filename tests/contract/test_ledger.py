"""One suite for every ledger: SQLite, a real PostgreSQL, and the same behind a PgBouncer in transaction mode."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg
import pytest
from real_pgbouncer import pgbouncer_server
from verify_logs import HOUR_MS, TEN, Logs, money, text

from streamapp.errors import Misconfigured, Unavailable
from streamapp.kafka.log.reader import Record
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.settlement import settlement_id
from streamapp.sinks.ledger.database import Conflict, Ledger, open_ledger
from streamapp.sinks.ledger.postgres import PostgresLedger
from streamapp.sinks.ledger.rows import Bill, Row, Settlement, to_row
from streamapp.sinks.ledger.sqlite import SqliteLedger

Answer = TypeVar("Answer")
TOPIC = "billing_events"


@pytest.fixture(params=["sqlite", "postgres", "pgbouncer"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'deep' / 'ledger.db'}"
        return
    found = request.getfixturevalue("postgres_url")
    assert isinstance(found, str)
    if request.param == "postgres":
        yield found
        return
    with pgbouncer_server(found) as pooled:
        yield pooled


def within(url: str, work: Callable[[Ledger], Awaitable[Answer]]) -> Answer:
    async def run() -> Answer:
        async with open_ledger(url) as ledger:
            return await work(ledger)

    return asyncio.run(run())


def row(record: Record) -> Bill:
    bill = to_row(record.topic, record.partition, record.offset, record.value)
    assert isinstance(bill, Bill), bill
    return bill


def settled_row(record: Record) -> Settlement:
    settled = to_row(record.topic, record.partition, record.offset, record.value)
    assert isinstance(settled, Settlement), settled
    return settled


def some_logs() -> Logs:
    """Three bills of team_a (revisions 0, 1, 2 of one hour), one of team_b in the hour before, and one settlement."""
    logs = Logs()
    logs.use(TEN)
    logs.state(TEN)
    logs.use(TEN + 1, 10**30 - 1)
    logs.state(TEN)
    logs.use(TEN + 2)
    logs.state(TEN)
    logs.use(TEN - 1, team="team_b", org="org_2")
    logs.state(TEN - HOUR_MS, team="team_b", org="org_2")
    logs.bill(settlement())
    return logs


def settlement(agent: str = "agent_1") -> dict[str, Any]:
    made = settlement_id("org_1", agent, "consumer_1", "AI", TEN + HOUR_MS)
    data = {
        "settlement_id": made,
        "agent": agent,
        "consumer": "consumer_1",
        "amount": money(10**11),
        "request_count": 100,
        "period_start": text(TEN),
        "period_end": text(TEN + HOUR_MS),
        "currency": "AI",
        "chain": "hanzo",
        "chain_id": 36963,
        "methods": {"chat.send": {"count": 100, "cost": money(10**11)}},
        "coverage": {"topic": "m", "partition": 0, "first_offset": 0, "last_offset": 99, "events": 100},
    }
    envelope = {"schema": "hanzo.stream.v1", "id": made, "type": "billing.rpc.settled", "source": "rpc-billing"}
    return {**envelope, "timestamp": text(TEN), "org_id": "org_1", "data": data}


def some_rows() -> list[Bill]:
    return [row(record) for record in some_logs().bills[:4]]


def trickle(count: int) -> list[Record]:
    """One bill of each of `count` teams."""
    logs = Logs()
    for number in range(count):
        logs.use(TEN + number, team=f"team_{number}")
        logs.state(TEN, team=f"team_{number}")
    return logs.bills


def every_row() -> list[Row]:
    *bills, settled = some_logs().bills
    return [*map(row, bills), settled_row(settled)]


def test_rows_come_back_as_they_went_in(url: str) -> None:
    rows = some_rows()

    async def work(ledger: Ledger) -> list[Bill]:
        assert await ledger.apply(TOPIC, 0, 5, every_row()) == 5
        return await ledger.bills()

    assert within(url, work) == [rows[3], rows[0], rows[1], rows[2]]
    assert within(url, lambda ledger: ledger.settlements()) == every_row()[4:]
    assert within(url, lambda ledger: ledger.offsets(TOPIC)) == {0: 5}
    assert within(url, lambda ledger: ledger.offsets("other")) == {}


def test_money_keeps_every_digit(url: str) -> None:
    rows = some_rows()
    assert rows[2].cost == Decimal("1000000000000000000.007599999999")
    largest = Decimal("99999999999999999999999999.999999999999")
    rows = [rows[2], replace(rows[1], cost=largest, delta_cost=largest.copy_negate())]

    async def work(ledger: Ledger) -> list[Bill]:
        await ledger.apply(TOPIC, 0, 5, rows)
        return await ledger.bills()

    kept = within(url, work)
    assert [str(bill.cost) for bill in kept] == [str(largest), "1000000000000000000.007599999999"]
    assert kept[0].delta_cost == largest.copy_negate()


def test_event_is_kept_byte_for_byte(url: str) -> None:
    record = some_logs().bills[0]
    value = b"\n " + (record.value or b"").replace(b'"zen-72b"', '"zén \\u00e9 \\u0000 💡\\t"'.encode()) + b"  "
    bill = row(record._replace(value=value))

    async def work(ledger: Ledger) -> list[Bill]:
        await ledger.apply(TOPIC, 0, 1, [bill])
        return await ledger.bills()

    assert within(url, work)[0].event.encode() == value


def test_again_changes_nothing_and_the_offset_never_goes_back(url: str) -> None:
    rows = every_row()

    async def work(ledger: Ledger) -> None:
        assert await ledger.apply(TOPIC, 0, 5, [*rows, rows[0], rows[4]]) == 5
        assert await ledger.apply(TOPIC, 0, 3, [*rows[:3], rows[4]]) == 0
        assert await ledger.apply(TOPIC, 1, 7, []) == 0
        assert await ledger.offsets(TOPIC) == {0: 5, 1: 7}
        assert len(await ledger.bills()) == 4
        assert len(await ledger.settlements()) == 1

    within(url, work)


@pytest.mark.parametrize("together", [False, True])
def test_known_id_with_other_bytes_stops_and_writes_nothing(url: str, together: bool) -> None:
    record = some_logs().bills[0]
    first, other = row(record), row(record._replace(value=(record.value or b"") + b" ", offset=9))

    async def work(ledger: Ledger) -> None:
        if not together:
            await ledger.apply(TOPIC, 0, 1, [first])
        with pytest.raises(Conflict, match=rf"{first.id} at billing_events\[0\]@9"):
            await ledger.apply(TOPIC, 0, 10, [*every_row()[1:], *([first] if together else []), other])
        assert await ledger.bills() == ([] if together else [first])
        assert await ledger.offsets(TOPIC) == ({} if together else {0: 1})
        assert await ledger.apply(TOPIC, 0, 10, every_row()) == (5 if together else 4)

    within(url, work)


def test_latest_is_the_highest_revision_of_each_bucket(url: str) -> None:
    rows = some_rows()

    async def work(ledger: Ledger) -> None:
        await ledger.apply(TOPIC, 0, 5, rows[::-1])
        assert await ledger.bills(latest=True) == [rows[3], rows[2]]
        assert await ledger.bills("org_1", latest=True) == [rows[2]]
        deltas = [Fraction(bill.delta_cost) for bill in await ledger.bills("org_1", "team_a")]
        assert sum(deltas) == rows[2].cost

    within(url, work)


def test_questions(url: str) -> None:
    rows = some_rows()

    async def work(ledger: Ledger) -> None:
        await ledger.apply(TOPIC, 0, 5, rows)
        assert await ledger.bills("org_2") == [rows[3]]
        assert await ledger.bills(team="team_a") == rows[:3]
        assert await ledger.bills("org_2", "team_a") == []
        assert await ledger.bills("' OR 1=1 --") == []
        assert await ledger.bills(limit=2) == [rows[3], rows[0]]

    within(url, work)


def test_rows_by_their_place_in_the_log(url: str) -> None:
    rows = some_rows()
    other = replace(rows[0], id="evt_elsewhere", partition=1)

    async def work(ledger: Ledger) -> None:
        await ledger.apply(TOPIC, 0, 5, rows[::-1])
        await ledger.apply(TOPIC, 1, 1, [other])
        assert await ledger.rows(TOPIC, 0, 0, 5) == rows
        assert await ledger.rows(TOPIC, 0, 1, 3) == rows[1:3]
        assert await ledger.rows("other", 0, 0, 5) == []
        assert await ledger.kept([rows[3].id, other.id, "nobody's"]) == {rows[3].id: rows[3], other.id: other}
        assert await ledger.kept([]) == {}

    within(url, work)


def test_a_reader_makes_nothing_and_needs_a_ledger_of_this_version(url: str) -> None:
    async def read_only() -> int:
        ledger = open_ledger(url)
        try:
            await ledger.open(create=False)
            return len(await ledger.bills())
        finally:
            await ledger.close()

    for _ in range(2):  # the first time made nothing
        with pytest.raises(Misconfigured, match="is not there"):
            asyncio.run(read_only())
    within(url, lambda ledger: ledger.apply(TOPIC, 0, 5, some_rows()))
    assert asyncio.run(read_only()) == 4


def test_settlements_are_rows_of_their_own_each_once(url: str) -> None:
    logs = Logs()
    for agent in ("agent_2", "agent_1"):
        logs.bill(settlement(agent))
    second, first = map(settled_row, logs.bills)
    other = settled_row(logs.bills[1]._replace(value=(logs.bills[1].value or b"") + b" ", offset=9))

    async def work(ledger: Ledger) -> None:
        assert await ledger.apply(TOPIC, 0, 2, [second, first]) == 2
        assert await ledger.settlements() == [first, second]
        assert await ledger.settlements("org_1", "agent_2") == [second]
        assert await ledger.settlements(agent="agent_3") == await ledger.settlements("org_2") == []
        assert await ledger.settlements(limit=1) == [first]
        with pytest.raises(Conflict, match=rf"settlement {first.id} at billing_events\[0\]@9"):
            await ledger.apply(TOPIC, 0, 10, [*some_rows(), other])
        assert await ledger.bills() == []
        assert await ledger.offsets(TOPIC) == {0: 2}

    within(url, work)
    assert (first.amount, first.request_count, first.chain_id) == (Decimal("0.1"), 100, 36963)


def test_two_writers_at_once_write_each_bill_once(url: str) -> None:
    logs = Logs()
    for number in range(200):
        logs.use(TEN, team=f"team_{number}")
        logs.state(TEN, team=f"team_{number}")
    rows = [row(record) for record in logs.bills]

    async def run() -> None:
        # Opened at once, too: the schema must be made once.
        ledgers = [open_ledger(url) for _ in range(3)]
        await asyncio.gather(*(ledger.open() for ledger in ledgers))
        chunks = [(at, rows[at : at + 50]) for at in range(0, 160, 10)]
        orders = [chunks, chunks[::-1], random.Random(1).sample(chunks, len(chunks))]

        async def write(ledger: Ledger, order: list[tuple[int, list[Bill]]], partition: int) -> int:
            return sum([await ledger.apply(TOPIC, partition, at + len(part), part) for at, part in order])

        jobs = [write(ledger, order, at % 2) for at, (ledger, order) in enumerate(zip(ledgers, orders, strict=True))]
        assert sum(await asyncio.gather(*jobs)) == 200
        assert len(await ledgers[0].bills()) == 200
        assert await ledgers[1].offsets(TOPIC) == {0: 200, 1: 200}
        for ledger in ledgers:
            await ledger.close()
            await ledger.close()

    asyncio.run(run())


def test_a_reader_that_starts_at_the_stored_offset_misses_and_repeats_nothing(url: str) -> None:
    rows, rng = some_rows(), random.Random(7)

    async def one_life(ledger: Ledger) -> bool:
        at = (await ledger.offsets(TOPIC)).get(0, 0)
        while at < len(rows):
            chunk = rows[at : at + rng.randint(1, 2)]
            writing = asyncio.ensure_future(ledger.apply(TOPIC, 0, at + len(chunk), chunk))
            if rng.random() < 0.6:
                for _ in range(rng.randint(0, 5)):
                    await asyncio.sleep(0)
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
                return False
            await writing
            at += len(chunk)
        return True

    while not within(url, one_life):
        pass
    assert len(within(url, lambda ledger: ledger.bills())) == len(rows)
    assert within(url, lambda ledger: ledger.offsets(TOPIC)) == {0: len(rows)}


def test_sqlite_busy_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    async def run() -> None:
        ledger = SqliteLedger(str(path), busy_seconds=0.01)
        await ledger.open()
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable, match="locked"):
                await ledger.apply(TOPIC, 0, 1, [])
            other.execute("ROLLBACK")
        assert await ledger.apply(TOPIC, 0, 5, every_row()) == 5
        await ledger.close()

    asyncio.run(run())


def test_sqlite_newer_schema_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(Misconfigured, match=r"the ledger has schema 99, this program knows \d+: use a newer program"):
        asyncio.run(open_ledger(f"sqlite:///{path}").open())


def test_sqlite_file_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("this is no database, whatever its name says; it is long enough to be one")
    for wrong in ("text", "text/below/ledger.db", "."):
        with pytest.raises(Misconfigured):
            asyncio.run(open_ledger(f"sqlite:///{tmp_path / wrong}").open())


def test_postgres_newer_schema_is_left_alone(postgres_url: str) -> None:
    async def run() -> None:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("CREATE TABLE ledger_schema (version integer NOT NULL)")
            connection.execute("INSERT INTO ledger_schema VALUES (99)")
        with pytest.raises(
            Misconfigured, match=r"the ledger has schema 99, this program knows \d+: use a newer program"
        ):
            await open_ledger(postgres_url).open()

    asyncio.run(run())


def test_postgres_away_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        asyncio.run(open_ledger("postgresql://user:secret@127.0.0.1:1/ledger").open())
    with pytest.raises(Unavailable) as caught:
        asyncio.run(open_ledger(f"postgresql://user:secret@/ledger?host={tmp_path}").open())
    assert "secret" not in str(caught.value)


def test_postgres_connection_lost_is_unavailable_and_heals(postgres_url: str) -> None:
    async def run() -> None:
        other = await psycopg.AsyncConnection.connect(postgres_url)
        async with open_ledger(postgres_url) as ledger:
            await ledger.apply(TOPIC, 0, 0, [])
            await other.execute("SELECT * FROM ledger_offsets FOR UPDATE")
            writing = asyncio.ensure_future(ledger.apply(TOPIC, 0, 5, some_rows()))
            kill = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'"""
            killed = 0
            while not killed:
                await other.execute("SELECT pg_stat_clear_snapshot()")
                (killed,) = await (await other.execute(kill)).fetchone() or (0,)
            with pytest.raises(Unavailable):
                await writing
            await other.rollback()
            assert await ledger.bills() == []
            assert await ledger.apply(TOPIC, 0, 5, every_row()) == 5
        await other.close()

    asyncio.run(run())


def test_postgres_that_answers_too_slowly_is_unavailable(postgres_url: str) -> None:
    async def run() -> None:
        other = await psycopg.AsyncConnection.connect(postgres_url)
        async with open_ledger(postgres_url) as ledger:
            await ledger.apply(TOPIC, 0, 0, [])
        # Enough to open it on a busy machine.
        async with PostgresLedger(postgres_url, answer_seconds=1) as ledger:
            await other.execute("SELECT * FROM ledger_offsets FOR UPDATE")
            with pytest.raises(Unavailable):
                await ledger.apply(TOPIC, 0, 5, some_rows())
        await other.close()

    asyncio.run(run())


def test_a_trickle_of_bills_through_pgbouncer_never_loses_its_statements(postgres_url: str) -> None:
    rows = [row(record) for record in trickle(60)]

    async def write(ledger: Ledger, part: list[Bill]) -> None:
        for bill in part:
            assert await ledger.apply(TOPIC, bill.partition, bill.offset + 1, [bill]) == 1
            assert await ledger.kept([bill.id]) == {bill.id: bill}
            assert bill in await ledger.rows(TOPIC, bill.partition, 0, bill.offset + 1)

    async def run(url: str) -> None:
        async with open_ledger(url) as first, open_ledger(url) as second:
            await asyncio.gather(write(first, rows[::2]), write(second, rows[1::2]))
            assert len(await first.bills()) == 60

    with pgbouncer_server(postgres_url) as url:
        asyncio.run(run(url))


@pytest.mark.parametrize(
    "parameters",
    [
        "pgbouncer=true",
        "connect_timeout=10",
        "sslmode=prefer&channel_binding=prefer",
        "sslmode=allow&gssencmode=disable&target_session_attrs=read-write",
        "sslmode=disable&sslcert=/nonexistent/client.crt",
        "application_name=mine&keepalives=1&keepalives_idle=30&keepalives_count=3&tcp_user_timeout=10000",
        "options=-c%20statement_timeout%3D10000&passfile=/nonexistent/passfile&connection_limit=1",
    ],
)
def test_postgres_takes_the_parameters_of_libpq(postgres_url: str, parameters: str) -> None:
    url = f"{postgres_url}&{parameters}" if "?" in postgres_url else f"{postgres_url}?{parameters}"
    for scheme in ("postgresql", "postgres"):
        assert within(urlsplit(url)._replace(scheme=scheme).geturl(), lambda ledger: ledger.offsets(TOPIC)) == {}


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "postgresql://u:secret@h/db?sslmode=verify-full&sslrootcert=/nonexistent/ca.pem",
            "sslrootcert names /nonexist",
        ),
        ("postgresql://u:secret@h/db?sslcert=/nonexistent/client.crt", "sslcert names /nonexistent/client.crt"),
        ("postgresql://u:secret@h/db?sslkey=/nonexistent/client.key", "sslkey names /nonexistent/client.key"),
        ("postgresql://u:secret@127.0.0.1:1/db?service=nowhere", "nowhere"),
        ("postgresql://u:secret@127.0.0.1:1/db?sslmode=enforce", "sslmode"),
        ("postgresql://u:secret@127.0.0.1:1/db?target_session_attrs=any-old", "target_session_attrs"),
        ("postgresql://u:secret@127.0.0.1:1/db?sslmodus=require", "no parameter sslmodus"),
        ("postgresql://u:pg/secret@h/db", "%40"),
        ("postgresql://u:pg@secret@h/db", "%40"),
        ("postgresql://u:pg%secret@h/db", "%40"),
        ("postgresql://[::1/db", "%40"),
    ],
)
def test_postgres_url_that_cannot_be_used_is_one_sentence_without_the_password(url: str, sentence: str) -> None:
    with pytest.raises(Misconfigured, match=sentence) as caught:
        asyncio.run(open_ledger(url).open())
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_postgres_url_with_several_hosts_finds_the_one_that_answers(postgres_url: str) -> None:
    with pgbouncer_server(postgres_url) as url:
        parts = urlsplit(url)
        several = parts._replace(netloc=f"postgres@127.0.0.1:1,127.0.0.1:{parts.port}").geturl()
        assert within(several, lambda ledger: ledger.offsets(TOPIC)) == {}


def test_a_startup_parameter_that_pgbouncer_refuses_is_named(postgres_url: str) -> None:
    with pgbouncer_server(postgres_url) as url, pytest.raises(Misconfigured, match="startup parameter"):
        asyncio.run(open_ledger(f"{url}?options=-c%20statement_timeout%3D1").open())


def test_a_server_without_tls_is_refused_where_the_url_demands_it(postgres_url: str) -> None:
    with pgbouncer_server(postgres_url) as url, pytest.raises(Misconfigured, match="SSL"):
        asyncio.run(open_ledger(f"{url}?sslmode=require&channel_binding=require").open())


def test_postgres_that_has_lost_a_table_says_how_to_mend_it(postgres_url: str) -> None:
    async def run() -> None:
        async with open_ledger(postgres_url) as ledger:
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                connection.execute("DROP TABLE bills CASCADE")
            with pytest.raises(Misconfigured, match="ledger_schema"):
                await ledger.apply(TOPIC, 0, 5, every_row())

    asyncio.run(run())


def test_postgres_wrong_database_or_encoding(postgres_url: str) -> None:
    async def run() -> None:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
        for name, sentence in (("nowhere", "nowhere"), ("ascii", "SQL_ASCII")):
            with pytest.raises(Misconfigured, match=sentence):
                await open_ledger(urlsplit(postgres_url)._replace(path=f"/{name}").geturl()).open()

    asyncio.run(run())


@pytest.mark.parametrize(
    "wrong",
    ["", "ledger.db", "mysql://u:secret@h/d", "sqlite://x", "sqlite:///", "sqlite:///:memory:", "postgresql://"],
)
def test_wrong_url(wrong: str) -> None:
    with pytest.raises(Misconfigured, match="STREAM_LEDGER_URL") as caught:
        open_ledger(wrong)
    assert "secret" not in str(caught.value)


def test_wrong_postgres_url_shows_when_it_is_opened() -> None:
    with pytest.raises(Misconfigured, match="STREAM_LEDGER_URL"):
        asyncio.run(open_ledger("postgresql://host:port/db").open())


def test_relative_and_absolute_sqlite_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    within("sqlite:///.state/ledger.db", lambda ledger: ledger.offsets(TOPIC))
    assert (tmp_path / ".state" / "ledger.db").exists()


def test_row_of_a_statement_and_of_a_settlement() -> None:
    rows = some_rows()
    assert (rows[1].kind, rows[1].revision, rows[1].supersedes) == ("billing.usage.revised", 1, rows[0].id)
    assert (rows[1].requests, rows[1].total_tokens) == (2, 760)
    assert (rows[1].period_start_ms, rows[1].period_end_ms) == (TEN, TEN + HOUR_MS)
    assert rows[1].delta_cost == Decimal("999999999999999999.999999999999")
    settled = every_row()[4]
    assert isinstance(settled, Settlement)
    assert (settled.agent, settled.amount, settled.request_count) == ("agent_1", Decimal("0.1"), 100)
    assert (settled.period_end_ms, settled.offset) == (TEN + HOUR_MS, 4)


def _rewritten(**changes: Any) -> bytes:
    logs = some_logs()
    logs.rewrite(logs.bills[0], **changes)
    return logs.bills[0].value or b""


@pytest.mark.parametrize("cost", ["9" * 26 + "." + "9" * 12, "-" + "9" * 26 + "." + "9" * 12])
def test_row_of_the_largest_amounts(cost: str) -> None:
    bill = to_row(TOPIC, 0, 0, _rewritten(totals__cost=cost, delta__cost=cost))
    assert isinstance(bill, Bill)
    assert str(bill.cost) == str(bill.delta_cost) == cost


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.EMPTY_VALUE),
        (b"", Reason.EMPTY_VALUE),
        (b"\xff", Reason.MALFORMED_JSON),
        (b"{", Reason.MALFORMED_JSON),
        (b"[]", Reason.INVALID_ENVELOPE),
        (_rewritten(envelope__id=""), Reason.INVALID_ENVELOPE),
        (_rewritten(envelope__type="billing.usage.other"), Reason.UNKNOWN_TYPE),
        (_rewritten(totals__cost="1.5"), Reason.INVALID_DATA),
        (_rewritten(totals__cost="1" + "0" * 26 + "." + "0" * 12), Reason.INVALID_DATA),
        (_rewritten(totals__cost=float("nan")), Reason.MALFORMED_JSON),
        (_rewritten(totals__requests=2**63), Reason.INVALID_DATA),
        (_rewritten(revision=1), Reason.INVALID_DATA),
        (_rewritten(envelope__team_id="t\u0000", team_id="t\u0000"), Reason.INVALID_DATA),
        (_rewritten(envelope__org_id="org\u0000"), Reason.INVALID_DATA),
        (json.dumps({**settlement(), "data": {}}).encode(), Reason.INVALID_DATA),
    ],
)
def test_poison_is_a_value(value: bytes | None, reason: Reason) -> None:
    rejected = to_row(TOPIC, 0, 0, value)
    assert isinstance(rejected, Rejected)
    assert rejected.reason is reason
    assert rejected.error


def test_a_span_is_read_by_start_and_id_a_few_at_a_time(url: str) -> None:
    bills = [row(record) for record in some_logs().bills if b"settled" not in (record.value or b"")]

    async def work(ledger: Ledger) -> list[list[Bill]]:
        await ledger.apply(TOPIC, 0, 9, bills)
        spans = ((TEN - HOUR_MS, TEN + HOUR_MS), (TEN, TEN + HOUR_MS), (TEN - HOUR_MS, TEN), (0, TEN - HOUR_MS))
        return [[bill async for bill in ledger.between(*span, most=2)] for span in spans]

    ordered = sorted(bills, key=lambda bill: (bill.period_start_ms, bill.id))
    assert within(url, work) == [ordered, ordered[1:], ordered[:1], []]
