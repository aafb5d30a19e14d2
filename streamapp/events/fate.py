"""What became of a record, in one state and one sentence. Pure: facts of the log, of the table and of dead letters in,
words out (docs/adr/0049)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from streamapp.dead_letters.done import Done
from streamapp.dead_letters.read import Coordinates, Letter
from streamapp.events.event import Event
from streamapp.events.names import written
from streamapp.facts.events import PlaceFacts, WindowFacts
from streamapp.schemas.judging.cause import shape
from streamapp.schemas.values.timestamp import format_ms
from streamapp.topics.registry import GROUPS

State = Literal[
    "in flight",
    "counted",
    "pending",
    "billed",
    "settled",
    "duplicate",
    "refused",
    "sent again",
    "dropped",
    "kept",
    "unknown",
]
COUNTING = {"llm_usage": "billing-agg", "agent_rpc_metering": "rpc-billing"}
"""Topic → the group whose table counts its events."""
KEEPING = {"events_plugin_ingestion": ("analytics-ingest", "ClickHouse"), "audit_log": ("audit-archive", "the archive")}
"""Topic → the group that copies its records, and to where."""


@dataclass(frozen=True, slots=True)
class Link:
    """Something of ours that a sentence is about: a bill, a settlement, a dead letter, or another place in the log."""

    kind: Literal["bill", "settlement", "letter", "event", "team", "agent"]
    id: str
    word: str


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one record."""

    state: State
    sentence: str
    links: tuple[Link, ...] = ()
    window: WindowFacts | None = None


class _Coverage(msgspec.Struct):
    first_offset: int
    last_offset: int
    partition: int = -1


class _Data(msgspec.Struct):
    coverage: _Coverage
    revision: int = 0
    period_end: str = ""


class Covering(msgspec.Struct):
    """A statement, as far as it matters here."""

    id: str
    timestamp: str
    data: _Data


_decode = msgspec.json.Decoder(Covering).decode


def statements(facts: WindowFacts) -> list[Covering]:
    """What was stated of a window, oldest first."""
    return [_decode(text.encode()) for text in facts.statements]


def covering(facts: WindowFacts, offset: int) -> Covering | None:
    """The first statement that includes the record: coverage grows with every revision."""
    return next((one for one in statements(facts) if offset <= one.data.coverage.last_offset), None)


def refused(letter: Letter, done: Done) -> Fate:
    """Of a record that has a dead letter."""
    receipt = done.by_letter.get(letter.id)
    why = f"{letter.by} refused it: {letter.reason}, {shape(letter.error)}."
    link = Link("letter", letter.id, "dead letter")
    if receipt is None:
        return Fate("refused", f"{why} The dead letter waits.", (link,))
    if receipt.state == "dropped":
        return Fate("dropped", f"{why} The dead letter was dropped: {receipt.reason or 'no reason given'}.", (link,))
    sent = () if receipt.sent is None else (Link("event", written(receipt.sent), written(receipt.sent)),)
    where = f" as {written(receipt.sent)}" if receipt.sent is not None else ""
    return Fate("sent again", f"{why} It was sent again{where}.", (link, *sent))


def duplicate(event: Event, counted: Coordinates | None) -> Fate:
    """Of a record whose id was counted before."""
    if counted is None:
        return Fate("duplicate", "Ignored: an event with this id was counted before.")
    place = written(counted)
    return Fate("duplicate", f"Ignored: this id was counted at {place}.", (Link("event", place, place),))


def in_flight(event: Event, position: int) -> Fate:
    """Of a record that its group has not read yet."""
    waiting = event.at[2] - position + 1
    return Fate(
        "in flight", f"{_group(event)} has not read it yet: {waiting:,} record{'s' if waiting != 1 else ''} to go."
    )


def counted(event: Event, facts: WindowFacts | None) -> Fate:
    """Of a record that counted, by the row of its hour."""
    if event.refusal:
        return Fate("refused", f"Refused: {event.refusal}. Its dead letter is older than those that were searched.", ())
    if facts is None:
        return Fate(
            "unknown",
            "It was read, and no row of its hour is kept: the hour is past retention, or the record was refused "
            "and its dead letter is older than those that were searched.",
        )
    if facts.state == "unknown":
        return Fate("unknown", f"It was read. {_group(event)} does not answer: where it counted is not known now.")
    hour = format_ms(facts.start_ms)[:16].replace("T", " ")
    found = None if facts.state == "open" else covering(facts, event.at[2])
    if found is not None:
        return _stated(event, facts, found, hour)
    now = "" if facts.watermark_ms is None else f" (now {_clock(facts.watermark_ms)})"
    if facts.state == "open":
        due = "" if facts.due_ms is None else f" The hour closes when event time reaches {_clock(facts.due_ms)}{now}."
        return Fate("counted", f"Counted in the open hour from {hour} UTC.{due}", (_owner(facts),), facts)
    if facts.state == "pending" and facts.due_ms is not None:
        due = f"billed when event time reaches {_clock(facts.due_ms)}{now}, or when no more events arrive"
        return Fate("pending", f"Counted late for the hour from {hour} UTC: {due}.", (_owner(facts),), facts)
    if facts.state == "pending":
        return Fate(
            "pending", "Counted. The account owes less than the minimum: it is settled later.", (_owner(facts),), facts
        )
    return Fate("unknown", f"Its hour, from {hour} UTC, is stated, and no statement kept here includes it.", (), facts)


def _stated(event: Event, facts: WindowFacts, found: Covering, hour: str) -> Fate:
    if event.at[0] == "agent_rpc_metering":
        link = Link("settlement", found.id, "settlement")
        return Fate("settled", f"Counted in the hour from {hour} UTC, and settled.", (link, _owner(facts)), facts)
    revision = found.data.revision
    how = f"billed by revision {revision}, as late usage" if revision else "billed"
    return Fate(
        "billed",
        f"Counted in the hour from {hour} UTC, and {how}.",
        (Link("bill", found.id, "bill"), _owner(facts)),
        facts,
    )


def kept(event: Event, position: int | None) -> Fate:
    """Of a record that a group copies elsewhere."""
    group, where = KEEPING[event.at[0]]
    if position is None:
        return Fate("unknown", f"It is on its topic. {group} does not answer: whether {where} has it is not known now.")
    if event.at[2] >= position:
        return in_flight(event, position)
    if event.refusal:
        return counted(event, None)
    return Fate(
        "kept", f"{where[0].upper()}{where[1:]} has it: {group} has kept everything before offset {position:,}."
    )


def on_topic(event: Event) -> Fate:
    """Of a record of a topic that nobody counts or copies here."""
    return Fate("kept", f"It is on {event.at[0]}.")


def first_with(events: list[Event], event_id: str, place: PlaceFacts) -> Event | None:
    """The record that counted: the first one with the id in the chunk that remembers it."""
    found = (one for one in events if one.id == event_id and place.chunk is not None and one.at[2] >= place.chunk)
    return next(found, None)


def _owner(facts: WindowFacts) -> Link:
    org, name = facts.names[:2]
    kind: Any = "team" if len(facts.names) == 3 else "agent"
    return Link(kind, f"{org}\n{name}", name)


def _group(event: Event) -> str:
    topic = event.at[0]
    if topic in COUNTING:
        return COUNTING[topic]
    return (
        KEEPING[topic][0]
        if topic in KEEPING
        else next((one.name for one in GROUPS if topic in one.topics), "its group")
    )


def _clock(at_ms: int) -> str:
    return f"{format_ms(at_ms)[11:16]} UTC"
