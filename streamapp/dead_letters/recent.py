"""The newest dead letters, for pages: bounded in number and in bytes, read in a thread of its own.

A first look reads the end of `dead_letter` backwards, block by block; every later one reads only what is new.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from streamapp.clock import Clock
from streamapp.dead_letters.done import DONE_TOPIC, Done, Rows
from streamapp.dead_letters.read import Coordinates, Letter, Unreadable, parse
from streamapp.errors import StreamError, Unavailable
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import Span, read, spans
from streamapp.schemas.judging.letter import TOPIC
from streamapp.schemas.values.mask import mask_text
from streamapp.schemas.values.timestamp import format_ms
from streamapp.settings import KafkaSettings

ENTRIES_MAX = 5_000  # what a person may page through; the command line looks through all
BLOCK = 500
BYTES_MAX = 64 << 20  # read at a first look; dead letters may be 4 MiB each
FRESH_MS = 2_000  # an open page asks once a second
ANSWER_S = 3.0
SILENCE_S = 5.0
READS_NONE = "this worker does not read dead letters; ask another one, or streamapp dead-letters"


@dataclass(frozen=True, slots=True)
class Entry:
    """A dead letter without its bytes."""

    letter: Letter  # value and headers are left out
    team: str | None
    cause: str
    value_bytes: int | None
    event_id: str | None = None


@dataclass(frozen=True)
class Recent:
    """The newest dead letters, newest first, and what was done about them."""

    entries: tuple[Entry, ...]
    done: Done
    in_log: int  # dead letters in the log, about: markers of transactions count
    unreadable: int

    @cached_property
    def by_record(self) -> Mapping[Coordinates, Letter]:
        """Topic, partition and offset of a record → its newest dead letter."""
        oldest_first = (one.letter for one in reversed(self.entries))
        return {letter.record: letter for letter in oldest_first if letter.record is not None}


class Letters:
    """What the pages ask. Both methods raise `Unavailable` or `Misconfigured`. This one is for a worker that reads no
    dead letters."""

    async def recent(self) -> Recent:
        """The newest dead letters."""
        raise Unavailable(READS_NONE)

    async def whole(self, at: Coordinates) -> Letter | None:
        """A dead letter with its bytes, by where it is; None when it has left the log."""
        raise Unavailable(READS_NONE)


class RecentLetters(Letters):
    """Reads Kafka. Nothing is started before the first question, and no question waits on the event loop."""

    def __init__(self, kafka: KafkaSettings, clock: Clock, entries_max: int = ENTRIES_MAX) -> None:
        self._kafka = kafka
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "letters")  # one reader at a time, and nobody else's threads are used up
        self._entries: deque[Entry] = deque(maxlen=entries_max)  # oldest first
        self._read_to: dict[int, int] = {}
        self._unreadable = 0
        self._rows = Rows()
        self._made: tuple[int, Recent | StreamError] | None = None

    async def recent(self) -> Recent:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._recent)

    async def whole(self, at: Coordinates) -> Letter | None:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._whole, at)

    # In the thread:

    def _recent(self) -> Recent:
        """A failure is as good for a while as an answer: else those who ask would wait in a row for time-outs."""
        if self._made is None or self._clock() - self._made[0] >= FRESH_MS:
            made: Recent | StreamError
            try:
                made = self._read()
            except StreamError as error:
                made = error
            self._made = self._clock(), made
        if isinstance(self._made[1], StreamError):
            raise self._made[1]
        return self._made[1]

    def _read(self) -> Recent:
        config = confluent_config(self._kafka)
        there = spans(config, TOPIC, ANSWER_S)
        if any(there.get(partition, Span(0, 0)).end < end for partition, end in self._read_to.items()):
            self._forget()  # the topic was made again
        if self._read_to:
            self._take(config, {number: Span(self._read_to.get(number, 0), span.end) for number, span in there.items()})
        else:
            self._forget()  # an earlier look may have broken off
            self._look_back(config, there)
        self._read_to = {number: span.end for number, span in there.items()}
        self._rows.refresh(config, spans(config, DONE_TOPIC, ANSWER_S)[0])
        in_log = sum(span.end - span.start for span in there.values())
        return Recent(tuple(reversed(self._entries)), self._rows.done(), in_log, self._unreadable)

    def _whole(self, at: Coordinates) -> Letter | None:
        topic, partition, offset = at
        upto = {partition: Span(offset, offset + 1)}
        for record in read(confluent_config(self._kafka), topic, upto, SILENCE_S):
            found = parse(record)
            if record.offset == offset and isinstance(found, Letter):
                return found
        return None

    def _look_back(self, config: Mapping[str, Any], there: Mapping[int, Span]) -> None:
        found: list[Entry] = []
        size, ends = 0, {number: span.end for number, span in there.items()}
        while len(found) < (self._entries.maxlen or 0) and size < BYTES_MAX:
            block = {number: Span(max(there[number].start, end - BLOCK), end) for number, end in ends.items()}
            if all(span.start == span.end for span in block.values()):
                break
            entries, read_bytes = self._entries_in(config, block)
            found.extend(entries)
            size += read_bytes
            ends = {number: span.start for number, span in block.items()}
        self._keep(found)

    def _take(self, config: Mapping[str, Any], upto: Mapping[int, Span]) -> None:
        if any(span.end > span.start for span in upto.values()):
            self._keep(self._entries_in(config, upto)[0])

    def _entries_in(self, config: Mapping[str, Any], upto: Mapping[int, Span]) -> tuple[list[Entry], int]:
        entries: list[Entry] = []
        size = unreadable = 0
        for record in read(config, TOPIC, upto, SILENCE_S):
            size += len(record.value or b"")
            found = parse(record)
            if isinstance(found, Unreadable):
                unreadable += 1
            else:
                entries.append(entry(found))
        self._unreadable += unreadable
        return entries, size

    def _keep(self, entries: list[Entry]) -> None:
        for one in sorted(entries, key=lambda each: (each.letter.failed_ms, each.letter.at)):
            self._entries.append(one)

    def _forget(self) -> None:
        self._entries.clear()
        self._read_to, self._unreadable = {}, 0


def told(one: Entry, done: Done) -> dict[str, Any]:
    """A dead letter as plain JSON types, masked: what the pages and the commands both tell."""
    letter, receipt = one.letter, done.by_letter.get(one.letter.id)
    return {
        "id": letter.id,
        "state": done.state(letter),
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "error": mask_text(letter.error),
        "cause": one.cause,
        "team": mask_text(one.team) if one.team else None,
        "failed_at": format_ms(letter.failed_ms),
        "attempt": letter.attempt,
        "truncated": letter.truncated,
        "value_bytes": one.value_bytes,
        "dropped_because": (receipt.reason or None) if receipt else None,
    }


def entry(letter: Letter) -> Entry:
    size = None if letter.value is None else len(letter.value)
    return Entry(replace(letter, value=None, headers=()), letter.team, letter.cause, size, letter.event_id)
