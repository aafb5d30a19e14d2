"""Settlements in Kafka beside those in the ledger's database: each there once, byte for byte, with its own amounts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from streamapp.kafka.log.reader import Record
from streamapp.settings import Settings
from streamapp.sinks.ledger.database import Ledger
from streamapp.sinks.ledger.rows import Settlement
from streamapp.verify.ledger import GROUP, behind, to_read
from streamapp.verify.pair import PairReport, Sums
from streamapp.verify.reading import Cluster, LogReader
from streamapp.verify.settled import RPC_SETTLED, Settled, settled
from streamapp.verify.usage import EXACT, ZERO, Poison, parse

NAME = "settlements=ledger"
TOPIC = "billing_events"
EVERY = 2**62


def check_settled_ledger(
    settings: Settings, cluster: Cluster | None = None, ledger: Ledger | None = None
) -> PairReport:
    """The pair settlements=ledger. Raises as `verify_ledger.check` does."""
    return asyncio.run(_check(settings, cluster, ledger))


async def _check(settings: Settings, cluster: Cluster | None, ledger: Ledger | None) -> PairReport:
    logs = LogReader(settings.kafka, TOPIC, cluster=cluster)
    committed = logs.committed(GROUP, TOPIC)
    async with to_read(settings, committed, ledger) as kept:
        done = {} if kept is None else behind(await kept.offsets(TOPIC), committed)
        rows = [] if kept is None else await kept.settlements(limit=EVERY)
    parts = logs.spans(TOPIC)
    starts = {number: span.start for number, span in parts.items()}
    return audit(done, rows, logs.records(TOPIC, parts), starts)


def audit(
    kept: Mapping[int, int], rows: Iterable[Settlement], log: Iterable[Record], starts: Mapping[int, int]
) -> PairReport:
    """Compare rows with the log. `kept`: partition → the offset below which all is in the ledger. `starts`: where the
    log begins."""
    report = PairReport(NAME, "the settlements", "the ledger")
    by_id = {row.id: row for row in rows}
    for record in log:
        event = parse(record.value or b"")
        if isinstance(event, Poison) or event.get("type") != RPC_SETTLED:
            continue
        stated = settled(record, event)
        if isinstance(stated, str):
            continue  # what is no settlement is the other pair's finding, and the ledger's dead letter
        report.events += 1
        row = by_id.pop(stated.id, None)
        _note(report, stated, row)
        if row is not None:
            _compare(stated, (record.value or b"").decode(), row, report)
        elif record.offset < kept.get(record.partition, 0):
            report.lost.add(stated.where, f"settlement {stated.id} of {stated.who} is not in the ledger")
        else:
            report.waiting += 1
    for row in by_id.values():
        if row.offset < starts.get(row.partition, 0):
            report.out_of_reach += 1
        else:
            report.wrong.add(row.id, f"is in the ledger, and not at {row.topic}[{row.partition}]@{row.offset}")
    return report


def _compare(stated: Settled, event: str, row: Settlement, report: PairReport) -> None:
    if row.event != event:
        report.wrong.add(stated.where, f"settlement {stated.id} stands in the ledger with other bytes")
    said = (row.org_id, row.agent, row.consumer, row.currency, row.period_start_ms, row.period_end_ms)
    if (*said, row.amount, row.request_count) != (
        *stated.who,
        stated.start_ms,
        stated.end_ms,
        stated.amount,
        stated.calls,
    ):
        report.wrong.add(stated.where, f"settlement {stated.id}: the ledger's columns are not what it says")


def _note(report: PairReport, stated: Settled, row: Settlement | None) -> None:
    left, right = report.hours.get(stated.end_ms, (Sums(0, {}), Sums(0, {})))
    name = f"cost {stated.who.currency}"
    left = Sums(left.events + 1, {**left.amounts, name: EXACT.add(left.amounts.get(name, ZERO), stated.amount)})
    if row is not None:
        right = Sums(right.events + 1, {**right.amounts, name: EXACT.add(right.amounts.get(name, ZERO), row.amount)})
    report.hours[stated.end_ms] = (left, right)
