"""bills=ledger: the log of bills against a real ledger file, into which every kind of fault is planted."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from verify_logs import HOUR_MS, TEN, Logs, bill_id, money, text

from streamapp.errors import Misconfigured
from streamapp.kafka.log.reader import Record, Span
from streamapp.sinks.ledger.database import open_ledger
from streamapp.sinks.ledger.rows import Bill, to_row
from streamapp.verify.bills.ledgers import BILLS, TOPIC, Kept, Newest
from streamapp.verify.bills.ledgers import bills as copy_of_bills
from streamapp.verify.copies.records import walk
from streamapp.verify.report import PairReport, Sums

Plant = Callable[[sqlite3.Connection], object]


def bills() -> list[Record]:
    """An hour of team_a with a revision, one of team_b on another partition; and two events that are no bills."""
    logs = Logs()
    logs.use(TEN)
    logs.state(TEN)
    logs.use(TEN + 1)
    logs.state(TEN)
    logs.use(TEN, team="team_b", partition=1)
    logs.state(TEN, team="team_b", partition=1)
    data = {"amount": money(10**11), "request_count": 100, "currency": "AI", "agent": "a", "consumer": "c"}
    data |= {"settlement_id": "evt_s", "period_start": text(TEN), "period_end": text(TEN + HOUR_MS)}
    envelope = {"schema": "hanzo.stream.v1", "id": bill_id("x", "org_1", "", "AI", TEN, 0), "source": "rpc-billing"}
    logs.bill({**envelope, "type": "billing.rpc.settled", "org_id": "org_1", "timestamp": text(TEN), "data": data})
    logs.bill({**envelope, "id": "evt_other", "type": "something.else", "org_id": "org_1", "timestamp": text(TEN)})
    return logs.bills


def end(records: Sequence[Record]) -> dict[int, int]:
    """Behind the last record of each partition."""
    return {number: sum(record.partition == number for record in records) for number in range(4)}


async def keep(url: str, records: Sequence[Record]) -> None:
    async with open_ledger(url) as ledger:
        for number, upto in end(records).items():
            mine = [record for record in records if record.partition == number]
            rows = [to_row(TOPIC, number, record.offset, record.value) for record in mine]
            await ledger.apply(TOPIC, number, upto, [row for row in rows if isinstance(row, Bill)])


def compare(url: str | None, records: Sequence[Record], done: dict[int, int]) -> PairReport:
    """What the check finds. `url` None: the group has kept nothing yet."""
    spans = {number: Span(0, upto) for number, upto in end(records).items()}
    report, newest = PairReport(BILLS.name, TOPIC, BILLS.right), Newest()
    with asyncio.Runner() as runner:
        ledger = None if url is None else open_ledger(url)
        if ledger is not None:
            runner.run(ledger.open(create=False))
        walk(records, spans, done, Kept(ledger, runner), copy_of_bills(newest), report)
        if ledger is not None:
            runner.run(ledger.close())
    newest.tell(report)
    report.compare_hours()
    return report


def checked(folder: Path, plant: Plant = lambda connection: None, kept: int | None = None) -> PairReport:
    """Keep `kept` bills (all), plant something, compare."""
    records, file = bills(), folder / "ledger.db"
    url = f"sqlite:///{file}"
    asyncio.run(keep(url, records[:kept]))
    with closing(sqlite3.connect(file)) as connection, connection:
        plant(connection)
    return compare(url, records, end(records[:kept]))


def faults(report: PairReport) -> tuple[int, int, int]:
    return report.lost.count, report.doubled.count, report.wrong.count


def test_a_ledger_that_is_right(tmp_path: Path) -> None:
    report = checked(tmp_path)
    assert (report.events, report.waiting, report.difference) == (3, 0, 0), report.as_json()
    amounts: dict[str, Decimal | int] = {
        "requests": Decimal(3),
        "total_tokens": Decimal(1140),
        "cost USD": Decimal("0.0114"),
    }
    assert report.hours == {TEN: (Sums(3, amounts), Sums(3, amounts))}


def test_bills_behind_the_ledger_wait(tmp_path: Path) -> None:
    report = checked(tmp_path, kept=2)
    assert (report.events, report.waiting, report.difference) == (3, 1, 0), report.as_json()


def test_without_a_ledger_everything_waits() -> None:
    records = bills()
    report = compare(None, records, {})
    assert (report.events, report.waiting, report.difference) == (3, 3, 0)


def test_a_bill_that_stands_in_the_log_twice_is_one_row(tmp_path: Path) -> None:
    records = bills()
    records = [*records, records[0]._replace(offset=end(records)[0])]
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    asyncio.run(keep(url, records))
    report = compare(url, records, end(records))
    assert (report.events, report.difference) == (3, 0), report.as_json()


def test_a_ledger_that_is_behind_what_the_group_committed_has_lost_it(tmp_path: Path) -> None:
    records = bills()
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    asyncio.run(keep(url, []))
    report = compare(url, records, end(records))
    assert faults(report) == (3, 0, 0)


REVISION_1 = "revision = 1"
COPY = """INSERT INTO bills SELECT 'evt_copy', kind, revision, supersedes, org_id, team_id, currency, period_start,
    period_end, cost, delta_cost, requests, total_tokens, event, topic, partition, {offset}, recorded_at
    FROM bills WHERE revision = 1"""
PLANTED: dict[str, tuple[str, tuple[int, int, int]]] = {
    "row deleted": (f"DELETE FROM bills WHERE {REVISION_1}", (1, 0, 0)),
    "copy under another id": (COPY.format(offset="record_offset"), (0, 1, 0)),
    "copy at a place without a bill": (COPY.format(offset="record_offset + 2"), (0, 1, 0)),
    "cost": (f"UPDATE bills SET cost = '0.007600000001' WHERE {REVISION_1}", (0, 0, 1)),
    "delta": (f"UPDATE bills SET delta_cost = '0.000000000000' WHERE {REVISION_1}", (0, 0, 1)),
    "requests": (f"UPDATE bills SET requests = 1 WHERE {REVISION_1}", (0, 0, 1)),
    "team": (f"UPDATE bills SET team_id = 'team_x' WHERE {REVISION_1}", (0, 0, 1)),
    "hour": (f"UPDATE bills SET period_start = '2025-01-15T11:00:00.000Z' WHERE {REVISION_1}", (0, 0, 1)),
    "bytes": (f"UPDATE bills SET event = event || ' ' WHERE {REVISION_1}", (0, 0, 1)),
    "row moved to another place": (f"UPDATE bills SET record_offset = 3 WHERE {REVISION_1}", (0, 1, 0)),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_fault_is_found_and_counted_once(tmp_path: Path, name: str) -> None:
    statement, expected = PLANTED[name]
    report = checked(tmp_path, lambda connection: connection.execute(statement))
    assert faults(report) == expected, report.as_json()


def test_a_row_that_cannot_be_read_is_said_to_a_person(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="12 decimals"):
        checked(tmp_path, lambda connection: connection.execute("UPDATE bills SET cost = '0.2'"))


def test_nobody_makes_a_ledger_by_reading(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="STREAM_LEDGER_URL"):
        compare(f"sqlite:///{tmp_path / 'none.db'}", [], {})
    assert list(tmp_path.iterdir()) == []
