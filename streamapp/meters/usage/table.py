"""The table of hourly usage, declared."""

from __future__ import annotations

from streamapp.exact.correction import Correction
from streamapp.exact.declaration import EventSource, Late, TableDeclaration
from streamapp.meters.sources import LLM_USAGE
from streamapp.meters.usage.correction import compare, correct, counts
from streamapp.meters.usage.parts import BILLS, usage_parts
from streamapp.meters.usage.store import USAGE
from streamapp.meters.usage.view import UsageView
from streamapp.settings import Settings
from tables.window import Rules


def window(settings: Settings, source: EventSource) -> Rules:
    """Hours close `grace_seconds` after their end; a bill tells so many models apart."""
    billing = settings.billing
    return Rules(billing.grace_seconds * 1000, source.retention_ms, names_max=billing.lines_max)


TABLE = TableDeclaration(
    group="billing-agg",
    rows=USAGE,
    source=LLM_USAGE,
    window=window,
    idle_ms=lambda settings: int(settings.billing.idle_seconds * 1000),
    late=Late.REVISED,
    correction=Correction("hours", compare, correct, counts=counts),
    to=(BILLS,),
    parts=lambda made: usage_parts(made.rules, made.admission(), made.directory),
    view=UsageView,
    help="usage by org, team, currency and hour, stated as bills",
)
