"""`billing.usage.hourly` and `billing.usage.revised` on `billing_events` (decisions 10 to 12)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from streamapp.schemas.envelope import StatementEnvelope
from streamapp.schemas.fields import Currency, Id, Integer, Label, Model, Money, Name, Timestamp

BILLING_HOURLY = "billing.usage.hourly"
BILLING_REVISED = "billing.usage.revised"

Offset = Annotated[int, Field(ge=0)]


class Counters(Model):
    """What is counted of a set of events. In a delta, any of them may be negative."""

    requests: Integer
    errors: Integer = Field(description="Requests whose status is other than success.")
    cache_hits: Integer
    prompt_tokens: Integer
    completion_tokens: Integer
    total_tokens: Integer
    cost: Money = Field(description="Sum of cost_usd as stated by the events, in `currency`.")


COUNTERS = tuple(name for name in Counters.model_fields if name != "cost")
"""The whole numbers among them, by name."""


class Line(Counters):
    """The counters of one provider's model, or of all models of the hour that have no line of their own."""

    provider: Label = Field(
        description="Empty in one line only: there `model` is `other`, and stands for all the rest."
    )
    model: Name


class RunningTotal(Model):
    """Sum of every delta stated so far for this org, team and currency in one UTC month, this one included."""

    month: Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")] = Field(description="Month of period_start.")
    cost: Money
    total_tokens: Integer


class Coverage(Model):
    """Where the counted records lie, so that the statement can be recomputed from the log."""

    topic: Name
    partition: Offset
    first_offset: Offset
    last_offset: Offset
    events: Offset = Field(description="How many records are counted in totals.")


class StatedData(Model):
    """What the statements of all tables have. Each narrows `totals` and `delta` to what it counts, and adds its
    `coverage` last."""

    billing_id: Id = Field(description="The envelope's id.")
    revision: Annotated[int, Field(ge=0)]
    supersedes: Id | None = Field(description="Id of the revision before; null at revision 0.")
    team_id: Name
    period_start: Timestamp
    period_end: Timestamp
    currency: Currency
    totals: Any = Field(description="Everything counted so far; the highest revision is what counts.")
    delta: Any = Field(description="This revision minus the one before; the deltas add up to totals.")


class BillingData(StatedData):
    """One statement of one bucket: org, team, currency and the half-open period [period_start, period_end)."""

    totals: Counters = Field(description="Everything counted so far; the highest revision is what counts.")
    delta: Counters = Field(description="This revision minus the one before; the deltas add up to totals.")
    lines: list[Line] = Field(description="Totals by (provider, model), sorted by them; they add up to totals.")
    running_total: RunningTotal
    coverage: Coverage


class HourlyData(BillingData):
    """The first statement of a bucket."""

    revision: Literal[0]
    supersedes: None


class RevisedData(BillingData):
    """A later statement of a bucket, after late events."""

    revision: Annotated[int, Field(ge=1)]
    supersedes: Id


class Stated(StatementEnvelope):
    """A statement of an hour. Its Kafka key is the org."""

    own_id = "billing_id"

    team_id: Name
    data: StatedData


class BillingHourly(Stated):
    """An hour's bill, revision 0: delta equals totals."""

    type: Literal["billing.usage.hourly"]
    data: HourlyData


class BillingRevised(Stated):
    """A corrected bill, revision 1 or higher. It supersedes the one before; nothing is withdrawn silently."""

    type: Literal["billing.usage.revised"]
    data: RevisedData
