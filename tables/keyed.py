"""Rows by key, changed by one function: all the arithmetic a simple group needs. Pure: records in, changed rows out.

A record is an event, or nothing that matters here, or refused. An event counts once, as long as its id is remembered
(decision 13), and not at all when it is older than the topic's retention behind the watermark. What comes out is a
function of the log, however it is cut into chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tables.cause import quoted
from tables.outcome import Position, Record, Refusal
from tables.seen import Known, Seen, StoredIds, expiry_of
from tables.window import Rules, hour_of

Rows = MutableMapping[Any, Any]
"""Key → row, both immutable. A dict in tests."""


class Event(Protocol):
    """What must be known of an event; the rest is between `read` and `count`."""

    id: str
    at_ms: int


def never(key: Any, limit_ms: int) -> bool:
    """For rows that are kept for ever."""
    return False


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a group brings along.

    read     a record's value → an `Event`, None for one that does not matter here, or a `refusal`
    refusal  the type of a pair (reason, error)
    count    changes rows for one event
    over     whether a row can go, by its key: no event at or after this moment (ms) belongs to it
    """

    read: Callable[[Any], Any]
    refusal: type[tuple[Any, str]]
    count: Callable[[Rows, Any], None]
    over: Callable[[Any, int], bool]


@dataclass
class KeyedOutcome:
    """What a chunk changed. `rows` holds final rows; None: the row is gone."""

    rows: dict[Any, Any] = field(default_factory=dict)
    chunk: int = -1  # the offset that names the chunk's ids
    ids: StoredIds | None = None
    old_ids: list[int] = field(default_factory=list)  # chunks whose ids are forgotten
    refusals: list[Refusal] = field(default_factory=list)
    counted: int = 0
    repeated: int = 0
    skipped: int = 0  # below the position: applied before


class Changes(MutableMapping[Any, Any]):
    """The rows while a chunk changes them, over those that are stored."""

    def __init__(self, stored: Mapping[Any, Any], changed: dict[Any, Any]) -> None:
        self._stored = stored
        self._changed = changed

    def __getitem__(self, key: Any) -> Any:
        row = self._changed[key] if key in self._changed else self._stored[key]
        if row is None:
            raise KeyError(key)
        return row

    def __setitem__(self, key: Any, row: Any) -> None:
        assert row is not None, "a row is deleted with del"
        self._changed[key] = row

    def __delitem__(self, key: Any) -> None:
        self[key]  # raises KeyError
        self._changed[key] = None

    def __iter__(self) -> Iterator[Any]:
        yield from (key for key in self._stored if key not in self._changed)
        yield from (key for key, row in self._changed.items() if row is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Keyed:
    """One partition's rows. `position` is moved; `stored` are the rows as of the last chunk."""

    def __init__(self, recipe: Recipe, rules: Rules, stored: Mapping[Any, Any], position: Position, seen: Seen) -> None:
        self.recipe = recipe
        self.rules = rules
        self.position = position
        self._stored = stored
        self.seen = seen
        self._outcome = KeyedOutcome()
        self._rows: Rows = Changes(stored, {})

    def restore(self, ids: Iterable[tuple[int, StoredIds]]) -> None:
        """Remember each stored chunk's ids again."""
        for chunk, stored in ids:
            self.seen.restore(chunk, stored, self.position.watermark_ms)

    def apply(self, records: Sequence[Record]) -> KeyedOutcome:
        """Fold consecutive records. Records below the position were applied before and are passed over."""
        position = self.position
        outcome = self._outcome = KeyedOutcome(chunk=max(records[0].offset, position.next_offset))
        self._rows = Changes(self._stored, outcome.rows)
        for record in records:
            if record.offset < position.next_offset:
                outcome.skipped += 1
            else:
                self._fold(record)
        outcome.ids = self.seen.keep(outcome.chunk)
        position.next_offset = max(position.next_offset, records[-1].offset + 1)
        return outcome

    def _fold(self, record: Record) -> None:
        recipe, rules, position = self.recipe, self.rules, self.position
        event = recipe.read(record.value)
        if event is None:
            return
        if isinstance(event, recipe.refusal):
            self._refuse(record, *event)
        elif event.at_ms > record.timestamp + rules.future_ms:
            self._refuse(record, "timestamp_in_future", "its time is more than 5 minutes ahead of its record's")
        elif event.at_ms < position.watermark_ms - rules.retention_ms:
            self._refuse(record, "too_late", "it is older than the topic's retention behind the watermark")
        elif not self._repeated(record, event.id):
            self._advance(event.at_ms)
            expiry_ms = expiry_of(event.at_ms, position.watermark_ms, rules)
            self.seen.add(event.id, record.value, expiry_ms)
            recipe.count(self._rows, event)
            self._outcome.counted += 1

    def _repeated(self, record: Record, event_id: str) -> bool:
        known = self.seen.look(event_id, record.value)
        if known == Known.NEW:
            return False
        if known == Known.SAME:
            self._outcome.repeated += 1
        else:
            self._refuse(record, "conflicting_duplicate", f"id {quoted(event_id)} was counted before, with other bytes")
        return True

    def _advance(self, at_ms: int) -> None:
        """Move the watermark. With each hour that it enters, ids are forgotten and rows that are over go."""
        before, self.position.watermark_ms = self.position.watermark_ms, max(self.position.watermark_ms, at_ms)
        if hour_of(before) == hour_of(self.position.watermark_ms):
            return
        self._outcome.old_ids += self.seen.forget(self.position.watermark_ms)
        limit_ms = self.position.watermark_ms - self.rules.retention_ms
        over = self.recipe.over
        if over is not never:  # then all keys are looked at
            for key in [key for key in self._rows if over(key, limit_ms)]:
                del self._rows[key]

    def _refuse(self, record: Record, reason: str, error: str) -> None:
        self._outcome.refusals.append(Refusal(record, reason, error))
