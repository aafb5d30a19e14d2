"""The pair events=clickhouse: every captured event against its row of ClickHouse's `events`.

The events are read from the log with the check's own reading; which of them were refused, `dead_letter` says. Compared
are all below what the group had committed before anything else was asked: their rows were there then. A copy of an
event that was sent twice may be merged away by ClickHouse; the newest of them stays. It may have come after the
committed offset was asked for: so the rows that replaced missing ones are asked for last (`verify_reading`, step 5).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from streamapp.kafka.log.reader import Record, Span
from streamapp.settings import ClickHouseSettings, Settings
from streamapp.sinks.clickhouse.client import ClickHouse
from streamapp.sinks.clickhouse.schema import EVENTS
from streamapp.verify.pair import PairReport, Sums
from streamapp.verify.reading import Cluster, LogReader
from streamapp.verify.usage import time_ms

NAME = "events=clickhouse"
GROUP = "analytics-ingest"
TOPIC = "events_plugin_ingestion"
LETTERS = "dead_letter"
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ROWS_MAX = 200_000  # of one question to ClickHouse
UUIDS_MAX = 1_000  # named in one question


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
    """Where the record of a row lies."""

    partition: int
    offset: int


Newest = Callable[[Collection[str]], Mapping[Row, Place]]
"""The rows that ClickHouse has of these uuids at the moment of the call, each with the place of its newest copy."""


class Kept(Protocol):
    """The rows of `events`. Every call is a moment of its own."""

    def below(self, partition: int, span: Span) -> dict[int, list[Row]]:
        """Offset → its rows, copies too, of these offsets of a partition."""

    def newest(self, uuids: Collection[str]) -> dict[Row, Place]:
        """`Newest`."""

    def close(self) -> None: ...


def check(settings: Settings, cluster: Cluster | None = None, rows: Kept | None = None) -> PairReport:
    """Compare both sides, as they are now. `rows`: by default those of the settings' ClickHouse."""
    logs = LogReader(settings.kafka, TOPIC, cluster=cluster)
    done = logs.committed(GROUP, TOPIC)
    letters = logs.spans(LETTERS)
    refused, batches = _refused(logs.records(LETTERS, letters)), logs.refused(GROUP, TOPIC, letters)
    there = logs.spans(TOPIC)
    report = PairReport(NAME, TOPIC, "ClickHouse")
    report.waiting = sum(max(0, span.end - done.get(number, span.start)) for number, span in there.items())
    rows = _ClickHouse(settings.clickhouse) if rows is None else rows
    try:
        for number, span in there.items():
            upto = min(span.end, done.get(number, span.start))
            if upto > span.start:
                events = logs.records(TOPIC, {number: Span(span.start, upto)}, refused=batches)
                kept = rows.below(number, Span(span.start, upto))
                compare(events, kept, refused.get(number, set()), report, rows.newest)
    finally:
        rows.close()
    return report


