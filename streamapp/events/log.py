"""Bounded reads of event topics, for whoever looks for an event. None of them joins a group, commits or waits for the
stream.

Every read has three limits: offsets, bytes, and the silence after which Kafka counts as away. What was not read is in
the answer: `Stretch.read_to`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from streamapp.dead_letters.read import Coordinates
from streamapp.errors import Denied, StreamError, Unavailable
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import Record, Span, at_time, read, spans
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.settings import KafkaSettings

OFFSETS_MAX = 20_000  # of all partitions together, in one read: about half a second
BYTES_MAX = 32 << 20
ANSWER_S = 3.0
SILENCE_S = 3.0
READS_NONE = "this worker does not read events; ask another one, or `streamapp events`"

T = TypeVar("T")


class Stretch(NamedTuple):
    """What was read: the records, by partition and offset, and of each partition the offset behind the last one that
    was looked at."""

    records: list[Record]
    asked: Mapping[int, Span]
    read_to: Mapping[int, int]

    @property
    def whole(self) -> bool:
        """Whether all that was asked for was read."""
        return all(self.read_to[partition] >= span.end for partition, span in self.asked.items())


class EventLog:
    """What whoever looks for an event asks of Kafka. Every method raises `Unavailable`, `Denied` without the right to
    read, or `Misconfigured`. This one is for a worker that reads none."""

    async def spans(self, topic: str) -> dict[int, Span]:
        """What each partition holds now."""
        raise Unavailable(READS_NONE)

    async def offsets(self, topic: str, at_ms: int) -> dict[int, int]:
        """Of each partition the first offset whose record came at this moment or later, else its end."""
        raise Unavailable(READS_NONE)

    async def read(self, topic: str, upto: Mapping[int, Span]) -> Stretch:
        """The records in these spans, within the limits."""
        raise Unavailable(READS_NONE)


class KafkaEventLog(EventLog):
    """Reads Kafka in a thread of its own, one question after the other. Nothing is started before the first one.

    A topic is read as the first of `users` that may read it: the pages' user, or the worker's own."""

    def __init__(self, *users: KafkaSettings) -> None:
        self._users = [user for number, user in enumerate(users) if user not in users[:number]]
        self._thread = ThreadPoolExecutor(1, "events")

    async def spans(self, topic: str) -> dict[int, Span]:
        return await self._in_thread(lambda kafka: spans(confluent_config(kafka), topic, ANSWER_S))

    async def offsets(self, topic: str, at_ms: int) -> dict[int, int]:
        return await self._in_thread(lambda kafka: at_time(confluent_config(kafka), topic, at_ms, ANSWER_S))

    async def read(self, topic: str, upto: Mapping[int, Span]) -> Stretch:
        return await self._in_thread(lambda kafka: self._read(kafka, topic, upto))

    def _read(self, kafka: KafkaSettings, topic: str, upto: Mapping[int, Span]) -> Stretch:
        bounded = within(upto)
        records: list[Record] = []
        read_to = {partition: span.start for partition, span in bounded.items()}
        size, whole = 0, True
        reading = read(confluent_config(kafka), topic, bounded, SILENCE_S, headers=True)
        for record in reading:
            if not isinstance(record.value, UnreadableBatch):
                records.append(record)
            read_to[record.partition] = record.offset + 1
            size += len(record.value or b"")
            if size > BYTES_MAX:
                whole = False
                break
        reading.close()  # type: ignore[attr-defined]  # a generator: its consumer goes with it
        if whole:
            read_to = {partition: span.end for partition, span in bounded.items()}
        return Stretch(sorted(records, key=lambda one: (one.partition, one.offset)), upto, read_to)

    async def _in_thread(self, question: Callable[[KafkaSettings], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._asked, question)

    def _asked(self, question: Callable[[KafkaSettings], T]) -> T:
        denied: Denied | None = None
        for user in self._users:
            try:
                return question(user)
            except Denied as error:
                denied = denied or error
            except StreamError:
                if denied is None:  # else it may be that nothing is heard of a topic which is hidden from this user
                    raise
        assert denied is not None
        raise denied


def within(upto: Mapping[int, Span], most: int = OFFSETS_MAX) -> dict[int, Span]:
    """The first offsets of each span, `most` in all; what short spans leave goes to the others."""
    left, bounded = most, {}
    shortest_first = sorted(upto.items(), key=lambda item: item[1].end - item[1].start)
    for number, (partition, span) in enumerate(shortest_first):
        share = left // (len(upto) - number)
        end = min(span.end, span.start + share)
        bounded[partition] = Span(span.start, max(span.start, end))
        left -= max(0, end - span.start)
    return bounded


def at_offset(at: Coordinates) -> dict[int, Span]:
    """The span of one record."""
    return {at[1]: Span(at[2], at[2] + 1)}
