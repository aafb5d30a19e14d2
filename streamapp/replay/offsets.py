"""Reading a group's records again: where to, what that means, and putting the group's offsets back (decision 14).

Offsets are only ever put back, never ahead of what the group has committed: records that a table has counted, or that
were kept elsewhere, are read again and skipped, so putting a group back does nothing twice.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streamapp.clock import monotonic_s
from streamapp.errors import Misconfigured, Refused, Unavailable
from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.reading import RecordsConsumer
from streamapp.exact.partition.takeover import started
from streamapp.kafka.admin import Admin
from streamapp.lane.records import Records
from streamapp.settings import KafkaSettings, Settings

SILENT_STATES = frozenset({"Empty", "Dead"})
POLL_MS = 200
HANDED_OVER_S = 2.0  # from the end of a session to a group that is seen without it


@dataclass(frozen=True, slots=True)
class Where:
    """Where reading begins again: at a moment (the broker's record timestamps), at an offset of every partition, at
    offsets of some, or, when all are None, where the log begins."""

    at_ms: int | None = None
    offset: int | None = None
    offsets: Mapping[int, int] | None = None


class Move(NamedTuple):
    """What a replay means for one partition. `committed` None: the group never committed there."""

    partition: int
    start: int  # where its log begins
    committed: int | None
    to: int

    @property
    def records(self) -> int:
        """How many offsets the group will read again."""
        return 0 if self.committed is None else max(0, self.committed - self.to)


async def await_members_gone(admin: Admin, group: str, session_s: float, tell: Callable[[str], None]) -> None:
    """Return when the group has no members. A worker that was killed stays one until its session ends: that is waited
    for, and `tell` is told once why.

    Raises `Refused` when the group still has members after `session_s`: its workers run.
    """
    end_s = monotonic_s() + session_s + HANDED_OVER_S
    told = False
    while (state := await asyncio.to_thread(admin.group, group)).state not in SILENT_STATES:
        members = ", ".join(sorted(member.client_id for member in state.members)) or "members that are joining"
        if monotonic_s() > end_s:
            raise Refused(
                f"group {group} runs ({state.state.lower()}: {members}); stop its workers first; those of "
                f"`streamapp run` with `streamapp stop {group}`"
            )
        if not told:
            tell(
                f"group {group} has members ({members}); a worker that was killed stays one for {session_s:g} s "
                f"(STREAM_WORKER__SESSION_TIMEOUT_SECONDS): waiting for that"
            )
            told = True
        await asyncio.sleep(POLL_MS / 1000)


async def planned(
    settings: Settings,
    group: str,
    topic: str,
    where: Where,
    *,
    while_running: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Move]:
    """What the group would read again of its topic, partition by partition; as of now if it may go on meanwhile.
    `tell`: told what is waited for.

    Raises `Refused` while the group runs, `Misconfigured` for a missing topic or a partition that it does not have.
    """
    admin = Admin(settings.kafka)
    if not while_running:
        await await_members_gone(admin, group, settings.worker.session_timeout_seconds, tell)
    states = await asyncio.to_thread(admin.describe, (topic,), ())
    if topic not in states:
        raise Misconfigured(f"topic {topic} is missing; run `streamapp topics apply`")
    count = states[topic].partitions
    numbers = range(count) if where.offsets is None else sorted(where.offsets)
    if numbers and max(numbers) >= count:
        raise Misconfigured(f"{topic} has partitions 0 to {count - 1}, there is no {max(numbers)}")
    committed = await asyncio.to_thread(admin.committed, group, [(topic, n) for n in numbers])
    starts, marks = await asyncio.to_thread(_marks, admin, topic, numbers, where)
    moves = []
    for number in numbers:
        now = committed.get((topic, number))
        to = max(marks[number], starts[number])
        moves.append(Move(number, starts[number], now, to if now is None else min(to, now)))
    return moves


async def put_back(kafka: KafkaSettings, group: str, topic: str, moves: Iterable[Move]) -> int:
    """Commit every move that is one. Returns how many.

    Each partition's transactional producer does it: a worker that starts meanwhile fences it, and nothing happens.
    """
    todo = {move.partition: move for move in moves if move.records}
    async with translated(), started(kafka, group, topic, [*todo], None) as producers:
        for number, producer in producers.items():
            await producer.commit(Transaction({}, (), todo[number].to))
        await asyncio.gather(*(producer.stop() for producer in producers.values()))
    return len(todo)


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Errors of the client as one of ours: what was committed stands, doing the same again goes on from there."""
    try:
        yield
    except KafkaError as error:
        raise Unavailable(f"Kafka did not do it ({type(error).__name__}: {error}); run the command again") from error


async def chunks_of(
    consumer: RecordsConsumer, most: int, topic: str, number: int, start: int, end: int
) -> AsyncIterator[Records]:
    """The records of a partition with offsets from `start` up to and without `end`, at most so many at a time. A batch
    that cannot be read is one of them, as in a worker's chunk."""
    at = TopicPartition(topic, number)
    consumer.assign([at])
    consumer.seek(at, start)
    while start < end and await consumer.position(at) < end:
        fetched = (await consumer.records(at, timeout_ms=POLL_MS)).get(at, Records())
        records = fetched[: bisect_left(fetched, end, key=lambda record: record.offset)]
        for first in range(0, len(records), most):
            yield records[first : first + most]


def _marks(
    admin: Admin, topic: str, numbers: Sequence[int], where: Where
) -> tuple[Mapping[int, int], Mapping[int, int]]:
    """Where the log of each partition begins, and where reading is to begin."""
    places = [(topic, number) for number in numbers]
    starts = {number: offset for (_, number), offset in admin.start_offsets(places).items()}
    if where.at_ms is not None:
        ends = admin.end_offsets(places, committed=True)
        found = admin.offsets_at(places, where.at_ms)
        # An offset that is found may lie behind the last stable one: there an open transaction has begun.
        return starts, {at[1]: ends[at] if found[at] < 0 else min(found[at], ends[at]) for at in places}
    if where.offset is not None:
        return starts, dict.fromkeys(numbers, where.offset)
    return starts, starts if where.offsets is None else where.offsets