def compare(
    events: Iterable[Record],
    kept: Mapping[int, list[Row]],
    refused: set[int],
    report: PairReport,
    newest: Newest,
) -> None:
    """One partition. `kept`: offset → its rows; `refused`: the offsets that have a letter; `newest` is asked last."""
    left: dict[int, int] = {}
    missing: list[tuple[Record, Row]] = []
    seen: set[int] = set()
    for record in events:
        where = f"{record.topic}[{record.partition}]@{record.offset}"
        rows = kept.get(record.offset, [])
        seen.add(record.offset)
        if record.offset in refused:
            if rows:
                report.wrong.add(where, "was refused, and is kept all the same")
            continue
        row = _row(record)
        if row is None:
            report.lost.add(where, "cannot be read, and has no dead letter")
            continue
        report.events += 1
        left[row.at_ms // HOUR_MS * HOUR_MS] = left.get(row.at_ms // HOUR_MS * HOUR_MS, 0) + 1
        if len(rows) > 1:
            report.doubled.add(where, f"is kept {len(rows)} times", len(rows) - 1)
        if not rows:
            missing.append((record, row))
            continue
        if rows[0]._replace(uuid=row.uuid if row.uuid is None else rows[0].uuid) != row:
            report.wrong.add(where, f"is kept as {tuple(rows[0])}, the event says {tuple(row)}")
    _replaced(missing, newest, report)
    for offset in kept.keys() - seen:
        report.wrong.add(f"{TOPIC}@{offset}", "is in ClickHouse and not in the log")
    _tell_hours(left, kept, report)


def _replaced(missing: list[tuple[Record, Row]], newest: Newest, report: PairReport) -> None:
    """Events without a row of their own: copies that a newer one has replaced, or lost. An event without a uuid is
    never replaced."""
    uuids = sorted({row.uuid for _, row in missing if row.uuid is not None})
    there: dict[tuple[Any, ...], Place] = {}
    for start in range(0, len(uuids), UUIDS_MAX):
        for row, place in newest(uuids[start : start + UUIDS_MAX]).items():
            there[*row.merged_by, row.uuid] = max(place, there.get((*row.merged_by, row.uuid), place))
    for record, row in missing:
        by = there.get((*row.merged_by, row.uuid))
        replaced = by is not None and (by.partition != record.partition or by.offset > record.offset)
        if row.uuid is not None and replaced:
            report.events -= 1  # a copy
        else:
            report.lost.add(f"{record.topic}[{record.partition}]@{record.offset}", "is not in ClickHouse")


def _tell_hours(left: Mapping[int, int], kept: Mapping[int, list[Row]], report: PairReport) -> None:
    right: dict[int, int] = {}
    for rows in kept.values():
        for row in rows:
            start_ms = row.at_ms // HOUR_MS * HOUR_MS
            right[start_ms] = right.get(start_ms, 0) + 1
    for start_ms in left.keys() | right.keys():
        before = report.hours.get(start_ms, (Sums(0, {}), Sums(0, {})))
        report.hours[start_ms] = (
            Sums(before[0].events + left.get(start_ms, 0), {}),
            Sums(before[1].events + right.get(start_ms, 0), {}),
        )


def _row(record: Record) -> Row | None:
    """What the event says, by the simplest reading. None: it cannot be read."""
    try:
        event = json.loads((record.value or b"").decode(), parse_float=str, parse_int=str)
        data = event["data"]
        assert isinstance(data["properties"], dict)
        return Row(event["team_id"], data["event"], data["distinct_id"], time_ms(event["timestamp"]), data.get("uuid"))
    except (ValueError, KeyError, TypeError, AssertionError, RecursionError):
        return None


def _refused(letters: Iterable[Record]) -> dict[int, set[int]]:
    """Partition → the offsets that the group has written letters about."""
    found: dict[int, set[int]] = {}
    for record in letters:
        try:
            data = json.loads((record.value or b"").decode())["data"]
            if (data["source_topic"], data["group"]) == (TOPIC, GROUP):
                found.setdefault(data["source_partition"], set()).add(int(data["source_offset"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # it says of no event that it was refused: that one then counts as lost
    return found


class _ClickHouse:
    """The rows of a ClickHouse."""

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._clickhouse = ClickHouse(settings)

    def below(self, partition: int, span: Span) -> dict[int, list[Row]]:
        found: dict[int, list[Row]] = {}
        for start in range(span.start, span.end, ROWS_MAX):
            rows = self._clickhouse.rows(
                f"SELECT _offset, team_id, event, distinct_id, toUnixTimestamp64Milli(timestamp), toString(uuid) "
                f"FROM {self._clickhouse.database}.{EVENTS} WHERE _topic = '{TOPIC}' AND _partition = {partition} "
                f"AND _offset >= {start} AND _offset < {min(start + ROWS_MAX, span.end)}"
            )
            for offset, team, event, distinct_id, at_ms, uuid in rows:
                found.setdefault(int(offset), []).append(Row(team, event, distinct_id, int(at_ms), uuid))
        return found

    def newest(self, uuids: Collection[str]) -> dict[Row, Place]:
        """Asked of the whole table, without a bound: a newer copy may lie behind everything that was compared."""
        named = ", ".join(f"'{uuid}'" for uuid in uuids if UUID.fullmatch(uuid))
        if not named:
            return {}
        rows = self._clickhouse.rows(
            f"SELECT _partition, _offset, team_id, event, distinct_id, toUnixTimestamp64Milli(timestamp), "
            f"toString(uuid) FROM {self._clickhouse.database}.{EVENTS} "
            f"WHERE _topic = '{TOPIC}' AND uuid IN ({named}) ORDER BY _offset"
        )
        return {
            Row(team, event, distinct_id, int(at_ms), uuid): Place(int(partition), int(offset))
            for partition, offset, team, event, distinct_id, at_ms, uuid in rows
        }

    def close(self) -> None:
        self._clickhouse.close()
