"""Runs a pair: two records of the same facts, of which each must have what the other has.

A pair is a declaration (`Pair`): the group whose work it judges, the topic that the group reads, the topics or the
destination that it writes, and the comparison. The engine reads both sides in the one order of moments (`reading`),
hands them to the comparison as `Sides`, and returns the report. There are two comparisons: `copies.compare` for a
destination that keeps each record, and a pair's own fold for sums, on `intake.Intake`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from streamapp.clock import Clock, wall_ms
from streamapp.errors import Misconfigured
from streamapp.kafka.log.reader import Record, Span
from streamapp.settings import Settings
from streamapp.verify.read.event import HOUR_MS
from streamapp.verify.read.letters import LETTERS, Batches, refused_batches
from streamapp.verify.reading import Cluster, Limits, LogReader, OrgOf, Shown, unseen
from streamapp.verify.report import PairReport

Check = Callable[[Settings], PairReport]
"""Reads both sides to the end they have now. Raises `Unavailable` when one of them does not answer, `Misconfigured`
when a person must change something."""

Offsets = Mapping[int, int]
"""Partition → offset."""

Destination = Callable[[Settings, Offsets, Any], AbstractContextManager[Any]]
"""Opens what a group writes outside of Kafka: (settings, what the group has committed, by default None: who to ask in
place of the one of the settings)."""


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Both sides of a pair, as they are at the moments of one check."""

    pair: Pair
    report: Any  # PairReport, or the pair's own kind of it
    records: Callable[..., Iterator[Record]]
    """(topic, `upto`: instead of the whole topic, `headers`: read them, too) → its records. Of the left side, a batch
    that was refused as a whole is one record."""
    spans: Mapping[str, Mapping[int, Span]]  # by topic: what is read
    committed: Offsets | None = None  # by the pair's group; None: it has read everything
    refusing: Offsets = field(default_factory=dict)  # committed by the group whose dead letters count
    directory: Callable[[], OrgOf] = lambda: lambda team: None
    limits: Callable[[], Limits] = lambda: Limits(lambda team: ())
    kept: Any = None  # what the pair's destination has opened
    since_ms: int | None = None  # what is read of the left side begins here; None: all of it is read
    grace_ms: int = 300_000

    def start(self, topic: str, partition: int) -> int:
        """The first offset that is read."""
        span = self.spans.get(topic, {}).get(partition)
        return 0 if span is None else span.start


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A declaration. `check` runs it."""

    name: str  # the gauge's label: left=right
    group: str  # whose work it judges: records of `source` below its committed offsets; later ones are waiting
    source: str  # the topic that the group reads: the left side
    topics: tuple[str, ...]  # what else is read, in the order in which the ends are taken; `dead_letter` is among it
    judge: Callable[[Sides], None]  # compares the sides and fills the report
    right: str  # what the right side is called
    left: str = ""  # what the left side is called, by default `source`
    report: Callable[[str, str, str], PairReport] = PairReport
    destination: Destination = lambda settings, committed, kept: nullcontext()  # the right side is in Kafka alone
    refuses: str = ""  # whose dead letters take records out of the left side, by default `group`
    optional: tuple[str, ...] = ()  # topics that an older cluster does not have
    bounded: bool = False  # `reconcile` reads only the last STREAM_RECONCILE__HOURS of the left side

    def check(
        self,
        settings: Settings,
        cluster: Cluster | None = None,
        kept: Any = None,
        *,
        shown: Shown = unseen,
        whole: bool = False,
        clock: Clock = wall_ms,
    ) -> Any:
        """Compare both sides as they are now (`Check`); returns what `report` makes. `cluster` and `kept`: by default
        those of the settings. `whole`: read all of the left side, whatever the pair is bounded by."""
        hours = settings.reconcile.hours if self.bounded and not whole else 0
        since_ms = clock() - hours * HOUR_MS if hours else None
        logs = LogReader(settings.kafka, self.source, shown, cluster)
        committed = {group: logs.committed(group, self.source) for group in {self.group, self.refuses or self.group}}
        with self.destination(settings, committed[self.group], kept) as opened:
            spans = {topic: self._spans(logs, topic) for topic in (*self.topics, self.source)}
            if since_ms is not None:
                all_ = spans[self.source]
                spans[self.source] = logs.since(self.source, all_, since_ms)
                since_ms = None if spans[self.source] == all_ else since_ms
            report = self.new_report()
            self.judge(
                Sides(
                    pair=self,
                    report=report,
                    records=self._reader(logs, spans),
                    spans=spans,
                    committed=committed[self.group],
                    refusing=committed[self.refuses or self.group],
                    directory=lambda: logs.org_of(settings.directory),
                    limits=lambda: logs.limits(settings.directory),
                    kept=opened,
                    since_ms=since_ms,
                    grace_ms=settings.billing.grace_seconds * 1000,
                )
            )
        return report

    def new_report(self) -> PairReport:
        """Without a finding."""
        return self.report(self.name, self.left or self.source, self.right)

    def _spans(self, logs: LogReader, topic: str) -> Mapping[int, Span]:
        try:
            return logs.spans(topic)
        except Misconfigured:
            if topic not in self.optional:
                raise
            return {}

    def _reader(self, logs: LogReader, spans: Mapping[str, Mapping[int, Span]]) -> Callable[..., Iterator[Record]]:
        @cache
        def batches() -> Batches:
            letters = logs.records(LETTERS, spans[LETTERS])
            return refused_batches(letters, self.refuses or self.group, self.source)

        def records(topic: str, upto: Mapping[int, Span] | None = None, headers: bool = False) -> Iterator[Record]:
            refused = batches() if topic == self.source else None
            return logs.records(topic, spans[topic] if upto is None else upto, headers=headers, refused=refused)

        return records
