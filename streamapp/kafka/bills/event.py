"""What stands on `billing_events`, and when a reader of it counts a revision. Pure.

A bill comes as revision 0 and, after late events, as revisions 1, 2, …: each has the totals so far and the difference
to the one before (decision 11). A reader may keep the totals of the highest revision, or add up differences; both end
right. A statement may be read twice after a restart: `is_next` says which ones count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import ValidationError

from streamapp.errors import Refused
from streamapp.schemas.billing import BillingHourly, BillingRevised
from streamapp.schemas.budget import BudgetCrossed
from streamapp.schemas.catalog import CATALOG
from streamapp.schemas.envelope import Envelope
from streamapp.schemas.judging.judge import first_problem, read_envelope
from streamapp.schemas.judging.rejected import Rejected
from streamapp.schemas.settlement import RpcSettled

BILLS = "billing_events"

Bill = BillingHourly | BillingRevised
Event = Bill | RpcSettled | BudgetCrossed | Envelope
"""A bill, a settlement, a limit that was crossed, or what another table states."""

_MODELS: Mapping[str, type[Envelope]] = {entry.event_type: entry.model for entry in CATALOG if entry.topic == BILLS}


class Bucket(NamedTuple):
    """What a bill is about: one hour of one team. `period_start` as it is stated, `2025-01-15T10:00:00.000Z`."""

    org_id: str
    team_id: str
    currency: str
    period_start: str


class Stated(NamedTuple):
    """An event of the topic, and where it stands."""

    partition: int
    offset: int
    event: Event


class Unreadable(Refused):
    """A record, or a batch of them, that is none of the topic's events. To go on without it, begin at `behind`; None
    where it is not known how far the batch goes."""

    def __init__(self, partition: int, offset: int, why: str, behind: int | None) -> None:
        there = "behind its last offset" if behind is None else f"at offset {behind}"
        super().__init__(
            f"{BILLS} partition {partition} offset {offset}: {why}; nothing behind it was given out. To go on without "
            f"it, begin {there}"
        )
        self.partition, self.offset, self.behind = partition, offset, behind


def event_of(partition: int, offset: int, value: bytes | None) -> Event | None:
    """The event in a record's value; None for a type that this version does not know. Raises `Unreadable`."""
    found = read_envelope(value)
    if isinstance(found, Rejected):
        raise Unreadable(partition, offset, found.error, offset + 1)
    tree, envelope = found
    model = _MODELS.get(envelope.type)
    if model is None:
        return None
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise Unreadable(partition, offset, first_problem(error), offset + 1) from None


def bucket_of(bill: Bill) -> Bucket:
    """Which hour a bill is about."""
    return Bucket(bill.org_id, bill.team_id, bill.data.currency, bill.data.period_start)


def is_next(bill: Bill, kept: int | None) -> bool:
    """Whether a bill counts, where revision `kept` of its bucket is the last one that was counted (None: none was).

    False for what was counted already. Raises `Refused` for a revision whose predecessor was never seen: reading began
    in the middle, and sums of differences would be wrong. (Who keeps totals only may take it: they are complete.)
    """
    last = -1 if kept is None else kept
    if bill.data.revision > last + 1:
        raise Refused(
            f"{bill.id} is revision {bill.data.revision}, and the last one counted of its hour is "
            f"{'none' if kept is None else kept}: begin at an earlier offset"
        )
    return bill.data.revision == last + 1
