"""`billing.budget.crossed` on `billing_events`: a month's spending has come to a limit (docs/adr/0050)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from streamapp.schemas.billing import Offset
from streamapp.schemas.envelope import StatementEnvelope
from streamapp.schemas.fields import Currency, Id, Model, Money, Name, Timestamp

BUDGET_CROSSED = "billing.budget.crossed"


class BudgetLimit(Model):
    """The limit as the team directory had it."""

    kind: Literal["soft", "hard"]
    amount: Money = Field(description="Of each UTC month, in `currency`.")


class CrossedAt(Model):
    """The event that brought the spending to the limit."""

    id: Id
    topic: Name
    partition: Offset
    offset: Offset


class CrossedData(Model):
    """A limit of one org, team and currency in one UTC month. It is stated once for each kind and amount."""

    crossing_id: Id = Field(description="The envelope's id.")
    team_id: Name
    month: Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
    period_start: Timestamp
    period_end: Timestamp
    currency: Currency
    limit: BudgetLimit
    cost: Money = Field(description="The month's spending at the event, which is included: bills and open hours.")
    event: CrossedAt


class BudgetCrossed(StatementEnvelope):
    """A limit was crossed. Its Kafka key is the org, its timestamp the watermark at the event."""

    own_id = "crossing_id"

    type: Literal["billing.budget.crossed"]
    team_id: Name
    data: CrossedData
