"""A metered call as the workers hold it: the fields of `rpc_metering.RpcMetered`, plus what is computed from them.

Built only by `decode_metering`; values are never changed afterwards.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta, Struct

from streamapp.schemas.judging.usage import Count, Id, Label, Measurement, Name
from streamapp.schemas.rpc_metering import CHAIN, CHAIN_ID
from streamapp.schemas.values.money import PRICE_CHARS_MAX, ZERO

if TYPE_CHECKING:
    Price = Decimal
    Amount = Decimal
else:
    Price = Annotated[str, Meta(max_length=PRICE_CHARS_MAX)]  # its text, until it is read
    Amount = Any


class MeteringData(Struct, gc=False, kw_only=True):
    """`price` is exact, with exponent -12. What is optional and null is None, or its default."""

    agent_id: Name
    consumer_id: Name
    method: Name
    request_id: Label | None = None
    unit: Literal["per_request", "per_token"] = "per_request"
    quantity: Count
    price: Price
    currency: Annotated[str, Meta(min_length=1, max_length=16)]
    status: Literal["success", "error"] = "success"
    free_tier: bool = False
    latency_ms: Measurement = None
    model: Label | None = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    chain: Name = CHAIN
    chain_id: Count = CHAIN_ID
    agent_wallet: Label | None = None
    consumer_wallet: Label | None = None


class Metering(Struct, gc=False, kw_only=True):
    """`at_ms` is `timestamp` in UTC milliseconds, `amount` what is charged, with exponent -12; both are always
    computed, whatever fields of those names say."""

    schema: Literal["hanzo.stream.v1"]
    id: Id
    type: Literal["agent.rpc.metered"]
    source: Name
    timestamp: str
    team_id: Name | None = None
    org_id: Name | None = None
    data: MeteringData
    at_ms: int = -1
    amount: Amount = ZERO
