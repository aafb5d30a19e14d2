"""The table of latencies, declared."""

from __future__ import annotations

from streamapp.exact.correction import ALL_RECORDS, Correction
from streamapp.exact.declaration import Late, Making, TableDeclaration
from streamapp.exact.partition.task import Parts
from streamapp.meters.latency.codec import LATENCY
from streamapp.meters.latency.correction import compare
from streamapp.meters.latency.parts import latency_parts
from streamapp.meters.latency.view import LatencyView
from streamapp.meters.sources import LLM_USAGE, closing_as_bills
from tables.latency.fold import Latency, Limits
from tables.latency.windows import LatencyOutcome
from tables.window import MINUTE_MS


def parts(made: Making) -> Parts[Latency, LatencyOutcome]:
    """So many models are told apart, and minutes are kept for so long."""
    metrics = made.settings.metrics
    return latency_parts(made.rules, made.admission(), Limits(metrics.models_max, metrics.minutes_kept * MINUTE_MS))


TABLE = TableDeclaration(
    group="llm-metrics",
    rows=LATENCY,
    source=LLM_USAGE,
    window=closing_as_bills,  # it counts the same events
    late=Late.KEPT,
    correction=Correction("rows", compare, lead=ALL_RECORDS),
    parts=parts,
    view=LatencyView,
    letters=False,  # billing-agg reads the same records, and writes them
    help="calls of models by minute and hour: counts, tokens, money, durations",
)
