"""What a table of rows by key and hour states, as events: the same statement always becomes the same bytes (decisions
10 to 12)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from streamapp.exact.partition.chunk import Send
from streamapp.exact.partition.place import Place
from streamapp.meters.stated import coverage, envelope
from streamapp.schemas.values.money import EXACT, money_text
from streamapp.schemas.values.timestamp import format_ms
from streamapp.schemas.values.ulid import id_of
from tables.keyed import KeyedStatement
from tables.window import HOUR_MS

Totals = Mapping[str, Any]
"""Name → integer, Decimal (money), or such a mapping."""

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Statements:
    """What closing a row states.

    to       the topic
    hourly   the event type of revision 0
    revised  the event type of later revisions
    totals   row → what it counts, for `data.totals`; `data.delta` is the difference to the revision before
    """

    to: str
    hourly: str
    revised: str
    totals: Callable[[Any], Totals]

    def kind(self, revision: int) -> str:
        """The event type of a revision."""
        return self.revised if revision else self.hourly

    def id(self, key: Any, revision: int) -> str:
        """The id of a row's revision: as `ulid.statement_id`, over all parts of the key. Whoever knows the key can
        compute it (decision 12)."""
        start_ms, *names = key
        return id_of(start_ms + HOUR_MS, (self.kind(revision), *names, format_ms(start_ms), revision))

    def send(self, one: KeyedStatement, place: Place) -> Send:
        """The record of a statement. Its Kafka key is the org."""
        return place.record(self.to, one.key.org_id.encode(), self.event(one, place))

    def event(self, one: KeyedStatement, place: Place) -> bytes:
        """The statement as JSON. `data` has every part of the key but `start_ms` and `org_id`."""
        names = one.key._asdict()
        start_ms, org_id = names.pop("start_ms"), names.pop("org_id")
        made, totals = self.id(one.key, one.revision), self.totals(one.row)
        data = {
            "billing_id": made,
            "revision": one.revision,
            "supersedes": self.id(one.key, one.revision - 1) if one.revision else None,
            **names,
            "period_start": format_ms(start_ms),
            "period_end": format_ms(start_ms + HOUR_MS),
            "totals": _written(totals),
            "delta": _written(totals if one.before is None else _minus(totals, self.totals(one.before))),
            "coverage": coverage(place.topic, place.partition, one.first_offset, one.last_offset, one.events),
        }
        kind, owner = self.kind(one.revision), {"team_id": names["team_id"]} if "team_id" in names else {}
        return _encode(envelope(made, kind, place.group, one.stated_ms, org_id, data, **owner))


def _minus(now: Any, before: Any) -> Any:
    """The difference of totals. What is missing on one side is 0 there."""
    if isinstance(now, Mapping):
        return {name: _minus(value, before.get(name, 0)) for name, value in now.items()}
    return EXACT.subtract(now, before) if isinstance(now, Decimal) else now - before


def _written(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _written(part) for name, part in value.items()}
    return money_text(value) if isinstance(value, Decimal) else value
