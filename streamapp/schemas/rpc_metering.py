"""`agent.rpc.metered` on `agent_rpc_metering` (HIP-25; decision 15)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from streamapp.schemas.envelope import Envelope
from streamapp.schemas.fields import Count, Label, Measurement, Model, Name, Price, TokenCurrency
from streamapp.schemas.values.money import exact_amount

RPC_METERED = "agent.rpc.metered"
CHAIN = "hanzo"
CHAIN_ID = 36963


class Unit(StrEnum):
    """What `quantity` counts."""

    PER_REQUEST = "per_request"
    PER_TOKEN = "per_token"


class CallStatus(StrEnum):
    """How the call ended. Only success is charged; both are counted."""

    SUCCESS = "success"
    ERROR = "error"


class RpcMeteredData(Model):
    """One call of an agent's method. Its amount is quantity × price, exactly, and zero where nothing is charged."""

    agent_id: Name = Field(description="Who was called; the record key.")
    consumer_id: Name = Field(description="Who called, and pays.")
    method: Name
    quantity: Count = Field(description="How many units: 1 for a request, or tokens.")
    price: Price = Field(description="Of one unit, in `currency`: a decimal number as text.")
    currency: TokenCurrency
    unit: Annotated[Unit, Field(strict=False)] | None = Unit.PER_REQUEST
    status: Annotated[CallStatus, Field(strict=False)] | None = CallStatus.SUCCESS
    free_tier: bool | None = Field(default=False, description="Counted, but not charged.")
    request_id: Label | None = None
    latency_ms: Measurement = None
    model: Label | None = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    chain: Name | None = CHAIN
    chain_id: Count | None = CHAIN_ID
    agent_wallet: Label | None = None
    consumer_wallet: Label | None = None

    @model_validator(mode="after")
    def _amount_fits(self) -> Self:
        try:
            exact_amount(self.price, self.quantity)
        except ValueError as error:
            raise PydanticCustomError("price", "price {problem}", {"problem": str(error)}) from None
        return self


class RpcMetered(Envelope):
    """A metered call. Without `org_id` the directory says whose it is, by `team_id` (decision 16)."""

    type: Literal["agent.rpc.metered"]
    data: RpcMeteredData
