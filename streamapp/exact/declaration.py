"""What a consumer group does, as data. From it follow its task, its takeover, its changelog, its limits, its view,
replay and repartition. Nothing here needs Faust: commands find a table by its name (`meters/registry.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from operator import attrgetter
from typing import Any, NamedTuple

from streamapp.clock import Clock
from streamapp.directory.teams import Directory, EmptyDirectory, open_directory
from streamapp.exact.correction import Correction, Kept
from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.letter import TOPIC as DEAD_LETTER
from streamapp.exact.partition.place import Place, Producer
from streamapp.exact.partition.poison import poison_limit
from streamapp.exact.partition.situation import Source
from streamapp.exact.partition.takeover import MakeTask, OnCommit, TableTakeover
from streamapp.exact.partition.task import Parts, TableTask
from streamapp.metrics import Role
from streamapp.settings import Settings
from streamapp.store.position import StoredPosition
from streamapp.store.rows import Store
from streamapp.store.table import Table
from streamapp.topics import registry
from streamapp.topics.partitioner import partition_for
from tables.admission import Admission
from tables.window import Rules

OrgOf = Callable[[str], str | None]
MakeShadow = Callable[[Kept, Store], TableTask[Any, Any]]


class Late(StrEnum):
    """What becomes of an event whose hour is closed, and that is not older than the topic's retention."""

    REVISED = "stated as a revision"
    CARRIED = "carried into the next statement"
    KEPT = "counted in its row, which is still there"


@dataclass(frozen=True)
class EventSource:
    """A topic of events as tables read it.

    decode    bytes → event, or a pair (reason, error); None: the table reads records its own way
    owner_of  event → who must be the record key
    owner     what such a one is called
    """

    topic: str
    decode: Callable[[Any], Any] | None = None
    owner_of: Callable[[Any], str] = attrgetter("team_id")
    owner: str = "team"

    @property
    def retention_ms(self) -> int:
        """How long the topic keeps an event. An older one is too late for any table."""
        retention_ms = registry.topic(self.topic).retention_ms
        assert retention_ms is not None, f"{self.topic} is no event topic"
        return retention_ms

    def admission(self, place: Place, org_of: OrgOf) -> Admission:
        """Lets in events of owners whose record key belongs on the partition."""
        assert self.decode is not None, f"nobody decodes {self.topic}"

        def at_home(key: bytes | None, owner: str) -> bool:
            return key == owner.encode() and partition_for(key, place.partitions) == place.partition

        return Admission(self.decode, at_home, org_of, self.owner_of, self.owner)


class Making(NamedTuple):
    """What a partition's parts are made of. `admission` may be asked for when the source is decoded; `directory` knows
    nobody when it is not."""

    settings: Settings
    clock: Clock
    rules: Rules
    decoded: Admission | None
    directory: Directory = EmptyDirectory()

    def admission(self) -> Admission:
        """What a record must be. Raises AssertionError for a table whose source is not decoded."""
        assert self.decoded is not None, "its source is not decoded"
        return self.decoded


class Nobody:
    """The producer of a shadow: what it is given goes nowhere."""

    async def commit(self, transaction: Transaction) -> int | None:
        return 0

    async def stop(self) -> None: ...


def retention_only(settings: Settings, source: EventSource) -> Rules:
    """Hours close when the defaults say; events are too late when the topic has forgotten them."""
    return Rules(retention_ms=source.retention_ms)


