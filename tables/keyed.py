"""Rows by key, changed by one function: all the arithmetic a simple group needs. Pure: records in, changed rows out.

How records are read is in `fold.py`. A record is an event, or nothing that matters here, or refused; an event that is
older than the topic's retention behind the watermark is refused, too. What comes out is a function of the log, however
it is cut into chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from tables.fast_path import NoFastPath
from tables.fold import Fold
from tables.outcome import Folded, Position, Record, Refusal
from tables.seen import Seen
from tables.window import HOUR_MS, Rules, hour_of

Rows = MutableMapping[Any, Any]
"""Key → row, both immutable. A dict in tests."""


def never(key: Any, limit_ms: int) -> bool:
    """For rows that are kept for ever."""
    return False


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a group brings along.

    read     a record's value → an event with `id` and `at_ms`, None for one that does not matter here, or a `refusal`
    refusal  the type of a pair (reason, error)
    count    changes rows for one event
    over     whether a row can go, by its key: no event at or after this moment (ms) belongs to it
    """

    read: Callable[[Any], Any]
    refusal: type[tuple[Any, str]]
    count: Callable[[Rows, Any], None]
    over: Callable[[Any, int], bool]

    def admit(self, record: Record, future_ms: int) -> Any:
        """As `tables/admission.py:OwnerAdmission.admit`. Rows belong to no partition, so any key may be here."""
        event = self.read(record.value)
        if event is None:
            return None
        if isinstance(event, self.refusal):
            return Refusal(record, *event)
        if event.at_ms > record.timestamp + future_ms:
            return Refusal(record, "timestamp_in_future", "timestamp is more than 5 minutes in the future")
        return event

    def org(self, event: Any) -> str:
        """Nobody asks: `read` refuses an event that lacks an org it needs."""
        return ""


@dataclass
class KeyedOutcome(Folded):
    """What a chunk changed. `rows` holds final rows; None: the row is gone."""

    rows: dict[Any, Any] = field(default_factory=dict)


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


class Keyed(Fold[KeyedOutcome, Rows]):
    """One partition's rows. `position` is moved; `rows` are those of the last chunk."""

    def __init__(self, recipe: Recipe, rules: Rules, rows: Mapping[Any, Any], position: Position, seen: Seen) -> None:
        self.recipe = recipe
        self.rows = rows
        self._changes: Rows = {}
        super().__init__(rules, recipe, position, seen, NoFastPath())
        self.next_mark_ms = self._next_mark()

    def _begun(self, chunk: int) -> KeyedOutcome:
        outcome = KeyedOutcome(chunk=chunk)
        self._changes = Changes(self.rows, outcome.rows)
        return outcome

    def _row_for(self, event: Any, org: str, record: Record) -> Rows | None:
        return None if self._too_late(event.at_ms, record) else self._changes

    def _add(self, row: Rows, event: Any, record: Record) -> None:
        self.recipe.count(row, event)

    def _cross(self, watermark_ms: int) -> None:
        """With each hour that the watermark enters, ids are forgotten and rows that are over go."""
        self._outcome.old_ids += self.seen.forget(watermark_ms)
        over, limit_ms = self.recipe.over, watermark_ms - self.rules.retention_ms
        if over is not never:  # then all keys are looked at
            for key in [key for key in self._changes if over(key, limit_ms)]:
                del self._changes[key]

    def _due_next_ms(self) -> int:
        return hour_of(self.position.watermark_ms) + HOUR_MS
