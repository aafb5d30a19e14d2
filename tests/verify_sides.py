"""Both sides of a pair by hand, for the comparisons alone: records of each topic instead of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from streamapp.kafka.log.reader import Record, Span
from streamapp.verify.bills import metering_settlements, usage_bills
from streamapp.verify.engine import Pair, Sides
from streamapp.verify.report import BillsReport, PairReport

END = 1 << 40
Starts = Mapping[tuple[str, int], int]


def sides(
    pair: Pair,
    topics: Mapping[str, Iterable[Record]],
    *,
    committed: Mapping[int, int] | None = None,
    starts: Starts | None = None,
    org_of: Callable[[str], str | None] = lambda team: None,
    **more: Any,
) -> Sides:
    """`starts`: (topic, partition) → where its log begins."""
    spans: dict[str, dict[int, Span]] = {}
    for (topic, partition), start in (starts or {}).items():
        spans.setdefault(topic, {})[partition] = Span(start, END)
    return Sides(
        pair=pair,
        report=pair.new_report(),
        records=lambda topic, **_: iter(topics.get(topic, ())),
        spans=spans,
        committed=committed,
        directory=lambda: org_of,
        **more,
    )


def audit(
    usage: Iterable[Record],
    bills: Iterable[Record],
    letters: Iterable[Record],
    *,
    lines_min: int = usage_bills.LINES_MIN,
    **more: Any,
) -> BillsReport:
    """usage=bills."""
    topics = {"llm_usage": usage, "billing_events": bills, "dead_letter": letters}
    made = sides(usage_bills.PAIR, topics, **more)
    usage_bills.audit(made, lines_min)
    report: BillsReport = made.report
    return report


def audit_settlements(
    changelog: Iterable[Record],
    bills: Iterable[Record],
    letters: Iterable[Record],
    metering: Iterable[Record],
    **more: Any,
) -> PairReport:
    """metering=settlements."""
    pair = metering_settlements.PAIR
    made = sides(
        pair, dict(zip((*pair.topics, pair.source), (changelog, bills, letters, metering), strict=True)), **more
    )
    pair.judge(made)
    report: PairReport = made.report
    return report
