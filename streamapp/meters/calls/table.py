"""The table of metered calls, declared."""

from __future__ import annotations

from streamapp.exact.correction import ALL_RECORDS, Correction
from streamapp.exact.declaration import EventSource, Late, TableDeclaration
from streamapp.meters.calls.correction import compare, counts
from streamapp.meters.calls.parts import BILLS, calls_parts
from streamapp.meters.calls.rpc_codec import RPC
from streamapp.meters.calls.view import RpcView
from streamapp.meters.sources import METERING
from streamapp.settings import Settings
from tables.window import Rules


def window(settings: Settings, source: EventSource) -> Rules:
    """Hours close `grace_seconds` after their end; an account tells so many methods apart."""
    settlement = settings.settlement
    return Rules(settlement.grace_seconds * 1000, source.retention_ms, names_max=settlement.methods_max)


TABLE = TableDeclaration(
    group="rpc-billing",
    rows=RPC,
    source=METERING,
    window=window,
    idle_ms=lambda settings: int(settings.settlement.idle_seconds * 1000),
    late=Late.CARRIED,
    correction=Correction("rows", compare, counts=counts, lead=ALL_RECORDS),
    to=(BILLS,),
    parts=lambda made: calls_parts(made.rules, made.settings.settlement.min_amount, made.admission()),
    view=RpcView,
    help="calls by org, agent, consumer, currency and hour, settled for each account",
)
