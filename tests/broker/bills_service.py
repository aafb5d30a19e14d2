"""A service that reads bills into SQLite, to be killed at any moment: FORM BOOTSTRAP TOPIC DATABASE

`position`: bills and the position behind them are kept in one transaction. `group`: Kafka keeps the position, which is
moved now and then, so a bill may come again. Both keep the highest revision and the sum of the differences of an hour.
A line of stdin allows one more bill; a line of stdout says that one is kept.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from decimal import Decimal

from streamapp.kafka.bills.event import bucket_of, is_next
from streamapp.kafka.bills.reader import BillsReader
from streamapp.schemas.billing import BillingHourly, BillingRevised
from streamapp.settings import KafkaSettings

TABLES = """
create table if not exists bills (bucket text primary key, revision int, total text, sum text);
create table if not exists position (part int primary key, next int);
"""
COMMITS_EACH = 5


def keep(database: sqlite3.Connection, event: BillingHourly | BillingRevised) -> None:
    """As the documentation says: what is not the next revision was counted already."""
    bucket = repr(tuple(bucket_of(event)))
    row = database.execute("select revision, sum from bills where bucket = ?", [bucket]).fetchone()
    revision, sum_ = row or (None, "0")
    if is_next(event, revision):
        new = (bucket, event.data.revision, str(event.data.totals.cost), str(Decimal(sum_) + event.data.delta.cost))
        database.execute("insert or replace into bills values (?, ?, ?, ?)", new)


async def serve(form: str, bootstrap: str, topic: str, path: str) -> None:
    database = sqlite3.connect(path)
    database.executescript(TABLES)
    kafka, kept = KafkaSettings(bootstrap_servers=bootstrap), 0
    if form == "position":
        saved = dict(database.execute("select part, next from position"))
        reader = BillsReader(kafka, topic=topic, position=saved)
    else:
        reader = BillsReader(kafka, topic=topic, group=f"{topic}-group", silent_s=3)
    async with reader:
        async for stated in reader:
            assert isinstance(stated.event, BillingHourly | BillingRevised)
            sys.stdin.readline()
            with database:
                keep(database, stated.event)
                if form == "position":
                    database.executemany("insert or replace into position values (?, ?)", reader.position.items())
            kept += 1
            if form == "group" and kept % COMMITS_EACH == 0:
                await reader.commit()
            sys.stdout.write("kept\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:5]))
