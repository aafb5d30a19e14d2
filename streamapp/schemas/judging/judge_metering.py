"""The final verdict on a metered call, by the models (see `judge`)."""

from __future__ import annotations

from typing import Any

from streamapp.schemas.judging.judge import Court, judge
from streamapp.schemas.judging.metering import Metering, MeteringData
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.rpc_metering import CHAIN, CHAIN_ID, RPC_METERED, CallStatus, RpcMetered, RpcMeteredData, Unit
from streamapp.schemas.values.money import ZERO, exact_amount
from streamapp.schemas.values.timestamp import parse_ms


def judge_metering(raw: bytes | None) -> Metering | Rejected:
    """The metered call in a record's value, or the first reason to refuse it. Never raises.

    Reasons in this order: empty_value, malformed_json, invalid_envelope, unknown_type, invalid_envelope (a team or
    org that is no name), invalid_data, invalid_price.
    """
    return judge(raw, _COURT)


def _metering(event: RpcMetered, tree: dict[str, Any]) -> Metering:
    at_ms = parse_ms(event.timestamp)
    assert at_ms is not None
    data = event.data
    charged = (data.status or CallStatus.SUCCESS) is CallStatus.SUCCESS and not data.free_tier
    return Metering(
        schema=event.schema_,
        id=event.id,
        type=event.type,
        source=event.source,
        timestamp=event.timestamp,
        team_id=event.team_id,
        org_id=event.org_id,
        data=_data(data),
        at_ms=at_ms,
        amount=exact_amount(data.price, data.quantity) if charged else ZERO,
    )


def _data(data: RpcMeteredData) -> MeteringData:
    return MeteringData(
        agent_id=data.agent_id,
        consumer_id=data.consumer_id,
        method=data.method,
        request_id=data.request_id,
        unit=(data.unit or Unit.PER_REQUEST).value,
        quantity=data.quantity,
        price=data.price,
        currency=data.currency,
        status=(data.status or CallStatus.SUCCESS).value,
        free_tier=data.free_tier or False,
        latency_ms=data.latency_ms,
        model=data.model,
        prompt_tokens=data.prompt_tokens,
        completion_tokens=data.completion_tokens,
        chain=data.chain or CHAIN,
        chain_id=CHAIN_ID if data.chain_id is None else data.chain_id,
        agent_wallet=data.agent_wallet,
        consumer_wallet=data.consumer_wallet,
    )


_COURT: Court[RpcMetered, Metering] = Court(
    RPC_METERED, RpcMetered, _metering, "price", ("latency_ms",), {"price": Reason.INVALID_PRICE}
)
