"""`billing.rpc.settled` on `billing_events`: what a consumer owes an agent (HIP-25; decision 16)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from streamapp.schemas.billing import Coverage
from streamapp.schemas.envelope import StatementEnvelope
from streamapp.schemas.fields import Count, Id, Integer, Label, Model, Money, Name, StatedCurrency, Timestamp
from streamapp.schemas.values.timestamp import format_ms
from streamapp.schemas.values.ulid import id_of

RPC_SETTLED = "billing.rpc.settled"


class MethodCost(Model):
    """The calls of one method. Failed and free ones are counted, and cost nothing."""

    count: Annotated[int, Field(ge=0)]
    cost: Money


class Carried(Model):
    """What settlements before this one should have stated of a method, and did not; negative where it was too much."""

    count: Integer
    cost: Money


class SettledData(Model):
    """One settlement of one account: org, agent, consumer and currency. It is never revised."""

    settlement_id: Id = Field(description="The envelope's id.")
    agent: Name
    consumer: Name
    amount: Money = Field(description="Sum of all methods' costs and of what is carried, in `currency`.")
    request_count: Annotated[int, Field(ge=0)]
    period_start: Timestamp = Field(description="Start of the first hour with a call that is settled here.")
    period_end: Timestamp = Field(description="End of the hour whose closing settled it.")
    currency: StatedCurrency
    chain: Name = Field(description="Of the newest call that is settled here, like the wallets.")
    chain_id: Count
    agent_wallet: Label | None = None
    consumer_wallet: Label | None = None
    methods: dict[str, MethodCost] = Field(
        description="By name. The empty name stands for all methods that are not told apart."
    )
    carried: dict[str, Carried] = Field(
        default_factory=dict,
        description="Corrections of earlier settlements, by method. They are not in `methods` and `request_count`.",
    )
    coverage: Coverage


class RpcSettled(StatementEnvelope):
    """A settlement. Its Kafka key is the org."""

    own_id = "settlement_id"

    type: Literal["billing.rpc.settled"]
    data: SettledData


def settlement_id(org: str, agent: str, consumer: str, currency: str, period_end_ms: int) -> str:
    """The id of a settlement: the same for the same account and hour, whoever computes it.

    As `ulid.statement_id`, over a JSON array of six values:

        ["billing.rpc.settled","org_hanzo","agent_1","consumer_1","AI","2025-01-15T11:00:00.000Z"]

    that is kind, org, agent, consumer, currency, end of the period.
    """
    return id_of(period_end_ms, (RPC_SETTLED, org, agent, consumer, currency, format_ms(period_end_ms)))
