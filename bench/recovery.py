"""How long a worker that lost its disk takes until it has its rows again: all partitions, from the changelog.

The changelog is filled with hours of a fortnight as a worker writes them, in transactions of a chunk's size; the last
hours are open. Then every partition is taken over with an empty folder, by the worker's own code.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path

from aiokafka import TopicPartition
from rich.console import Console

from bench.contenders import OURS_GROUP
from bench.events import BASE_MS, HOUR_MS, MODELS, PARTITIONS
from bench.load import CACHE, ROOM, SOURCE, Step, broker
from streamapp.broker.train import train
from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.situation import Source
from streamapp.exact.partition.takeover import held
from streamapp.exact.partition.transaction import PartitionProducer
from streamapp.kafka.admin import Admin
from streamapp.kafka.provision import apply
from streamapp.meters.usage import codec
from streamapp.meters.usage.store import USAGE, unsettled
from streamapp.settings import KafkaSettings, Settings
from streamapp.store.rows import Writes
from streamapp.topics.registry import TOPICS, changelog
from tables.usage.hourly import HourKey, MonthRow, UsageRow, state

HOURS = 14 * 24
OPEN_HOURS = 2
CHUNK_ROWS = 2_000
LINES = 3  # of a row: a team uses so many models in an hour
CHANGELOG = changelog(OURS_GROUP, USAGE.name)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a recovery took. `cpu_s` is the worker's, without the broker's."""

    rows: int
    partitions: int
    seconds: float
    cpu_s: float
    open_rows: int


def recovery(rows: int, file: Path, step: Step, console: Console) -> bool:
    """Fill, take over, print and write the figures. Returns whether every row came back."""
    folder = ROOM / "run" / "recovery"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    train(CACHE)
    try:
        with broker(folder / "broker") as running:
            kafka = KafkaSettings(bootstrap_servers=running.bootstrap)
            apply(Admin(kafka), TOPICS, 1)
            asyncio.run(_fill(kafka, rows, step))
            one = asyncio.run(_recover(Settings(kafka=kafka), folder / "state"))
        disk_mb = sum(path.stat().st_size for path in (folder / "state").rglob("*") if path.is_file()) / 1e6
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    console.print(
        f"{one.rows:,} rows of {one.partitions} partitions in {one.seconds:.1f} s, {one.cpu_s:.1f} s CPU; "
        f"{one.open_rows:,} rows are open; {disk_mb:,.0f} MB on disk"
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(one), indent=2) + "\n")
    return one.rows == rows


async def _fill(kafka: KafkaSettings, rows: int, step: Step) -> None:
    """Write every partition's share of the rows."""
    shares = [rows // PARTITIONS + (number < rows % PARTITIONS) for number in range(PARTITIONS)]
    for number, share in enumerate(shares):
        producer = PartitionProducer(kafka, OURS_GROUP, TopicPartition(SOURCE, number), CHANGELOG)
        await producer.start()
        try:
            made = _rows(number, share)
            for _ in range(0, share, CHUNK_ROWS):
                writes: Writes = dict(islice(made, CHUNK_ROWS))
                await producer.commit(Transaction(writes, (), None))
            step("filling the changelog", sum(shares[: number + 1]), rows)
        finally:
            await producer.stop()


def _rows(partition: int, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Rows of a partition, hour by hour; those of the last hours are open."""
    teams = -(-count // HOURS)
    last_hour = (count - 1) // teams
    for number in range(count):
        hour, team = divmod(number, teams)
        name = f"{partition}_{team:05d}"
        row = UsageRow(HourKey(BASE_MS + hour * HOUR_MS, f"org_{name[:-1]}", f"team_{name}", "USD"))
        row.first_offset, row.last_offset = number * 10, number * 10 + 9_999
        for line in range(LINES):
            provider, model, _, _ = MODELS[(team + line) % len(MODELS)]
            counters = row.line(provider, model)
            counters.requests, counters.prompt_tokens, counters.completion_tokens = 100 + line, 54_321, 12_345
            counters.cost = Decimal(f"{team}.{number:012d}")
        if hour <= last_hour - OPEN_HOURS:
            state(row, MonthRow(), row.key.start_ms + HOUR_MS)
        yield codec.hour_key(row.key), codec.pack_hour(row)


async def _recover(settings: Settings, folder: Path) -> Recovery:
    """Take every partition over with an empty folder."""
    source = Source(OURS_GROUP, SOURCE, USAGE, CHANGELOG, ("billing_events", "dead_letter"))
    began, began_cpu = time.monotonic(), time.process_time()
    async with held(source, settings, range(PARTITIONS), folder) as hold:
        open_rows = sum(1 for store in hold.stores.values() for _ in unsettled(store))
        seconds, cpu_s = time.monotonic() - began, time.process_time() - began_cpu
        rows = sum(1 for store in hold.stores.values() for _ in store.scan(b"h", b"i"))
        await hold.release()
    return Recovery(rows, PARTITIONS, round(seconds, 2), round(cpu_s, 2), open_rows)
