"""Captured events as rows of ClickHouse's `events` (HIP-17; PostHog's columns), in blocks that are written once.

A block is one insert of consecutive records of a partition. Its token is made from their offsets, and ClickHouse leaves
out an insert whose token it knows: a block may be written again after a crash, also by two workers at once.

A server without replicas notes a token before it has the rows. One that ends in between knows the token of rows that it
lost. So whoever writes a block again looks whether its rows are there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from streamapp.errors import Misconfigured, Unavailable
from streamapp.exact.partition.place import Place
from streamapp.schemas.judging.insights import KEPT_UNTIL_MS, CapturedEvent
from streamapp.schemas.values.timestamp import DAY_MS
from streamapp.sinks.clickhouse.client import ClickHouse
from streamapp.sinks.clickhouse.schema import EVENTS, migrate

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)

TEXTS = ("uuid", "event", "properties", "team_id", "distinct_id", "session_id")
NUMBERS = ("timestamp", "created_at", "_offset")
DIGITS_MAX = 20  # of an integer that may fit, with its sign
_WIDE = re.compile(r"[0-9]{19}|[0-9][eE]")  # a number, or part of a text, that has to be looked at
_WORD = re.compile(r'"(?:[^"\\]++|\\.)*+"|-?[0-9][0-9.eE+-]*', re.DOTALL)
REPAIRS_MAX = 5  # of one block: rows that somebody deletes all the time are not inserted for ever
GONE = (60, 81)  # ClickHouse's codes: no such table, no such database
_ORDER = (*TEXTS[:3], "timestamp", *TEXTS[3:], "created_at", "_topic", "_partition", "_offset")


class Row(NamedTuple):
    """What a record gives to a row: `TEXTS`, then `NUMBERS`. Times in UTC milliseconds."""

    uuid: str
    event: str
    properties: str
    team_id: str
    distinct_id: str
    session_id: str
    at_ms: int
    created_ms: int
    offset: int


class AnalyticsEvents:
    """The table of events. Its methods block."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._opened = self._replicated = False

    def block(
        self, topic: str, partition: int, rows: Sequence[pyarrow.RecordBatch], revision: int = 0
    ) -> pyarrow.Table:
        """Rows, which have the columns `TEXTS` and `NUMBERS`, as they are inserted: in one piece, which ClickHouse
        takes for one block. `revision`: of rows that are made again. A function of its arguments."""
        import pyarrow as pa

        whole = pa.Table.from_batches(rows).combine_chunks()
        columns = {name: whole[name] for name in (*TEXTS, *NUMBERS)}
        columns["_topic"] = pa.repeat(topic, whole.num_rows)
        columns["_partition"] = pa.repeat(pa.scalar(partition, pa.uint32()), whole.num_rows)
        block = pa.table({name: columns[name] for name in _ORDER})
        if not revision:
            return block
        return block.append_column("_revision", pa.repeat(pa.scalar(revision, pa.uint64()), whole.num_rows))

    def insert(self, block: pyarrow.Table, token: str, *, again: bool = False) -> None:
        """Keep a block; one that is there already is left alone. `again`: somebody may have begun to write it. Raises
        `Unavailable` to be asked again.

        A table that was dropped is made again, empty, before the next attempt: see `schema.migrate`.
        """
        self.open()
        try:
            self._clickhouse.insert(EVENTS, block, token)
            if again and not self._replicated:
                self._repair(block, token)
        except (Misconfigured, Unavailable) as error:
            if getattr(error.__cause__, "code", None) not in GONE:
                raise
            self._opened = False
            raise Unavailable(f"{error}; it is made again, empty") from error

    def _repair(self, block: pyarrow.Table, token: str) -> None:
        """Insert what ClickHouse does not have of a block that it was given. Whoever does the same at the same time
        uses the same tokens, and each of them may have been noted by a server that ended, too."""
        for number in range(REPAIRS_MAX):
            absent = self._absent(block)
            if not absent.num_rows:
                return
            log.warning("ClickHouse does not have %d rows of the block %s: inserted", absent.num_rows, token)
            self._clickhouse.insert(EVENTS, absent, f"{token}:again-{number}")

    def _absent(self, block: pyarrow.Table) -> pyarrow.Table:
        """The rows of a block that are not in the table. One that was replaced by a newer copy is among them: it comes
        once more, and is replaced once more."""
        import pyarrow as pa

        teams, events, users, uuids, offsets = (
            block[name].to_pylist() for name in ("team_id", "event", "distinct_id", "uuid", "_offset")
        )
        times = block["timestamp"].cast(pa.int64()).to_pylist()
        keys = zip(teams, (at_ms // DAY_MS for at_ms in times), events, users, uuids, strict=True)
        wanted = {key: at for at, key in enumerate(keys)}  # of copies in one block an insert keeps the last
        found = self._clickhouse.rows(
            f"SELECT _offset, toString(uuid) FROM {self._clickhouse.database}.{EVENTS} "
            f"WHERE _topic = '{block['_topic'][0]}' AND _partition = {block['_partition'][0]} "
            f"AND _offset BETWEEN {min(offsets)} AND {max(offsets)} "
            f"AND timestamp BETWEEN fromUnixTimestamp64Milli({min(times)}) AND fromUnixTimestamp64Milli({max(times)})"
        )
        kept = {tuple(place) for place in found}
        return block.take(pa.array([at for at in wanted.values() if (offsets[at], uuids[at]) not in kept], pa.int64()))

    def open(self) -> None:
        """Bring the database to the newest step. Raises as `migrate` does."""
        if not self._opened:
            migrate(self._clickhouse)
            ((engine,),) = self._clickhouse.rows(
                f"SELECT engine FROM system.tables WHERE database = '{self._clickhouse.database}' AND name = '{EVENTS}'"
            )
            # They note a token and its rows in one step, and another replica may not have them yet.
            self._replicated = engine.startswith(("Replicated", "Shared"))
            self._opened = True

    def close(self) -> None:
        self._clickhouse.close()


def token_of(place: Place, first: int, last: int) -> str:
    """What ClickHouse knows a block by. A topic that was made anew has the same offsets, and other events."""
    return f"{place.topic}:{place.topic_id}:{place.partition}:{first}-{last}"


def row_of(event: CapturedEvent, record: Any, keep_ip: bool) -> Row:
    """The row of an event that was judged by itself; `lane/c/read/columns.c` makes the same of plain ones."""
    properties = queryable(event.properties)
    properties = _with_ip(properties, event.ip) if keep_ip else properties
    created_ms = min(max(record.timestamp, 0), KEPT_UNTIL_MS - 1)
    who = event.team_id, event.distinct_id, event.session_id
    return Row(event.uuid, event.event, properties, *who, event.at_ms, created_ms, record.offset)


def queryable(properties: str) -> str:
    """The properties with numbers that ClickHouse's parser does not take as strings of the same digits.

    One such number makes every JSONExtract of its event empty. They are integers outside of −2^63 … 2^64−1, and
    numbers beyond a double.
    """
    return _WORD.sub(_number, properties) if _WIDE.search(properties) else properties


def _number(word: re.Match[str]) -> str:
    text = word[0]
    if text[0] == '"':
        return text
    if any(letter in text for letter in ".eE"):
        fits = isfinite(float(text))
    else:
        fits = len(text) <= DIGITS_MAX and -(1 << 63) <= int(text) < 1 << 64
    return text if fits else f'"{text}"'


def _with_ip(properties: str, ip: str) -> str:
    """`$ip` among the properties, as PostHog has it, unless the client said one."""
    if not ip or '"$ip"' in properties:
        return properties
    rest = properties[1:].lstrip()
    quoted = ip.replace("\\", "\\\\").replace('"', '\\"')
    return f'{{"$ip":"{quoted}"{"" if rest.startswith("}") else ","}{rest}'
