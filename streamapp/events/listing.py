"""Lists of events: of a team and a time, behind a bill, and the newest ones. Each is one bounded read.

A list says of each event what its page says, from facts that are asked once per row of the table, not once per event.
Only a duplicate of an event that lies before the list is not told apart here; its own page does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from streamapp.dead_letters.recent import Letters, Recent
from streamapp.errors import StreamError
from streamapp.events import fate
from streamapp.events.event import Event, event_of
from streamapp.events.log import EventLog, Stretch
from streamapp.events.trace import Sighting, Tracer
from streamapp.facts.events import WindowFacts
from streamapp.kafka.log.reader import Record, Span
from streamapp.schemas.values.money import EXACT
from streamapp.topics.partitioner import partition_for

SHOWN_MAX = 500
TAIL = 100  # newest events
TAIL_OFFSETS = 2_000  # read for it, of all partitions together
TURN = 50  # records that are judged in one go: some milliseconds
PRICED = ("llm_usage", "agent_rpc_metering")  # their events are calls that count, and cost
TOPICS = (*PRICED, "events_plugin_ingestion")

HOUR_MS = 3_600_000

Fits = Callable[[Event], bool]
Kept = Callable[[fate.Fate], bool]


def every(_: object) -> bool:
    """For lists that leave nothing out."""
    return True


def between(from_ms: int | None, until_ms: int | None, now_ms: int) -> tuple[int, int]:
    """The time that was asked for: without an end until now, without a beginning an hour."""
    until = now_ms if until_ms is None else until_ms
    return (until - HOUR_MS if from_ms is None else from_ms), until


@dataclass
class Listing:
    """Events, and how much of what was asked for has been read. `next_offset`: where the next stretch of a list of one
    partition begins; None: there is none."""

    topic: str
    sightings: list[Sighting] = field(default_factory=list)
    matching: int = 0
    read: int = 0  # records
    whole: bool = True
    next_offset: int | None = None
    cost: dict[str, Decimal] = field(default_factory=dict)  # currency → sum of what counted
    counted: int = 0
    problem: str = ""


class Lister:
    """Makes lists."""

    def __init__(self, log: EventLog, letters: Letters, tracer: Tracer) -> None:
        self._log, self._letters, self._tracer = log, letters, tracer

    async def of_team(self, topic: str, team: str, from_ms: int, until_ms: int) -> Listing:
        """Events of a team, or of an agent where the topic is keyed by it, whose records came in `[from, until)`. The
        key says the partition."""
        spans = await self._log.spans(topic)
        partition = partition_for(team.encode(), len(spans))
        first, last = await self._log.offsets(topic, from_ms), await self._log.offsets(topic, until_ms)
        upto = {partition: Span(first[partition], last[partition])}
        return await self._listed(topic, upto, lambda record: record.key == team.encode())

    async def behind(
        self, topic: str, partition: int, span: Span, fits: Fits, key: bytes, keeps: Kept = every
    ) -> Listing:
        """The calls behind a statement, from an offset on: `fits` says whose they must be, `keeps` what became of
        them."""
        return await self._listed(topic, {partition: span}, lambda record: record.key == key, fits, keeps)

    async def tail(self, topic: str, team: str) -> Listing:
        """The newest events, newest first; of a team, if one is named."""
        spans = await self._log.spans(topic)
        if team:
            home = partition_for(team.encode(), len(spans))
            spans = {home: spans[home]}
        share = TAIL_OFFSETS // max(1, len(spans))
        upto = {number: Span(max(span.start, span.end - share), span.end) for number, span in spans.items()}
        stretch = await self._log.read(topic, upto)
        key = team.encode()
        found = sorted((one for one in stretch.records if not team or one.key == key), key=_arrival)[-TAIL:]
        made = await self._told(topic, found, stretch)
        made.sightings.reverse()
        return made

    async def _listed(
        self,
        topic: str,
        upto: Mapping[int, Span],
        wanted: Callable[[Record], bool],
        fits: Fits = every,
        keeps: Kept = every,
    ) -> Listing:
        stretch = await self._log.read(topic, upto)
        made = await self._told(topic, [one for one in stretch.records if wanted(one)], stretch, fits, keeps)
        if not stretch.whole:
            made.whole, made.next_offset = False, max(stretch.read_to.values())
        return made

    async def _told(
        self, topic: str, records: list[Record], stretch: Stretch, fits: Fits = every, keeps: Kept = every
    ) -> Listing:
        recent: Recent | None
        made = Listing(topic, read=len(stretch.records))
        try:
            recent = await self._letters.recent()
        except StreamError as error:
            recent, made.problem = None, f"Dead letters were not asked: {error}."
        fates = _Fates(self._tracer, recent)
        for number, record in enumerate(records, 1):
            if number % TURN == 0:
                await asyncio.sleep(0)  # the stream goes on between them
            event = event_of(record)
            if not fits(event):
                continue
            became = await fates.of(event)
            if not keeps(became):
                continue
            made.matching += 1
            if became.state in ("counted", "pending", "billed", "settled"):
                made.counted += 1
                if event.cost is not None:
                    made.cost[event.currency] = EXACT.add(made.cost.get(event.currency, Decimal(0)), event.cost)
            if len(made.sightings) < SHOWN_MAX:
                made.sightings.append(Sighting(event, became))
        return made


class _Fates:
    """What became of the events of one list, asked in the order of the log."""

    def __init__(self, tracer: Tracer, recent: Recent | None) -> None:
        self._tracer, self._recent = tracer, recent
        self._windows: dict[tuple[object, ...], WindowFacts | None] = {}
        self._positions: dict[int, int | None] = {}
        self._first: dict[str, Event] = {}

    async def of(self, event: Event) -> fate.Fate:
        topic, partition, offset = event.at
        refused = self._tracer.refused(event, self._recent)
        if refused is not None:
            return refused
        if topic in fate.KEEPING:
            return fate.kept(event, await self._position(fate.KEEPING[topic][0], partition))
        if topic not in fate.COUNTING:
            return fate.on_topic(event)
        position = await self._position(fate.COUNTING[topic], partition)
        if position is not None and offset >= position:
            return fate.in_flight(event, position)
        first = self._first.setdefault(event.id, event)
        if first is not event:
            return fate.duplicate(event, first.at)
        key = (event.names, (event.at_ms or 0) // 3_600_000, partition)
        if key not in self._windows:
            self._windows[key] = await self._tracer.window(event)
        return fate.counted(event, self._windows[key])

    async def _position(self, group: str, partition: int) -> int | None:
        if partition not in self._positions:
            self._positions[partition] = await self._tracer.position(group, partition)
        return self._positions[partition]


def _arrival(record: Record) -> tuple[int, int, int]:
    return record.timestamp_ms, record.partition, record.offset
