"""A month's bills of the ledger as a file: the highest revision of each hour, by period, org, team and currency."""

from __future__ import annotations

import csv
import json
from collections.abc import AsyncIterator, Iterable
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from streamapp.schemas.billing import COUNTERS
from streamapp.schemas.values.money import EXACT, ZERO, money_text
from streamapp.schemas.values.timestamp import format_ms
from streamapp.sinks.ledger.database import Ledger
from streamapp.sinks.ledger.rows import Bill

Format = Literal["csv", "jsonl", "parquet"]
_SCHEMA = pa.schema(
    [
        ("bill_id", pa.string()),
        ("revision", pa.int64()),
        ("org_id", pa.string()),
        ("team_id", pa.string()),
        ("currency", pa.string()),
        ("period_start", pa.timestamp("ms", tz="UTC")),
        ("period_end", pa.timestamp("ms", tz="UTC")),
        ("issued", pa.string()),
        ("provider", pa.string()),
        ("model", pa.string()),
        *((name, pa.int64()) for name in COUNTERS),
        ("cost", pa.decimal128(38, 12)),
    ]
)
_LINE = ("provider", "model")
BATCH = 5_000

Row = dict[str, Any]


async def bills_of(ledger: Ledger, begin_ms: int, end_ms: int, org: str, team: str) -> AsyncIterator[Bill]:
    """The highest revision of each bucket whose hour starts in [begin, end). A bill that is revised meanwhile is there
    once, before or after. Raises as `Ledger` does."""
    hour: dict[tuple[str, str | None, str], Bill] = {}
    start_ms = begin_ms
    async for bill in ledger.between(begin_ms, end_ms):
        if bill.period_start_ms != start_ms:
            for found in _sorted(hour.values()):
                yield found
            hour, start_ms = {}, bill.period_start_ms
        if (org and bill.org_id != org) or (team and bill.team_id != team):
            continue
        bucket = bill.org_id, bill.team_id, bill.currency
        if bucket not in hour or hour[bucket].revision < bill.revision:
            hour[bucket] = bill
    for found in _sorted(hour.values()):
        yield found


def _sorted(bills: Iterable[Bill]) -> list[Bill]:
    return sorted(bills, key=lambda bill: (bill.org_id, bill.team_id or "", bill.currency))


def rows_of(bill: Bill, lines: bool) -> list[Row]:
    """A bill as one row, or as one for each of its models."""
    event = json.loads(bill.event, parse_float=Decimal)
    data = event["data"]
    head = {
        "bill_id": bill.id,
        "revision": bill.revision,
        "org_id": bill.org_id,
        "team_id": bill.team_id,
        "currency": bill.currency,
        "period_start": bill.period_start_ms,
        "period_end": bill.period_end_ms,
        "issued": event["timestamp"],
    }
    parts = data["lines"] if lines else [data["totals"]]
    names = _LINE if lines else ()
    return [
        {
            **head,
            **{name: part[name] for name in names},
            **{name: part[name] for name in COUNTERS},
            "cost": Decimal(part["cost"]),
        }
        for part in parts
    ]


class Sums:
    """What was written: so many bills, and their cost by currency."""

    def __init__(self) -> None:
        self.bills = 0
        self.cost: dict[str, Decimal] = {}

    def add(self, bill: Bill) -> None:
        self.bills += 1
        self.cost[bill.currency] = EXACT.add(self.cost.get(bill.currency, ZERO), bill.cost)


class Writer:
    """Writes rows in one of the formats. Money stays a decimal: a text in CSV and JSON, decimal(38, 12) in Parquet.
    A sum of tokens beyond 64 bits does not fit Parquet: `OverflowError`."""

    def __init__(self, to: IO[bytes], kind: Format, lines: bool) -> None:
        self._to, self._kind = to, kind
        self._names = [name for name in _SCHEMA.names if lines or name not in _LINE]
        self._waiting: list[Row] = []
        self._parquet = pq.ParquetWriter(to, self._schema) if kind == "parquet" else None
        if kind == "csv":
            self._csv([dict(zip(self._names, self._names, strict=True))])

    @property
    def _schema(self) -> pa.Schema:
        return pa.schema([_SCHEMA.field(name) for name in self._names])

    def add(self, rows: Iterable[Row]) -> None:
        """The next rows."""
        self._waiting += rows
        if len(self._waiting) >= BATCH:
            self._flush()

    def close(self) -> None:
        """All are written. The file is not closed."""
        self._flush()
        if self._parquet is not None:
            self._parquet.close()

    def _flush(self) -> None:
        rows, self._waiting = self._waiting, []
        if self._parquet is not None:
            if rows:
                self._parquet.write_table(pa.Table.from_pylist(rows, self._schema))
        elif self._kind == "csv":
            self._csv([_plain(row) for row in rows])
        else:
            lines = (json.dumps(_plain(row), ensure_ascii=False, separators=(",", ":")) for row in rows)
            self._to.write("".join(f"{line}\n" for line in lines).encode())

    def _csv(self, rows: list[Row]) -> None:
        table = csv.DictWriter(_Encoding(self._to), self._names, lineterminator="\r\n")
        table.writerows(rows)


class _Encoding:
    """Bytes of a text, for `csv`."""

    def __init__(self, to: IO[bytes]) -> None:
        self._to = to

    def write(self, text: str) -> int:
        return self._to.write(text.encode())


def _plain(row: Row) -> Row:
    return {
        **row,
        "period_start": format_ms(row["period_start"]),
        "period_end": format_ms(row["period_end"]),
        "cost": money_text(row["cost"]),
    }


async def export(
    ledger: Ledger,
    span: tuple[int, int],
    to: IO[bytes],
    kind: Format,
    *,
    org: str = "",
    team: str = "",
    lines: bool = False,
) -> Sums:
    """Write the bills of hours that start in the span. Raises as `Ledger` does."""
    sums, writer = Sums(), Writer(to, kind, lines)
    async for bill in bills_of(ledger, *span, org, team):
        sums.add(bill)
        writer.add(rows_of(bill, lines))
    writer.close()
    return sums


def kind_of(path: Path) -> str:
    """The format that a file's name says, or empty."""
    return path.suffix.removeprefix(".") if path.suffix in (".csv", ".jsonl", ".parquet") else ""
