"""What the pages need to know of one event and of incidents. The rules of `facts/worker.py` hold here, too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class PlaceFacts:
    """What a partition's table remembers of an event id. `chunk`: the id was counted by a record at this offset or at
    most a chunk behind it; None: in none of the chunks that begin from `searched_from` to `searched_to`."""

    partition: int
    known: bool
    chunk: int | None
    searched_from: int
    searched_to: int
    position: int  # next source offset the table will apply


@dataclass(frozen=True, slots=True)
class WindowFacts:
    """The row that counts events of some names and an hour, and what was stated of it. `due_ms`: the watermark at which
    what is not stated yet will be; None: nothing waits, or it waits until it is enough."""

    partition: int
    state: Literal["open", "pending", "stated", "unknown"]
    names: tuple[str, ...]  # org, team, currency; or org, agent, consumer, currency
    start_ms: int
    watermark_ms: int | None
    due_ms: int | None
    statements: tuple[str, ...]  # as stated, oldest first


@dataclass(frozen=True, slots=True)
class IncidentFacts:
    """The newest incident of a cause of dead letters. `opened_ms` None: it is quiet since `quiet_ms`. `told`: the
    destinations that were told of it, `owed`: those that must still be."""

    cause: str
    topic: str
    by: str
    reason: str
    shape: str
    number: int
    state: Literal["open", "grown", "quiet"]
    opened_ms: int | None
    first_ms: int  # of the cause
    last_ms: int  # its newest dead letter
    quiet_ms: int  # when silence ends it, or has ended it
    letters: int  # of the cause; of the incident while it is open
    told: tuple[str, ...]
    owed: tuple[str, ...]
    partition: int


@runtime_checkable
class TracesView(Protocol):
    """What a worker whose table remembers ids can tell of one event."""

    async def places(self, event_id: str, starts: Mapping[int, int]) -> list[PlaceFacts]:
        """What its partitions remember of an id: of those in `starts`, looked for behind these offsets; without any, of
        all, looked for among the newest."""

    def window(self, names: tuple[str, ...], at_ms: int) -> list[WindowFacts]:
        """The row that counts an event of these names at this time; empty when no partition in hand has one. An empty
        name of an org is the one that the directory has for the team."""


@runtime_checkable
class IncidentsView(Protocol):
    """What the worker that watches dead letters can tell beside."""

    def incidents(self) -> list[IncidentFacts]:
        """Open incidents, and those that went quiet and are remembered."""
