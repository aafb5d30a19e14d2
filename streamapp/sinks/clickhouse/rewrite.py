"""Rows of ClickHouse's `events` made again: what differs from today's reading is inserted under a new revision, and
what it replaces is removed at the end.

Every step may be done again:

    1  rows that differ are inserted with the revision of this run    readers of `events_once` see a record's row of
                                                                      the latest revision from here on
    2  at the end: rows with an older revision than another row of their record are deleted
                                                                      nobody reads them any more

A run that is killed leaves rows of two revisions; the next one finds those that it wrote right, and removes the old.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from streamapp.errors import Unavailable
from streamapp.exact.partition.place import Place
from streamapp.schemas.values.timestamp import DAY_MS
from streamapp.sinks.clickhouse.client import ClickHouse
from streamapp.sinks.clickhouse.events import NUMBERS, TEXTS, AnalyticsEvents, Row
from streamapp.sinks.clickhouse.schema import EVENTS, SUPERSEDED
from streamapp.sinks.rewriter import Difference, Reading

POLL_S = 0.2
UUIDS_MAX = 1000  # of one question: a query has at most 256 KiB

_COLUMNS = (
    "toString(uuid), event, properties, team_id, distinct_id, session_id, "
    "toUnixTimestamp64Milli(timestamp), toUnixTimestamp64Milli(created_at), _offset"
)  # as `Row` has them


class EventsRewriter:
    """`Rewriter` of the table of events."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._events = AnalyticsEvents(self._clickhouse)
        self._table = f"{self._clickhouse.database}.{EVENTS}"
        self._superseded = SUPERSEDED.format(database=self._clickhouse.database)
        self._revision = 0

    async def begin(self, now_ms: int) -> None:
        """The revision of a run is a moment, and later than every other's."""
        await asyncio.to_thread(self._events.open)
        ((newest,),) = await self._rows(f"SELECT max(_revision) FROM {self._table}")
        self._revision = max(now_ms, int(newest) + 1)

    async def batches(self, place: Place, first: int, end: int) -> None:
        """Any rows may be replaced."""

    async def compared(self, reading: Reading) -> Difference:
        return await asyncio.to_thread(self._compared, reading)

    async def write(self, reading: Reading, difference: Difference) -> None:
        place, batches = reading.place, difference.content
        if not batches:
            return
        block = self._events.block(place.topic, place.partition, batches, self._revision)
        token = f"{place.topic}:{place.partition}:{reading.first}-{reading.last}:{self._revision}"
        await asyncio.to_thread(self._events.insert, block, token)

    async def finish(self) -> int:
        """Raises `Unavailable` where ClickHouse cannot remove them."""
        ((count,),) = await self._rows(f"SELECT count() FROM ({self._superseded})")
        if count:
            statement = f"DELETE WHERE (_topic, _partition, _offset, _revision) IN ({self._superseded})"
            options = "mutations_sync = 0, allow_nondeterministic_mutations = 1"  # of a table with replicas
            await asyncio.to_thread(
                self._clickhouse.command, f"ALTER TABLE {self._table} {statement} SETTINGS {options}"
            )
        await self._mutated()
        return int(count)

    async def close(self) -> None:
        self._clickhouse.close()

    async def _mutated(self) -> None:
        """Until every deletion is done, also one of an earlier run."""
        asked = (
            "SELECT countIf(NOT is_done), anyIf(latest_fail_reason, NOT is_done) FROM system.mutations "
            f"WHERE database = '{self._clickhouse.database}' AND table = '{EVENTS}' AND command LIKE '%_revision%'"
        )
        while True:
            ((left, trouble),) = await self._rows(asked)
            if trouble:
                raise Unavailable(f"ClickHouse does not remove the rows that were replaced: {trouble}")
            if not left:
                return
            await asyncio.sleep(POLL_S)

    async def _rows(self, query: str) -> list[Sequence[Any]]:
        return await asyncio.to_thread(self._clickhouse.rows, query)

    # -- comparing -----------------------------------------------------------------------------------------------

    def _compared(self, reading: Reading) -> Difference:
        wanted = [row for batch in reading.rows for row in rows_of(batch) if row.offset not in reading.refused]
        kept = self._kept(reading)
        changed = {row.offset for row in wanted if row.offset in kept and kept[row.offset] != {row}}
        absent = [row for row in wanted if row.offset not in kept]
        missing = {row.offset for row in absent} - self._merged(reading, absent)
        return Difference(
            same=len(wanted) - len(changed) - len(missing),
            changed=len(changed),
            missing=len(missing),
            content=_only(reading.rows, changed | missing),
        )

    def _kept(self, reading: Reading) -> dict[int, set[Row]]:
        """Offset → its rows of the latest revision; they are one, unless the window of tokens was too short."""
        place = reading.place
        found: dict[int, tuple[int, set[Row]]] = {}
        for revision, *columns in self._clickhouse.rows(
            f"SELECT _revision, {_COLUMNS} FROM {self._table} "
            f"WHERE _topic = '{place.topic}' AND _partition = {place.partition} "
            f"AND _offset >= {reading.first} AND _offset <= {reading.last}"
        ):
            row = Row(*columns)
            latest, rows = found.get(row.offset, (-1, set()))
            if revision > latest:
                found[row.offset] = (revision, {row})
            elif revision == latest:
                rows.add(row)
        return {offset: rows for offset, (_, rows) in found.items()}

    def _merged(self, reading: Reading, absent: Sequence[Row]) -> set[int]:
        """Offsets of rows that a newer copy has replaced: the table keeps one row of its key."""
        newest: dict[Any, tuple[int, int]] = {}
        for at in range(0, len(absent), UUIDS_MAX):
            named = ", ".join(f"'{row.uuid}'" for row in absent[at : at + UUIDS_MAX])
            for partition, *columns in self._clickhouse.rows(
                f"SELECT _partition, {_COLUMNS} FROM {self._table} "
                f"WHERE _topic = '{reading.place.topic}' AND uuid IN ({named})"
            ):
                row = Row(*columns)
                newest[_key(row)] = max(newest.get(_key(row), (0, 0)), (row.offset, int(partition)))
        own = reading.place.partition
        copies = {row.offset: newest.get(_key(row), (-1, own)) for row in absent}
        return {
            offset
            for offset, (newer, partition) in copies.items()
            if newer > offset or (newer == offset and partition != own)
        }


def rows_of(batch: Any) -> Iterable[Row]:
    """The rows of a `pyarrow.RecordBatch` with the columns `TEXTS` and `NUMBERS`."""
    import pyarrow as pa

    texts = [batch.column(name).to_pylist() for name in TEXTS]
    numbers = [batch.column(name).cast(pa.int64()).to_pylist() for name in NUMBERS]
    return (Row(*columns) for columns in zip(*texts, *numbers, strict=True))


def _only(batches: Sequence[Any], offsets: set[int]) -> list[Any]:
    """The rows with these offsets."""
    import pyarrow as pa

    masks = ([at in offsets for at in batch.column("_offset").to_pylist()] for batch in batches)
    kept = [batch.filter(pa.array(mask, pa.bool_())) for batch, mask in zip(batches, masks, strict=True)]
    return [batch for batch in kept if batch.num_rows]


def _key(row: Row) -> tuple[Any, ...]:
    """Rows that are alike in this become one."""
    return row.team_id, row.at_ms // DAY_MS, row.event, row.distinct_id, row.uuid
