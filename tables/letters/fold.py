"""Dead letters by cause, in five-minute windows, and the incidents they make. Pure: rows in, changed rows out.

The table is small, because every part has a limit, and is kept in memory: causes, counts of the last hours' windows,
counts for ever by topic, refuser and reason, and the ids of the last dead letters, so that a repeated dead letter
counts once. What the dead letters say is a function of the log, whatever the chunks; only silence is found by the clock
as well.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tables.cause import NAMELESS, OTHER, Cause
from tables.letters.incident import Alert, AlertRules, CauseRow, Kind
from tables.outcome import Folded, Position
from tables.window import DAY_MS, HOUR_MS, MINUTE_MS

WINDOW_MS = 5 * MINUTE_MS
DIGEST_BYTES = 8
NEVER = 1 << 62

Tally = tuple[str, str, str]
"""Topic, refuser, reason."""

WindowKey = tuple[int, str]
"""Start, cause id."""

Ids = list[tuple[int, bytes]]
"""Offset, digest."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What keeps the table small.

    windows_ms  how long windows are kept; an older dead letter counts in the oldest one
    causes      beyond so many, shapes are not told apart: a flood of inventions stays a few rows
    shapeless   so many more, for topics and reasons that come later
    cause_ms    how long a cause is known after its last dead letter: as long as `dead_letter` keeps the dead letter
    itself tallies     topics, refusers and reasons that are told apart
    remembered  newest dead letters whose ids are known; 12 bytes each in the table
    """

    windows_ms: int = 2 * HOUR_MS
    causes: int = 1000
    shapeless: int = 200
    cause_ms: int = 30 * DAY_MS
    tallies: int = 2000
    remembered: int = 100_000


LIMITS = Limits()


class LetterFacts(NamedTuple):
    """What counts of a letter. `id` None: it has none, so it cannot be known again."""

    id: str | None
    topic: str
    by: str
    reason: str
    shape: str  # of the error


Read = Callable[[Any], LetterFacts]
"""Reads a record's value, whatever it is."""


class Told(NamedTuple):
    """A destination was told of an incident, or never will be."""

    cause: str
    number: int
    kind: Kind
    destination: str


@dataclass
class LettersOutcome(Folded):
    """What a chunk changed. None: the row is gone."""

    causes: dict[str, CauseRow | None] = field(default_factory=dict)
    windows: dict[WindowKey, int | None] = field(default_factory=dict)
    tallies: dict[Tally, int] = field(default_factory=dict)
    digests: Ids = field(default_factory=list)  # of the ids that were counted
    due: list[tuple[Cause, Alert]] = field(default_factory=list)  # what has to be told from now on


