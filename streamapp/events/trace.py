"""One event followed to where it counted, or why it did not. What was searched and what not is part of the answer.

An id is looked for where it costs little, in this order (docs/adr/0049):

1  the newest dead letters, by the id of their event
2  the tables that remember ids: the worker says which chunk counted it, and that chunk is read from the log
3  ClickHouse, for a captured event
4  the log around the moment that the id itself tells, within the limits of `log`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from streamapp.dead_letters.read import Coordinates
from streamapp.dead_letters.recent import Letters, Recent
from streamapp.errors import Denied, StreamError
from streamapp.events import fate
from streamapp.events.event import Event, event_of, is_called
from streamapp.events.log import OFFSETS_MAX, EventLog, at_offset
from streamapp.events.names import moment_of, uuid_of
from streamapp.events.sources import Ask, Objects, Store
from streamapp.facts.events import PlaceFacts, WindowFacts
from streamapp.facts.worker import WorkerFacts
from streamapp.kafka.log.reader import Span

BEFORE_MS = 60_000  # an id is made before its record comes; clocks differ
AFTER_MS = 600_000
CHUNK_READ = 10_000  # offsets read from the chunk that counted an id: the record, and duplicates soon after it
TOPICS = ("llm_usage", "agent_rpc_metering", "events_plugin_ingestion", "audit_log")
WHOLE_LOG = "streamapp dead-letters show ID looks through all"


class Sighting(NamedTuple):
    """A record with the event, or a dead letter about one that never was on its topic."""

    event: Event | None
    fate: fate.Fate


@dataclass
class Trace:
    """Every place where an event was found, and where it was looked for."""

    wanted: str
    sightings: list[Sighting] = field(default_factory=list)
    searched: list[str] = field(default_factory=list)
    not_searched: list[str] = field(default_factory=list)


class Tracer:
    """Follows one event. `ask` reaches the workers; `store` and `archive` are None where none is known."""

    def __init__(
        self, log: EventLog, letters: Letters, ask: Ask, store: Store | None = None, archive: Objects | None = None
    ) -> None:
        self._log, self._letters, self.ask, self._store, self._archive = log, letters, ask, store, archive

    async def by_id(self, event_id: str) -> Trace:
        """Every record with this id that can be found within the limits."""
        trace = Trace(event_id)
        recent = await self._recent(trace)
        found: dict[Coordinates, Sighting] = {}
        if recent is not None:
            self._in_letters(trace, recent, event_id, found)
        for topic in fate.COUNTING:
            await self._counted(trace, topic, event_id, recent, found)
        if uuid_of(event_id) is not None:
            await self._stored(trace, event_id, recent, found)
        if not any(one.event is not None and one.fate.state not in ("refused", "dropped") for one in found.values()):
            await self._around(trace, event_id, recent, found)
        trace.sightings = sorted(found.values(), key=_by_arrival)
        return trace

    async def at(self, place: Coordinates) -> Trace:
        """The record at this place."""
        trace = Trace(f"{place[0]}[{place[1]}]@{place[2]}")
        recent = await self._recent(trace)
        read = await self._log.read(place[0], at_offset(place))
        trace.searched.append(f"{place[0]}, partition {place[1]}, offset {place[2]:,}")
        for record in read.records:
            event = event_of(record)
            trace.sightings.append(Sighting(event, await self.fate_of(event, recent)))
        return trace

    async def fate_of(self, event: Event, recent: Recent | None) -> fate.Fate:
        """What became of one record of the log."""
        refused = self.refused(event, recent)
        if refused is not None:
            return refused
        topic, partition, offset = event.at
        if topic in fate.KEEPING:
            became = fate.kept(event, await self.position(fate.KEEPING[topic][0], partition))
            return await self._archived(event, became) if topic == "audit_log" else became
        if topic not in fate.COUNTING:
            return fate.on_topic(event)
        group = fate.COUNTING[topic]
        place = await self._place(group, event.id, {partition: offset})
        if place is not None and offset >= place.position:
            return fate.in_flight(event, place.position)
        if place is not None and place.known:
            counted = await self._counting(topic, event.id, place)
            if counted is not None and counted.at != event.at:
                return fate.duplicate(event, counted.at)
            if place.chunk is None and place.searched_from <= offset <= place.searched_to:
                return fate.duplicate(event, None)
        return fate.counted(event, await self.window(event))

    async def _archived(self, event: Event, became: fate.Fate) -> fate.Fate:
        if self._archive is None or became.state != "kept":
            return became
        try:
            name = await self._archive.find(event.at, event.arrived_ms)
        except StreamError as error:
            return replace(became, sentence=f"{became.sentence} Its object is not known: {error}.")
        where = f"Its object is {name}." if name is not None else "No object of its day has it."
        return replace(became, sentence=f"{became.sentence} {where}")

    def refused(self, event: Event, recent: Recent | None) -> fate.Fate | None:
        """What became of a record that has one of the newest dead letters; None: it has none of them."""
        if recent is None:
            return None
        letter = recent.by_record.get(event.at)
        return None if letter is None else fate.refused(letter, recent.done)

    async def window(self, event: Event) -> WindowFacts | None:
        """The row that counts an event; None when no worker has one, and all of them answer."""
        if not event.names or event.at_ms is None:
            return None
        params = {"at": str(event.at_ms)} | {f"n{number}": name for number, name in enumerate(event.names)}
        told = await self.ask(fate.COUNTING[event.at[0]], "window", params, list[WindowFacts])
        found = next((facts for one in told for facts in one.value or []), None)
        if found is None and (not told or any(one.value is None for one in told)):
            return WindowFacts(event.at[1], "unknown", event.names, event.at_ms, None, None, ())
        return found

    async def position(self, group: str, partition: int) -> int | None:
        """The next offset that a group's worker will read; None when nobody says."""
        told = await self.ask(group, "worker", {}, WorkerFacts)
        owned = (part for one in told if one.value is not None for part in one.value.partitions)
        return next((part.position for part in owned if part.partition == partition), None)

    # -- where an id may be --------------------------------------------------------------------------------------

    def _in_letters(self, trace: Trace, recent: Recent, event_id: str, found: dict[Coordinates, Sighting]) -> None:
        for one in recent.entries:
            if one.event_id == event_id:
                found[one.letter.record or one.letter.at] = Sighting(None, fate.refused(one.letter, recent.done))
        whole = "" if recent.in_log <= len(recent.entries) + recent.unreadable else f"; {WHOLE_LOG}"
        trace.searched.append(f"the newest {len(recent.entries):,} dead letters, by event id{whole}")

    async def _counted(
        self, trace: Trace, topic: str, event_id: str, recent: Recent | None, found: dict[Coordinates, Sighting]
    ) -> None:
        group, moment = fate.COUNTING[topic], moment_of(event_id)
        try:
            starts = {} if moment is None else await self._log.offsets(topic, moment - BEFORE_MS)
            told = await self.ask(group, "place", place_params(event_id, starts), list[PlaceFacts])
            places = [facts for one in told for facts in one.value or []]
            silent = [one.worker for one in told if one.value is None]
            if not told:
                trace.not_searched.append(f"ids that {group} remembers: no worker of it is known")
            elif silent:
                trace.not_searched.append(f"ids that {group} remembers: {', '.join(silent)} does not answer")
            else:
                trace.searched.append(f"the ids that {group} remembers, for a day of event time")
            for place in places:
                if place.known:
                    await self._in_chunk(trace, topic, event_id, place, recent, found)
        except StreamError as error:
            trace.not_searched.append(_why(topic, error))

    async def _in_chunk(
        self,
        trace: Trace,
        topic: str,
        event_id: str,
        place: PlaceFacts,
        recent: Recent | None,
        found: dict[Coordinates, Sighting],
    ) -> None:
        if place.chunk is None:
            trace.not_searched.append(
                f"{fate.COUNTING[topic]} remembers the id on partition {place.partition}; the chunk that counted it "
                f"does not begin from offset {place.searched_from:,} to {place.searched_to:,}; no more was searched"
            )
            return
        read = await self._log.read(topic, {place.partition: Span(place.chunk, place.chunk + CHUNK_READ)})
        trace.searched.append(f"{topic}, partition {place.partition}, {CHUNK_READ:,} offsets from {place.chunk:,} on")
        events = [event_of(record) for record in read.records if is_called(record, event_id)]
        counting = fate.first_with(events, event_id, place)
        for event in events:
            became = self.refused(event, recent)
            if became is None and event is counting:
                became = fate.counted(event, await self.window(event))
            elif became is None:
                late = event.at[2] >= place.position
                became = (
                    fate.in_flight(event, place.position)
                    if late
                    else fate.duplicate(event, None if counting is None else counting.at)
                )
            found[event.at] = Sighting(event, became)

    async def _stored(self, trace: Trace, uuid: str, recent: Recent | None, found: dict[Coordinates, Sighting]) -> None:
        if self._store is None:
            trace.not_searched.append("ClickHouse: this process knows none")
            return
        try:
            places = await self._store.find(uuid)
            trace.searched.append("ClickHouse, by uuid")
            for place in places:
                read = await self._log.read(place[0], at_offset(place))
                for record in read.records:
                    event = event_of(record)
                    found[place] = Sighting(event, fate.kept(event, place[2] + 1))
                if not read.records:
                    why = f"ClickHouse has it, from {place[0]}[{place[1]}]@{place[2]}; the topic no longer does."
                    found[place] = Sighting(None, fate.Fate("kept", why))
        except StreamError as error:
            trace.not_searched.append(_why("ClickHouse", error))

    async def _around(
        self, trace: Trace, event_id: str, recent: Recent | None, found: dict[Coordinates, Sighting]
    ) -> None:
        moment = moment_of(event_id)
        if moment is None:
            trace.not_searched.append("the log: the id does not tell when it was made (a ULID or a UUIDv7 does)")
            return
        for topic in TOPICS:
            try:
                first = await self._log.offsets(topic, moment - BEFORE_MS)
                last = await self._log.offsets(topic, moment + AFTER_MS)
                upto = {partition: Span(start, last[partition]) for partition, start in first.items()}
                read = await self._log.read(topic, upto)
            except StreamError as error:
                trace.not_searched.append(_why(topic, error))
                continue
            most = "" if read.whole else f", the first {OFFSETS_MAX:,} offsets"
            trace.searched.append(f"{topic}, records that came within ten minutes after the id was made{most}")
            for record in read.records:
                if is_called(record, event_id):
                    event = event_of(record)
                    found[event.at] = Sighting(event, await self.fate_of(event, recent))

    async def _place(self, group: str, event_id: str, starts: Mapping[int, int]) -> PlaceFacts | None:
        told = await self.ask(group, "place", place_params(event_id, starts), list[PlaceFacts])
        return next((facts for one in told for facts in one.value or [] if facts.partition in starts), None)

    async def _counting(self, topic: str, event_id: str, place: PlaceFacts) -> Event | None:
        if place.chunk is None:
            return None
        read = await self._log.read(topic, {place.partition: Span(place.chunk, place.chunk + CHUNK_READ)})
        return next((event_of(record) for record in read.records if is_called(record, event_id)), None)

    async def _recent(self, trace: Trace) -> Recent | None:
        try:
            return await self._letters.recent()
        except StreamError as error:
            trace.not_searched.append(_why("dead letters", error))
            return None


def place_params(event_id: str, starts: Mapping[int, int]) -> dict[str, str]:
    """The question for an id, as it travels."""
    return {"id": event_id} | (
        {"starts": ",".join(f"{part}:{at}" for part, at in sorted(starts.items()))} if starts else {}
    )


def _why(what: str, error: StreamError) -> str:
    return f"{what}: not visible to this Kafka user" if isinstance(error, Denied) else f"{what}: {error}"


def _by_arrival(one: Sighting) -> tuple[int, int]:
    return (0, 0) if one.event is None else (one.event.arrived_ms, one.event.at[2])