@dataclass(frozen=True, kw_only=True)
class Declaration(ABC):
    """What a group makes of a topic: a table (`TableDeclaration`), or a copy in a destination outside Kafka
    (`sinks/declaration.py:SinkDeclaration`).

    group     the consumer group that does it
    rows      its name and its kinds of rows, with their codecs
    source    the topic it is made from
    help      one line for people
    to        the topics that its statements go to
    letters   whether refused records become dead letters, and too many of them stop the worker
    again     what somebody does who wants records read again; empty: `streamapp replay`
    view      (app, metrics, clock, rows) → what the pages and Prometheus show of it
    """

    group: str
    rows: Table
    source: EventSource
    help: str
    to: tuple[str, ...] = ()
    letters: bool = True
    again: str = ""
    view: Callable[..., Any]

    @property
    def name(self) -> str:
        """Unique among all tables and sinks."""
        return self.rows.name

    @property
    def about(self) -> str:
        """One line for people, with all that they should know."""
        return self.help

    @property
    def role(self) -> Role:
        """Which metrics mean something for the group."""
        return Role(states=bool(self.to), letters=self.letters, sink=False)

    @property
    def changelog(self) -> str:
        """The internal topic that holds the rows."""
        return registry.changelog(self.group, self.name)

    @property
    def origin(self) -> Source:
        """Where records come from and where rows, statements and dead letters go."""
        outputs = (*self.to, DEAD_LETTER) if self.letters else self.to
        return Source(self.group, self.source.topic, self.rows, self.changelog, outputs)

    @abstractmethod
    def takeover(self, settings: Settings, clock: Clock, on_commit: OnCommit) -> TableTakeover:
        """How its partitions are taken over. Raises `Misconfigured` for settings with which it cannot work."""


@dataclass(frozen=True, kw_only=True)
class TableDeclaration(Declaration):
    """A table.

    parts     what a chunk changes and states (`exact/partition/task.py:Parts`)
    late      what becomes of late events
    correction  what `streamapp replay --recompute` does where the table is not what the log says
    window    settings → when hours close and how long ids are remembered
    idle_ms   settings → how long a partition is silent before the wall clock may close something
    checked   settings → anything; raises `Misconfigured` for settings with which no partition could be made
    """

    parts: Callable[[Making], Parts[Any, Any]]
    late: Late
    correction: Correction
    window: Callable[[Settings, EventSource], Rules] = retention_only
    idle_ms: Callable[[Settings], int] = field(default=lambda settings: 0)
    checked: Callable[[Settings], object] = field(default=lambda settings: None)

    @property
    def about(self) -> str:
        return f"{self.help}; a late event is {self.late}"

    def rules(self, settings: Settings) -> Rules:
        """When hours close."""
        return self.window(settings, self.source)

    def make_task(self, settings: Settings, clock: Clock) -> MakeTask[TableTask[Any, Any]]:
        """Rebuilds the task of a partition. Raises `Misconfigured` for a directory that cannot be read."""
        making, worker = self._making(settings, clock), settings.worker

        def task(
            place: Place, store: Store, producer: Producer, position: StoredPosition | None
        ) -> TableTask[Any, Any]:
            limit = poison_limit(worker, position) if self.letters else None
            return TableTask(self.parts(making(place)), place, store, producer, position, limit, worker.ids_in_memory)

        return task

    def make_shadow(self, settings: Settings, clock: Clock) -> MakeShadow:
        """Makes what counts a kept partition's records anew, into an empty store. It writes to nobody. Raises
        `Misconfigured` for a directory that cannot be read."""
        making = self._making(settings, clock)

        def task(kept: Kept, store: Store) -> TableTask[Any, Any]:
            place = replace(kept.place, outputs=dict.fromkeys(self.to, 1))  # without dead letters
            counts, made = self.correction.counts, making(place)
            parts = self.parts(made) if counts is None else counts(made, kept)
            return TableTask(parts, place, store, Nobody(), None, None, settings.worker.ids_in_memory)

        return task

    def _making(self, settings: Settings, clock: Clock) -> Callable[[Place], Making]:
        self.checked(settings)
        rules = self.rules(settings)
        if self.source.decode is None:
            return lambda place: Making(settings, clock, rules, None)
        known = open_directory(settings.directory)
        return lambda place: Making(settings, clock, rules, self.source.admission(place, known.org_of), known)

    def takeover(self, settings: Settings, clock: Clock, on_commit: OnCommit) -> TableTakeover:
        make_task = self.make_task(settings, clock)
        return TableTakeover(self.origin, settings, make_task, self.idle_ms(settings), clock, on_commit)
