"""What goes into a ledger and what comes out of it, as types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from tables.seen import StoredIds
from tables.usage.budget import Crossing
from tables.usage.hourly import HourKey, HourStatement, MonthKey, MonthRow, UsageRow


class Record(Protocol):
    """A record of the log, as any Kafka client hands it out."""

    offset: int
    timestamp: int  # milliseconds, the broker's record timestamp
    key: Any  # bytes or None
    value: Any  # bytes or None


class Refusal(NamedTuple):
    """A record that does not count, and why: a slug and one sentence."""

    record: Any  # Record
    reason: str
    error: str


class Rows(Protocol):
    """The stored rows of one partition, as of the last chunk."""

    def hour(self, key: HourKey) -> UsageRow | None: ...

    def month(self, key: MonthKey) -> MonthRow: ...

    def hours_ending(self, after_ms: int, until_ms: int) -> Iterable[UsageRow]:
        """Rows of hours that end in `(after_ms, until_ms]`, in key order."""

    def months_ending(self, until_ms: int) -> Iterable[MonthKey]:
        """Months that ended at or before a moment."""


@dataclass
class Position:
    """How far a partition's table is. Stored with every chunk; everything else is rebuilt around it."""

    next_offset: int = 0
    watermark_ms: int = -1  # -1: no record accepted yet
    expired_ms: int = -1  # hours that ended at or before this are gone
    closed_ms: int = -1  # hours that ended at or before this were closed for all at once; -1: none, or each by itself


class Waiting(NamedTuple):
    """What time has not closed of a partition's rows. `next_mark_ms`: the watermark that states something next."""

    open_rows: int = 0
    pending_revisions: int = 0
    next_mark_ms: int | None = None


@dataclass
class Folded:
    """What every fold of a chunk tells, whatever the table."""

    chunk: int = -1  # the offset that names the chunk's ids
    ids: StoredIds | None = None
    refusals: list[Refusal] = field(default_factory=list)
    old_ids: list[int] = field(default_factory=list)  # chunks whose ids are forgotten
    accepted: int = 0
    duplicates: int = 0
    skipped: int = 0  # below the position: applied before
    passed: int = 0  # that do not matter to the table
    rounded: int = 0  # of the accepted: their cost had more than 12 decimals
    others: int = 0  # accepted, with a name that its row does not tell apart


@dataclass
class Outcome(Folded):
    """What a chunk changed: `open` holds rows of open hours as they are stored, `hours` and `months` other final rows;
    what is gone is in `expired` and `old_months`."""

    open: Mapping[bytes, bytes] = field(default_factory=dict)
    hours: dict[HourKey, UsageRow] = field(default_factory=dict)
    months: dict[MonthKey, MonthRow] = field(default_factory=dict)
    statements: list[HourStatement] = field(default_factory=list)
    crossings: list[Crossing] = field(default_factory=list)
    expired: list[tuple[HourKey, int]] = field(default_factory=list)  # key, newest revision
    old_months: list[MonthKey] = field(default_factory=list)
