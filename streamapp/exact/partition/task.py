"""A table as the task of a partition: outcomes become rows, statements and dead letters, in one transaction.

There is one such task. What differs between tables stands in their `Parts`: how a partition's memory is rebuilt, and
how what a chunk changed, stated and refused is written down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from streamapp.exact.partition.chunk import Send, Transaction
from streamapp.exact.partition.letter import TOPIC as DEAD_LETTER
from streamapp.exact.partition.letter import letters_of
from streamapp.exact.partition.place import Place, Producer
from streamapp.exact.partition.poison import PoisonLimit
from streamapp.lane.ids import IN_MEMORY, CompactSeen
from streamapp.store.ids import ids_written
from streamapp.store.position import POSITION_KEY, StoredPosition, pack_position, secret_of
from streamapp.store.rows import Overlay, Store, Writes
from tables.outcome import Folded, Position

Out = TypeVar("Out", bound=Folded)
OutOf = TypeVar("OutOf", bound=Folded, covariant=True)


class Memory(Protocol[OutOf]):
    """What a worker knows of a partition's table. Pure but for what it asks of its rows. Most are a `tables.fold.Fold`.

    `position` says how far it is; it moves with every chunk.
    """

    @property
    def position(self) -> Position: ...

    def apply(self, records: Sequence[Any], now_ms: int) -> OutOf:
        """Fold records. Those below the position are passed over."""

    def idle(self, now_ms: int) -> OutOf:
        """What the wall clock closes in a silent partition."""

    def idle_due(self, now_ms: int) -> bool:
        """Whether `idle` would do anything."""


@runtime_checkable
class Keeps(Protocol):
    """A task with rows, as the pages see it: a table's or a sink's."""

    store: Store
    letters: bool  # whether refused records become dead letters
    duplicates: int  # since the takeover
    rejected: int
    watermark_ms: int  # -1: there is none
    landed: Callable[[Any], None]  # told of each outcome, a `Folded`, that has committed


Mem = TypeVar("Mem", bound=Memory[Any])


class Opening(NamedTuple):
    """What the memory of a partition is rebuilt from. `seen` is empty: ids are restored with the rest."""

    place: Place
    rows: Any  # what `Parts.rows` made: an Overlay, with the table's own ways to read it
    position: Position
    seen: CompactSeen
    moved_ms: int  # other partitions counted hours up to this moment into these rows; -1: none did


def states_nothing(outcome: Folded, place: Place) -> Iterable[tuple[Send, Writes]]:
    """For tables that send no records but dead letters."""
    return ()


def nothing(memory: Any, outcome: Any) -> None:
    """For tables that have nothing to do after a commit."""


async def at_once(memory: Any) -> None:
    """For tables that hold nothing that must be let go."""


@dataclass(frozen=True)
class Parts(Generic[Mem, Out]):
    """What a table brings along.

    rows      the store, as the table reads it
    memory    rebuilds the memory from the rows
    changed   the rows that a chunk changed, as bytes, now: the next chunk's fold goes on changing them
    stated    what a chunk states, in order: each record, and the row that keeps it
    remembers whether ids are remembered as `tables/seen.py` says, under a secret that the position row keeps
    after     told of each chunk when it has committed
    close     the partition goes
    """

    memory: Callable[[Opening], Mem]
    changed: Callable[[Out], Writes]
    rows: Callable[[Store], Overlay] = Overlay
    stated: Callable[[Out, Place], Iterable[tuple[Send, Writes]]] = states_nothing
    remembers: bool = True
    after: Callable[[Mem, Out], None] = nothing
    close: Callable[[Mem], Awaitable[None]] = at_once


class TableTask(Generic[Mem, Out]):
    """Folds records and says what must be written. Rebuilt from the store at every takeover. `poison` None: any number
    of records may be refused. Refused records become dead letters if `dead_letter` is one of the place's outputs; else
    they are only counted, and another group writes them."""

    def __init__(
        self,
        parts: Parts[Mem, Out],
        place: Place,
        store: Store,
        producer: Producer,
        position: StoredPosition | None,
        poison: PoisonLimit | None = None,
        ids_in_memory: int = IN_MEMORY,
    ) -> None:
        self.parts = parts
        self.place = place
        self.store = store
        self.producer = producer
        self.rows = parts.rows(store)
        self.letters = DEAD_LETTER in place.outputs
        self.duplicates = self.rejected = 0  # since the takeover
        self.landed: Callable[[Out], None] = lambda outcome: None  # the view: told of each chunk that has committed
        self.active_ms, self._moved_ms = (0, -1) if position is None else (position.active_ms, position.moved_ms)
        self._poison = poison
        self._folded: list[Out] = []
        secret = secret_of(position, place.entropy)
        self._seen = CompactSeen(secret, place.folder, ids_in_memory)
        start = Position()
        if position is not None:
            start, self._seen.held = position.position(), position.held
        self.memory = parts.memory(Opening(place, self.rows, start, self._seen, self._moved_ms))

    @property
    def watermark_ms(self) -> int:
        return self.memory.position.watermark_ms

    def fold(self, records: Sequence[Any], now_ms: int) -> Transaction:
        """One chunk."""
        self.active_ms = now_ms
        outcome = self.memory.apply(records, now_ms)
        new = len(records) - outcome.skipped
        if new and self._poison is not None:
            self._poison.check(new, records[-1].offset, outcome.refusals)
        return self._written(outcome, records[-1].offset + 1, now_ms, is_new=new > 0)

    def tick(self, now_ms: int) -> Transaction | None:
        """Idle close."""
        if not self.memory.idle_due(now_ms):
            return None
        return self._written(self.memory.idle(now_ms), None, now_ms)

    def tick_due(self, now_ms: int) -> bool:
        return self.memory.idle_due(now_ms)

    async def commit(self, transaction: Transaction) -> None:
        checkpoint = await self.producer.commit(transaction)
        if checkpoint is not None:  # only now: the store is never ahead of the changelog
            self.rows.land(checkpoint)
        outcome = self._folded.pop(0)
        self.duplicates += outcome.duplicates
        self.rejected += len(outcome.refusals)
        self.parts.after(self.memory, outcome)
        self.landed(outcome)

    def stop_waiting(self) -> None:
        pass  # commits wait for nobody else

    async def close(self) -> None:
        await self.parts.close(self.memory)
        await self.producer.stop()
        self.store.close()

    def _written(self, outcome: Out, next_offset: int | None, now_ms: int, *, is_new: bool = True) -> Transaction:
        parts = self.parts
        self._folded.append(outcome)
        sends: list[Send] = []
        writes: Writes = {}
        for sent, row in parts.stated(outcome, self.place):
            sends.append(sent)
            writes |= row
        if self.letters:
            sends += letters_of(outcome.refusals, self.place, now_ms)
        writes |= parts.changed(outcome)  # behind the statements: one may expire in the chunk that states it
        if not (is_new or writes):  # all was applied before: somebody has put the group back
            return Transaction({}, (), next_offset)
        writes |= ids_written(outcome)
        writes[POSITION_KEY] = pack_position(self._position())
        self.rows.push(writes)
        return Transaction(writes, sends, next_offset)

    def _position(self) -> StoredPosition:
        at, place = self.memory.position, self.place
        return StoredPosition(
            at.next_offset,
            at.watermark_ms,
            at.expired_ms,
            place.topic_id,
            place.partitions,
            self.active_ms,
            self._moved_ms,
            None if self._poison is None else self._poison.counts,
            at.closed_ms,
            self._seen.secret if self.parts.remembers else b"",
            self._seen.held,
        )
