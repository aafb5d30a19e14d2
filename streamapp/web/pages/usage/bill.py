"""Statements as stated → what an invoice shows. Pure; the exact bytes stay beside every reading of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal

from streamapp.schemas.billing import COUNTERS, BillingData, Counters, Stated
from streamapp.schemas.values.timestamp import written_ms
from streamapp.web import show

MARK_MS = 300_000  # revisions are stated at multiples of five minutes (decision 9)

TWELFTH = Decimal("1E-12")


class _Statement(Stated):
    """A statement of an hour, first or revised."""

    data: BillingData


Cause = Literal["hour closed", "late events", "silence"]


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision, read."""

    id: str
    type: str
    cause: Cause  # why it was stated
    stated_ms: int
    org: str
    start_ms: int
    end_ms: int
    data: BillingData
    exact: str  # the stated bytes, as text
    sha256: str

    @property
    def clock(self) -> str:
        """Whose time `stated_ms` is. The wall clock runs ahead: a later revision may have an earlier event time."""
        return "wall clock" if self.cause == "silence" else "event time"

    @property
    def reason(self) -> str:
        """One sentence for a person."""
        if self.data.revision == 0:
            if self.cause == "silence":
                return "No more events arrived after the hour was over, so the wall clock closed it."
            return "Event time passed the end of the hour plus the grace period."
        late = self.data.delta.requests
        events = f"{late:,} late event{'' if late == 1 else 's'}"
        if self.cause == "silence":
            return f"{events} arrived after the hour had closed. The revision was issued when no more events arrived."
        return f"{events} arrived after the hour had closed. The revision was issued at the next five-minute mark."


def read(stated: bytes, grace_ms: int) -> Revision:
    """Raises ValueError when it is no hourly statement."""
    envelope = _Statement.model_validate_json(stated)
    at, data = written_ms(envelope.timestamp), envelope.data
    start, end = written_ms(data.period_start), written_ms(data.period_end)
    at_mark = at % MARK_MS == 0 or at == end + grace_ms
    return Revision(
        id=envelope.id,
        type=envelope.type,
        cause="silence" if not at_mark else "late events" if data.revision else "hour closed",
        stated_ms=at,
        org=envelope.org_id,
        start_ms=start,
        end_ms=end,
        data=data,
        exact=stated.decode(),
        sha256=hashlib.sha256(stated).hexdigest(),
    )


def read_all(stated: list[bytes], grace_ms: int) -> list[Revision]:
    """Every revision that can be read, revision 0 first."""
    return sorted((read(one, grace_ms) for one in stated), key=lambda one: one.data.revision)


def reasonable(statements: list[Revision]) -> list[str]:
    """What does not add up between the revisions, as sentences; empty when the whole chain is sound."""
    wrong: list[str] = []
    for one in statements:
        lines = show.total(line.cost for line in one.data.lines)
        if lines != one.data.totals.cost:
            wrong.append(f"Revision {one.data.revision}: its lines do not add up to its total.")
    for before, after in pairwise(statements):
        number = after.data.revision
        if after.data.supersedes != before.id or number != before.data.revision + 1:
            wrong.append(f"Revision {number} does not supersede the one before it.")
        if show.total((before.data.totals.cost, after.data.delta.cost)) != after.data.totals.cost:
            wrong.append(f"Revision {number}: the revision before it plus its change is not its total.")
    return wrong


def per_thousand(part: Counters) -> Decimal | None:
    """What a thousand tokens cost, rounded half to even at the 12th decimal; None where no token was counted."""
    if not part.total_tokens:
        return None
    return (part.cost * 1000 / part.total_tokens).quantize(TWELFTH)


def changes(one: Revision) -> list[tuple[str, int]]:
    """Counters that a revision changed, with the difference."""
    found: list[tuple[str, Any]] = [(name.replace("_", " "), getattr(one.data.delta, name)) for name in COUNTERS]
    return [(name.removesuffix("s") if abs(value) == 1 else name, value) for name, value in found if value]
