"""How an event, and what became of it, stand on a page and in its JSON twin. Values are masked."""

from __future__ import annotations

from typing import Any

from streamapp.events.fate import Link
from streamapp.events.listing import PRICED, Listing
from streamapp.events.trace import Sighting, Trace
from streamapp.schemas.values.mask import mask_text
from streamapp.schemas.values.mask_json import mask_value
from streamapp.schemas.values.timestamp import format_ms
from streamapp.web import show

SHOWN_CHARS_MAX = 20_000  # of a value; the log has all


def link_url(link: Link) -> str:
    """The page that a link means."""
    org, _, name = link.id.partition("\n")
    urls = {
        "bill": lambda: show.bill_url(link.id),
        "settlement": lambda: show.settlement_url(link.id),
        "letter": lambda: show.letter_url(link.id),
        "event": lambda: show.event_url(link.id),
        "team": lambda: show.team_url(org, name),
        "agent": lambda: show.agent_url(org, name),
    }
    return urls[link.kind]()


def is_priced(topic: str) -> bool:
    """Whether its events are calls with a cost."""
    return topic in PRICED


def detail(name: str, text: str) -> str:
    """A field of a payload as it may be shown."""
    return show.visible(mask_text(text)) if text else ""


def value_of(sighting: Sighting) -> str | None:
    """A record's value, masked."""
    event = sighting.event
    if event is None or event.value is None:
        return None
    masked = mask_value(event.value)
    return show.visible_lines(masked[:SHOWN_CHARS_MAX])


def twin(sighting: Sighting) -> dict[str, Any]:
    """A sighting for machines."""
    event, fate = sighting
    became = {
        "state": fate.state,
        "sentence": mask_text(fate.sentence),
        "links": [{"kind": link.kind, "id": link.id.rpartition("\n")[2], "url": link_url(link)} for link in fate.links],
    }
    if event is None:
        return became
    window = fate.window
    return {
        **became,
        "id": event.id,
        "type": event.type,
        "topic": event.at[0],
        "partition": event.at[1],
        "offset": event.at[2],
        "arrived_at": format_ms(event.arrived_ms),
        "timestamp": None if event.at_ms is None else format_ms(event.at_ms),
        "org_id": event.org or None,
        "team_id": event.team or None,
        "cost": event.cost,
        "currency": event.currency or None,
        "total_tokens": event.tokens,
        "details": {name: mask_text(text) for name, text in event.details.items()},
        "window": None
        if window is None
        else {"state": window.state, "start": format_ms(window.start_ms), "due_ms": window.due_ms},
        "sent_again_for": event.letter or None,
    }


def trace_twin(trace: Trace) -> dict[str, Any]:
    """Where an event is, for machines."""
    return {
        "wanted": trace.wanted,
        "found": [twin(one) for one in trace.sightings],
        "searched": trace.searched,
        "not_searched": trace.not_searched,
    }


def listing_twin(made: Listing) -> dict[str, Any]:
    """A list for machines."""
    return {
        "topic": made.topic,
        "events": [twin(one) for one in made.sightings],
        "matching": made.matching,
        "counted": made.counted,
        "cost": made.cost,
        "records_read": made.read,
        "whole": made.whole,
        "next_offset": made.next_offset,
        "problem": made.problem or None,
    }
