"""Every stored kind of row and every statement has the bytes that it had when tests/golden/rows was written.

A fixed history of each table runs, and each transaction is compared, rows and records in their order. After a change
of format that is meant: `python tests/unit/test_golden_rows.py` writes the files anew, and old rows must still be read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # when it is run by itself

from latency_log import LatencyTable
from rpc_log import Calls, call
from usage_log import Rec, Table, at, event, value

from streamapp.exact.partition.chunk import Transaction
from streamapp.meters.registry import declared
from tables.latency.fold import Limits
from tables.window import Rules

FOLDER = Path(__file__).parents[1] / "golden" / "rows"
ODD = 'o"r\\g é\u2028'
HUGE = "999999999999999999"


def usage() -> list[Rec | int]:
    """Hours of one and of many lines, odd names, numbers beyond 64 bits, revisions, a month's end, expiry, refusals."""
    many = [
        event("10:01", id=f"m{n}", provider=f"p{n % 3}", model=f"m{n * 7 % 10}", cost="0.00000012", more='"x":1')
        for n in range(12)
    ]
    wide = [event("10:02", "team_w", id=f"w{n}", cost=HUGE, prompt=2**53 - 1, completion=0) for n in range(3)]
    odd_team = Rec(
        "t é".encode(),
        value("odd", at("10:03"), "t é", ODD, provider=ODD, model="naïve\t", currency="EUR"),
        at("10:03"),
    )
    return [
        event("10:00", id="a", cost="0.0038"),
        event("10:00", "team_listed", None, id="b", status="error", cache_hit=True, cost="0"),
        event("10:00", id="rounded", cost="0.0000000000015"),
        event("10:00", id="tiny", cost="0.000000000001", model="tiny"),
        *many,
        *wide,
        odd_team,
        event("10:03", id="a", cost="0.0038"),  # the id with other bytes: refused
        Rec(b"team_a", b"{", at("10:03")),
        event("11:06", id="close-10"),
        event("10:30", id="late-1", cost="0.5"),
        event("10:31", "team_new", id="late-2"),
        event("11:11", id="mark"),
        event("10:32", id="late-3", model="late"),
        event("2025-01-31T23:30", id="month-1", cost="1"),
        event("2025-02-01T00:10", id="month-2"),
        event("2025-02-01T01:10", id="month-3"),
        at("2025-02-01T03:00"),
        event("2025-03-01T00:10", id="expires"),
        at("2025-03-01T03:00"),
    ]


def calls() -> list[Rec | int]:
    """Accounts that are settled, carried and waiting; odd names; another currency."""
    return [
        call("10:00", id="a", price="0.2"),
        call("10:01", id="b", method="img.make", quantity=3, price="0.00000012"),
        call("10:02", "agent_b", id="c", consumer=ODD, currency="USD", price="5"),
        call("10:03", id="d", consumer="small", price="0.01"),
        call("11:06", id="close"),
        call("10:30", id="late", price="1"),
        call("12:06", id="close-2", price="2"),
        at("14:00"),
        call("2025-02-01T10:00", id="later", price="0.3"),
        at("2025-02-01T12:00"),
    ]


def latency() -> list[Rec | int]:
    """Measured and unmeasured calls, streams, errors, late ones, expiry."""
    measured = '"latency_ms":812,"ttft_ms":95,"stream":true'
    return [
        event("10:00", id="a", cost="0.0038", more=measured),
        event("10:00", id="b", status="error", more='"latency_ms":-1'),
        event("10:01", id="c", provider=ODD, model=ODD, currency="EUR", more='"latency_ms":1.5,"stream":false'),
        *(event("10:02", id=f"m{n}", model=f"m{n}", more=measured) for n in range(4)),
        event("11:06", id="close", more=measured),
        event("10:30", id="late", more=measured),
        event("2025-03-01T00:10", id="expires", more=measured),
    ]


HISTORIES: dict[str, tuple[Callable[[], Any], Callable[[], list[Rec | int]]]] = {
    "usage_hourly": (lambda: Table(Rules(names_max=8)), usage),
    "rpc_hourly": (Calls, calls),
    "latency": (lambda: LatencyTable(limits=Limits(models=2)), latency),
}
CHUNK = 5


def text(part: bytes | None) -> str | None:
    """One character for each byte: JSON stays readable."""
    return None if part is None else part.decode("latin-1")


def shown(transaction: Transaction) -> dict[str, Any]:
    sends = [[topic, partition, text(key), text(value)] for topic, partition, key, value in transaction.sends]
    rows = sorted([text(key), text(value)] for key, value in transaction.writes.items())  # each key once: in any order
    return {"next_offset": transaction.next_offset, "rows": rows, "sends": sends}


class Seeing:
    """A table's producer, and what it commits."""

    def __init__(self, transactions: list[Transaction], table: Any) -> None:
        self.transactions = transactions
        self.producer = table.task.producer

    async def commit(self, transaction: Transaction) -> int | None:
        self.transactions.append(transaction)
        end: int | None = await self.producer.commit(transaction)
        return end

    async def stop(self) -> None:
        pass


def run(name: str, *, restarts: bool = False) -> list[dict[str, Any]]:
    """A history in chunks of five records; a number is a tick of the wall clock at that moment. `restarts`: each chunk
    is another worker's, who begins with the stored rows."""
    make, history = HISTORIES[name]
    table, chunk, transactions = make(), list[Rec](), list[Transaction]()
    table.task.producer = Seeing(transactions, table)
    for item in [*history(), 0]:
        if isinstance(item, Rec):
            chunk.append(item)
        if chunk and (isinstance(item, int) or len(chunk) == CHUNK):
            table.apply(*chunk)
            chunk = []
        if isinstance(item, int) and item:
            table.idle_ms(item)
        if restarts:
            table.restart()
            table.task.producer = Seeing(transactions, table)
    return [shown(transaction) for transaction in transactions]


def golden(name: str) -> list[dict[str, Any]]:
    file: list[dict[str, Any]] = json.loads((FOLDER / f"{name}.json").read_text())
    return [{**transaction, "rows": sorted(transaction["rows"])} for transaction in file]


@pytest.mark.parametrize("name", HISTORIES)
def test_bytes_are_what_they_were(name: str) -> None:
    found, kept = run(name), golden(name)
    assert len(found) == len(kept)
    for now, before in zip(found, kept, strict=True):
        assert now == before


@pytest.mark.parametrize("name", HISTORIES)
def test_a_table_of_before_is_read_and_goes_on(name: str) -> None:
    """Every row can be read, and workers who begin on them write the same bytes as one that never stopped."""
    assert run(name, restarts=True) == golden(name)
    kinds = set()
    table = declared(name).rows
    for transaction in golden(name):
        for key, stored in transaction["rows"]:
            if stored is not None:
                raw = key.encode("latin-1")
                parts, _ = table.readable(raw, stored.encode("latin-1"))
                assert table.readable_key(parts) == raw
                kinds.add(raw[:1])
    assert b"".join(sorted(kinds)) == table.kinds


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for one in HISTORIES:
        (FOLDER / f"{one}.json").write_text(json.dumps(run(one), indent=1, ensure_ascii=True) + "\n")
