"""The pair usage=bills: every bill of a cluster against the raw events, also while both go on."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from streamapp.clock import Clock, wall_ms
from streamapp.errors import Misconfigured
from streamapp.kafka.log.reader import Span
from streamapp.settings import Settings
from streamapp.verify.pair import PairReport, Sums
from streamapp.verify.reading import Cluster, LogReader, Shown, unseen
from streamapp.verify.recompute import BILLS_TOPIC, GROUP, LETTERS_TOPIC, USAGE_TOPIC, audit
from streamapp.verify.redrives import RECEIPTS_TOPIC, Redrives
from streamapp.verify.report import Report
from streamapp.verify.usage import HOUR_MS

NAME = "usage=bills"


def bills_report(
    settings: Settings, shown: Shown = unseen, since_ms: int | None = None, cluster: Cluster | None = None
) -> Report:
    """Read the topics of the cluster and audit them. The order is what makes it exact while workers run:

    1  what the group has committed: everything below is on bills, or in letters, or due later
    2  the ends of bills: they hold what was committed by then, and may count more
    3  the ends of letters: whatever those bills left out has its letter there
    4  the ends of usage: all that bills count and letters are about is there

    Receipts come before usage, too. `since_ms`: usage is read from there only, and what began before is out of reach;
    a log that is not older is judged as a whole. Raises `Unavailable` when Kafka does not answer, `Misconfigured` for
    a missing topic or a wrong directory file.
    """
    logs = LogReader(settings.kafka, USAGE_TOPIC, shown, cluster)
    committed = logs.committed(GROUP, USAGE_TOPIC)
    parts = {topic: logs.spans(topic) for topic in (BILLS_TOPIC, LETTERS_TOPIC)}
    refused = logs.refused(GROUP, USAGE_TOPIC, parts[LETTERS_TOPIC])
    parts[RECEIPTS_TOPIC] = _receipts(logs)
    whole = parts[USAGE_TOPIC] = logs.spans(USAGE_TOPIC)
    if since_ms is not None:
        parts[USAGE_TOPIC] = logs.since(USAGE_TOPIC, whole, since_ms)
    starts = {(topic, partition): span.start for topic, all_ in parts.items() for partition, span in all_.items()}
    redrives = Redrives()
    report = audit(
        redrives.watch(logs.records(USAGE_TOPIC, parts[USAGE_TOPIC], headers=True, refused=refused)),
        logs.records(BILLS_TOPIC, parts[BILLS_TOPIC]),
        logs.records(LETTERS_TOPIC, parts[LETTERS_TOPIC]),
        grace_ms=settings.billing.grace_seconds * 1000,
        org_of=logs.org_of(settings.directory),
        starts=starts,
        committed=committed,
        since_ms=None if parts[USAGE_TOPIC] == whole else since_ms,
    )
    redrives.check(logs.records(RECEIPTS_TOPIC, parts[RECEIPTS_TOPIC]), USAGE_TOPIC, starts, report)
    return report


def check(settings: Settings, cluster: Cluster | None = None, clock: Clock = wall_ms) -> PairReport:
    """The pair, as far back as STREAM_RECONCILE__HOURS says. Raises what `bills_report` raises."""
    hours = settings.reconcile.hours
    return pair(bills_report(settings, since_ms=clock() - hours * HOUR_MS if hours else None, cluster=cluster))


def pair(report: Report) -> PairReport:
    """The report as one of all pairs."""
    made = PairReport(NAME, USAGE_TOPIC, BILLS_TOPIC, report.accepted, report.events_waiting, report.out_of_reach)
    made.lost, made.doubled, made.wrong = report.lost, report.doubled, report.wrong
    made.hours = {start_ms: (_sums(sums.due), _sums(sums.billed)) for start_ms, sums in report.hours.items()}
    made.compare_hours()
    return made


def _sums(amounts: Mapping[str, Decimal]) -> Sums:
    others = {name: amount for name, amount in amounts.items() if name != "requests"}
    return Sums(int(amounts.get("requests", 0)), others)


def _receipts(logs: LogReader) -> dict[int, Span]:
    """What there is of receipts; nothing in a cluster that was made before letters could be sent again."""
    try:
        return logs.spans(RECEIPTS_TOPIC)
    except Misconfigured:
        return {}
