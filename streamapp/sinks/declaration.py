"""A sink of a consumer group, as data: records of a topic, copied to a destination outside Kafka, each once. From it
follow its task, takeover, dead letters, limits and view, as those of a table do (`exact/declaration.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from streamapp.clock import Clock
from streamapp.errors import Misconfigured
from streamapp.exact.declaration import Declaration
from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.place import Place, Producer
from streamapp.exact.partition.poison import counts_in, poison_limit
from streamapp.exact.partition.takeover import Hold, OnCommit, TableTakeover
from streamapp.kafka.admin import Admin
from streamapp.metrics import Role
from streamapp.schemas.judging.rejected import Rejected
from streamapp.settings import Settings
from streamapp.sinks.destination import Destination
from streamapp.sinks.rewriter import Rewriter
from streamapp.sinks.task import Bounds, Read, SinkTask
from streamapp.sinks.view import SinkView
from streamapp.store.position import POSITION_KEY, StoredPosition, pack_position
from streamapp.store.rows import Store, Writes, stored_position
from tables.outcome import Refusal

log = logging.getLogger(__name__)

Row = TypeVar("Row")


def each(judge: Callable[[str, int, Any], Row | Rejected | None]) -> Read[Row]:
    """Reads records one by one. `judge`: topic, partition, record → its row, or why it cannot be kept; None: there is
    nothing to keep of it."""

    def read(place: Place, records: Sequence[Any]) -> tuple[list[Row], list[Refusal]]:
        rows: list[Row] = []
        refusals: list[Refusal] = []
        for record in records:
            row = judge(place.topic, place.partition, record)
            if isinstance(row, Rejected):
                refusals.append(Refusal(record, row.reason, row.error))
            elif row is not None:
                rows.append(row)
        return rows, refusals

    return read


def every_chunk(settings: Settings) -> Bounds:
    """For destinations that take as much or as little as there is."""
    return Bounds(records=1, size_bytes=1, age_ms=0)


@dataclass(frozen=True, kw_only=True)
class SinkDeclaration(Declaration, Generic[Row]):
    """A sink.

    destination  settings → where the records go. Raises `Misconfigured` for what cannot be one
    read         settings → what records are as rows, and which are refused
    ends         settings → when a batch ends
    rewriter     settings → what makes its rows again from the log (`streamapp replay --rewrite`); None: they are final
    """

    destination: Callable[[Settings], Destination[Row]]
    read: Callable[[Settings], Read[Row]]
    ends: Callable[[Settings], Bounds] = every_chunk
    rewriter: Callable[[Settings], Rewriter] | None = None
    view: Callable[..., Any] = SinkView

    @property
    def role(self) -> Role:
        return Role(states=False, letters=self.letters, table=False)

    def takeover(self, settings: Settings, clock: Clock, on_commit: OnCommit) -> TableTakeover:
        destination, read, ends = self.destination(settings), self.read(settings), self.ends(settings)

        def task(place: Place, store: Store, producer: Producer, position: StoredPosition | None) -> SinkTask[Row]:
            limit = poison_limit(settings.worker, position)
            return SinkTask(place, store, producer, position, destination.at(place), read, ends, limit)

        follow = partial(follow_destination, destination, clock) if destination.keeps_offset else None
        # Ticks need not wait for silence: one is due only when a batch is old.
        return TableTakeover(self.origin, settings, task, 0, clock, on_commit, follow)


async def follow_destination(destination: Destination[Any], clock: Clock, hold: Hold) -> None:
    """Set the group, and the position rows, to where the destination is, and offsets free of metadata."""
    topic, group = hold.source.topic, hold.source.group
    kept = await destination.offsets(topic)
    seen = await asyncio.to_thread(Admin(hold.settings.kafka).group, group)
    for number in hold.producers:
        offset, note = kept.get(number, 0), seen.notes.get((topic, number), "")
        position = await hold.undamaged(number, stored_position)
        refuse_another_topic(hold, number, offset, position)
        committed, topic_id = hold.situation.committed.get(number, 0), hold.situation.topic_id
        row = (0, topic_id) if position is None else (position.next_offset, position.topic_id)
        moves = committed != offset or bool(note)
        if position is not None and row == (offset, topic_id) and not moves:
            continue
        if committed != offset:
            where = f"{topic}-{number}"
            log.warning("%s: group %s is at %d, its destination at %d: going there", where, group, committed, offset)
        # A release before 0030 kept the counts in the offset's metadata: they hold until there is a row.
        counts = counts_in(note) if position is None else position.poison
        there = StoredPosition(offset, -1, -1, topic_id, hold.situation.partitions, clock(), poison=counts)
        writes: Writes = {POSITION_KEY: pack_position(there)}
        checkpoint = await hold.producers[number].commit(Transaction(writes, (), offset if moves else None))
        assert checkpoint is not None, "there is a row"
        hold.stores[number].write(writes, checkpoint)
        if moves:
            hold.situation.committed[number] = offset


def refuse_another_topic(hold: Hold, number: int, kept: int, position: StoredPosition | None) -> None:
    """Raises `Misconfigured` for a destination that was filled from another topic than the one that is there. Before
    a destination is first written there is a position row; so one that holds records has one, or the group's offset of
    a release before 0030, unless Kafka has lost both."""
    topic, group, at = hold.source.topic, hold.source.group, hold.situation
    lost = number not in at.committed if position is None else position.topic_id != at.topic_id
    if kept > at.ends[number] or (kept and lost):
        raise Misconfigured(
            f"{topic}-{number} ends at {at.ends[number]}, the destination of {group} holds it up to {kept}: the "
            f"topic was created again, this is another cluster, or the group was deleted. If "
            f"STREAM_KAFKA__BOOTSTRAP_SERVERS is wrong, correct it. If only the group was deleted, put it to {kept}: "
            f"`kafka-consumer-groups --bootstrap-server … --group {group} --topic {topic}:{number} --execute "
            f"--reset-offsets --to-offset {kept}`. Else keep the destination as it is and give {group} an empty one, "
            f"which is filled from the beginning; see docs/runbook.md, The only broker's disk is lost"
        )
