"""The pair events=clickhouse: every captured event against its row of ClickHouse's `events`.

The events are read from the log with the check's own reading; which of them were refused, `dead_letter` says. A copy of
an event that was sent twice may be merged away by ClickHouse; the newest of them stays. It may have come after the
committed offset was asked for: so the rows that replaced missing ones are asked for last (`reading`, step 5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from streamapp.kafka.log.reader import Record, Span
from streamapp.settings import ClickHouseSettings, Settings
from streamapp.sinks.clickhouse.client import ClickHouse
from streamapp.sinks.clickhouse.schema import EVENTS
from streamapp.verify.copies.records import Copy, Item, compare, place
from streamapp.verify.engine import Offsets, Pair, Sides
from streamapp.verify.read.event import HOUR_MS, at, time_ms
from streamapp.verify.read.letters import LETTERS, gather
from streamapp.verify.report import Findings

GROUP = "analytics-ingest"
TOPIC = "events_plugin_ingestion"
DAY_MS = 24 * HOUR_MS
UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ROWS_MAX = 200_000  # of one question to ClickHouse
COLUMNS = "team_id, event, distinct_id, toUnixTimestamp64Milli(timestamp), toString(uuid)"


class Row(NamedTuple):
    """What must agree. `uuid` is None where the event says none."""

    team: str
    event: str
    distinct_id: str
    at_ms: int
    uuid: str | None

    @property
    def merged_by(self) -> tuple[str, str, str, int]:
        """Rows that are alike in this (and have a uuid of their own) may become one."""
        return self.team, self.event, self.distinct_id, self.at_ms // DAY_MS


class Place(NamedTuple):
    """Where the record of a row is."""

    partition: int
    offset: int


class Rows(Protocol):
    """The rows of `events`. Every call is a moment of its own."""

    def below(self, partition: int, span: Span) -> dict[int, list[Row]]:
        """Offset → its rows, copies too, of these offsets of a partition."""

    def newest(self, uuids: Collection[str]) -> Mapping[Row, Place]:
        """The rows that there are of these uuids now, each with the place of its newest copy."""

    def close(self) -> None: ...


class Kept:
    """`copies.Destination` on rows of ClickHouse."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def done(self, committed: Offsets) -> Offsets:
        return committed

    def rows(self, partition: int, span: Span) -> Iterator[Item]:
        for start in range(span.start, span.end, ROWS_MAX):
            found = self._rows.below(partition, Span(start, min(start + ROWS_MAX, span.end)))
            for offset in sorted(found):
                where = f"{TOPIC}[{partition}]@{offset}"
                yield from (Item(partition, offset, where, row, row.at_ms) for row in found[offset])

    def elsewhere(self, missing: Sequence[Item]) -> Sequence[str | None]:
        """Copies that a newer one has replaced, or lost events. An event without a uuid is never replaced."""
        there: dict[tuple[Any, ...], Place] = {}
        for row, at_ in self._rows.newest(sorted({must.row.uuid for must in missing if must.row.uuid})).items():
            there[*row.merged_by, row.uuid] = max(at_, there.get((*row.merged_by, row.uuid), at_))
        return [self._replaced(must, there.get((*must.row.merged_by, must.row.uuid))) for must in missing]

    @staticmethod
    def _replaced(must: Item, by: Place | None) -> str | None:
        replaced = by is not None and (by.partition != must.partition or by.offset > must.offset)
        return "" if must.row.uuid is not None and replaced else None


class _ClickHouse:
    def __init__(self, settings: ClickHouseSettings) -> None:
        self._clickhouse = ClickHouse(settings)
        self._from = f"FROM {self._clickhouse.database}.{EVENTS} WHERE _topic = '{TOPIC}'"

    def below(self, partition: int, span: Span) -> dict[int, list[Row]]:
        """The rows of a record's latest revision: older ones were made again, and are on their way out."""
        found: dict[int, list[Row]] = {}
        latest: dict[int, int] = {}
        bounds = f"AND _partition = {partition} AND _offset >= {span.start} AND _offset < {span.end}"
        for offset, revision, team, event, distinct_id, at_ms, uuid in self._clickhouse.rows(
            f"SELECT _offset, _revision, {COLUMNS} {self._from} {bounds} ORDER BY _offset, _revision"
        ):
            if latest.get(offset, revision) < revision:
                found.pop(int(offset))
            latest[offset] = revision
            found.setdefault(int(offset), []).append(Row(team, event, distinct_id, int(at_ms), uuid))
        return found

    def newest(self, uuids: Collection[str]) -> dict[Row, Place]:
        """Asked of the whole table, without a bound: a newer copy may come after all that was compared."""
        named = ", ".join(f"'{uuid}'" for uuid in uuids if UUID.fullmatch(uuid))
        if not named:
            return {}
        rows = self._clickhouse.rows(
            f"SELECT _partition, _offset, {COLUMNS} {self._from} AND uuid IN ({named}) ORDER BY _offset"
        )
        return {
            Row(team, event, distinct_id, int(at_ms), uuid): Place(int(partition), int(offset))
            for partition, offset, team, event, distinct_id, at_ms, uuid in rows
        }

    def close(self) -> None:
        self._clickhouse.close()


@contextmanager
def _open(settings: Settings, committed: Offsets, rows: Rows | None) -> Iterator[Kept]:
    rows = _ClickHouse(settings.clickhouse) if rows is None else rows
    try:
        yield Kept(rows)
    finally:
        rows.close()


def events(refused: Collection[tuple[int, int]], lost: Findings) -> Copy:
    """How events are compared. `refused`: (partition, offset) of those that have a dead letter. `lost`: takes an event
    that cannot be read and has none."""

    def must(record: Record) -> Item | str | None:
        if (record.partition, record.offset) in refused:
            return "the record there was refused"
        row = _row(record)
        if row is None:
            lost.add(at(record), "cannot be read, and has no dead letter")
            return None
        return place(record, row, row.at_ms)

    return Copy(must, _differences)


def _differences(_: Record, must: Item, kept: Item) -> Iterator[str]:
    kept_as = kept.row if must.row.uuid is not None else kept.row._replace(uuid=None)
    if kept_as != must.row:
        yield f"is kept as {tuple(kept.row)}, the event says {tuple(must.row)}"


def _row(record: Record) -> Row | None:
    """What the event says, by the simplest reading. None: it cannot be read."""
    try:
        event = json.loads((record.value or b"").decode(), parse_float=str, parse_int=str)
        data = event["data"]
        assert isinstance(data["properties"], dict)
        return Row(event["team_id"], data["event"], data["distinct_id"], time_ms(event["timestamp"]), data.get("uuid"))
    except (ValueError, KeyError, TypeError, AssertionError, RecursionError):
        return None


def _judge(sides: Sides) -> None:
    letters = gather(sides.records(LETTERS), TOPIC)
    refused = {place for place, about in letters.items() if any(letter.group == GROUP for letter in about)}
    compare(sides, events(refused, sides.report.lost), apart=True)


PAIR = Pair(
    name="events=clickhouse",
    group=GROUP,
    source=TOPIC,
    topics=(LETTERS,),
    judge=_judge,
    right="ClickHouse",
    destination=_open,
)