class Letters:
    """One partition's dead letters. The watermark of its position is the newest record time."""

    def __init__(
        self,
        rules: AlertRules,
        read: Read,
        position: Position,
        limits: Limits = LIMITS,
    ) -> None:
        self.rules = rules
        self.limits = limits
        self.position = position
        self.causes: dict[str, CauseRow] = {}
        self.windows: dict[WindowKey, int] = {}
        self.tallies: dict[Tally, int] = {}
        self.open: dict[str, CauseRow] = {}
        self._read = read
        self._seen: dict[bytes, int] = {}  # digest → offset
        self._chunks: deque[tuple[int, Ids]] = deque()
        self._outcome = LettersOutcome()
        self._now_ms = 0
        self._quiet_from_ms = NEVER  # no incident is quiet before this

    def restore(
        self,
        causes: Iterable[CauseRow],
        windows: Iterable[tuple[WindowKey, int]],
        tallies: Iterable[tuple[Tally, int]],
        ids: Iterable[tuple[int, Ids]],
    ) -> None:
        """Rebuild the memory from stored rows; ids in the order of their chunks."""
        self.causes = {row.cause.id: row for row in causes}
        self.open = {name: row for name, row in self.causes.items() if row.opened_ms is not None}
        self._quiet_from_ms = self._earliest()
        self.windows, self.tallies = dict(windows), dict(tallies)
        for chunk, known in ids:
            self._chunks.append((chunk, known))
            self._seen.update((digest, offset) for offset, digest in known)

    def apply(self, records: Sequence[Any], told: Iterable[Told], now_ms: int) -> LettersOutcome:
        """Count consecutive records, and note who was told."""
        outcome = self._begin(told, now_ms)
        outcome.chunk = max(records[0].offset, self.position.next_offset)
        for record in records:
            if record.offset < self.position.next_offset:
                outcome.skipped += 1
            else:
                self._count(record)
        self.position.next_offset = max(self.position.next_offset, records[-1].offset + 1)
        if outcome.digests:
            self._chunks.append((outcome.chunk, outcome.digests))
        self._forget_ids()
        return outcome

    def tick(self, told: Iterable[Told], now_ms: int) -> LettersOutcome:
        """The same without records: what the clock finds quiet."""
        outcome = self._begin(told, now_ms)
        self._resolve(now_ms)
        return outcome

    def due(self, now_ms: int) -> bool:
        """Whether the clock would find something quiet."""
        return self._quiet_from_ms <= now_ms and self._earliest() <= now_ms

    def owed(self) -> Iterator[tuple[Cause, Alert]]:
        """Every alert that some destination has not been told."""
        return ((row.cause, alert) for row in self.causes.values() for alert in row.alerts)

    def _begin(self, told: Iterable[Told], now_ms: int) -> LettersOutcome:
        self._outcome, self._now_ms = LettersOutcome(), now_ms
        for one in told:
            if row := self.causes.get(one.cause):
                row.delivered(one.number, one.kind, one.destination)
                self._outcome.causes[one.cause] = row
        return self._outcome

    def _count(self, record: Any) -> None:
        facts = self._read(record.value)
        if self._repeated(facts.id, record.offset):
            self._outcome.duplicates += 1
            return
        at_ms = max(record.timestamp, 0)
        if at_ms > self.position.watermark_ms:
            self._advance(at_ms)
        cause = self._known(Cause(facts.topic, facts.by, facts.reason, facts.shape), at_ms)
        name, row = cause.id, self.causes[cause.id]
        start = max(at_ms, self.position.watermark_ms - self.limits.windows_ms) // WINDOW_MS * WINDOW_MS
        in_window = self.windows[start, name] = self.windows.get((start, name), 0) + 1
        alerts = len(row.alerts)
        row.count(facts.id, at_ms, in_window, self.rules, self._now_ms)
        self._note(row, alerts)
        if row.opened_ms is not None:
            self.open[name] = row
            self._quiet_from_ms = min(self._quiet_from_ms, row.quiet_at_ms(self.rules))
        tally = (facts.topic, facts.by, facts.reason)
        if tally not in self.tallies and len(self.tallies) >= self.limits.tallies:
            tally = (OTHER, OTHER, OTHER)
        total = self.tallies[tally] = self.tallies.get(tally, 0) + 1
        outcome = self._outcome
        outcome.causes[name], outcome.windows[start, name], outcome.tallies[tally] = row, in_window, total
        outcome.accepted += 1

    def _repeated(self, letter: str | None, offset: int) -> bool:
        if letter is None:
            return False
        digest = hashlib.blake2b(letter.encode(errors="replace"), digest_size=DIGEST_BYTES).digest()
        before = self._seen.get(digest)
        if before is not None and offset - before <= self.limits.remembered:
            return True
        self._seen[digest] = offset
        self._outcome.digests.append((offset, digest))
        return False

    def _known(self, cause: Cause, at_ms: int) -> Cause:
        """The cause that the dead letter counts for; its row is there afterwards."""
        for limit, candidate in (
            (self.limits.causes, cause),
            (self.limits.causes + self.limits.shapeless, cause.without_shape()),
        ):
            if candidate.id in self.causes or len(self.causes) < limit:
                break
        else:
            candidate = NAMELESS
        self.causes.setdefault(candidate.id, CauseRow(candidate, at_ms, at_ms))
        return candidate

    def _advance(self, at_ms: int) -> None:
        """A dead letter is newer than all before it: silence may have ended something, windows and causes may go."""
        crossed = at_ms // WINDOW_MS > self.position.watermark_ms // WINDOW_MS
        self.position.watermark_ms = at_ms
        self._resolve(at_ms)
        if not crossed:
            return
        for key in [key for key in self.windows if key[0] + WINDOW_MS <= at_ms - self.limits.windows_ms]:
            del self.windows[key]
            self._outcome.windows[key] = None
        for name in [
            name for name, row in self.causes.items() if row.settled and row.last_ms + self.limits.cause_ms <= at_ms
        ]:
            del self.causes[name]
            self._outcome.causes[name] = None

    def _resolve(self, at_ms: int) -> None:
        if at_ms < self._quiet_from_ms:
            return
        for name, row in list(self.open.items()):
            if row.quiet_at_ms(self.rules) <= at_ms:
                alerts = len(row.alerts)
                row.resolve(self.rules, self._now_ms)
                self._note(row, alerts)
                del self.open[name]
                self._outcome.causes[name] = row
        self._quiet_from_ms = self._earliest()

    def _earliest(self) -> int:
        return min((row.quiet_at_ms(self.rules) for row in self.open.values()), default=NEVER)

    def _note(self, row: CauseRow, alerts: int) -> None:
        """Alerts behind the first so many are new."""
        self._outcome.due += [(row.cause, alert) for alert in row.alerts[alerts:]]

    def _forget_ids(self) -> None:
        while self._chunks and self._chunks[0][1][-1][0] < self.position.next_offset - self.limits.remembered:
            chunk, ids = self._chunks.popleft()
            self._outcome.old_ids.append(chunk)
            for offset, digest in ids:
                if self._seen.get(digest) == offset:
                    del self._seen[digest]
