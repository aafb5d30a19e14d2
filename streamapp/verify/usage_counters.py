"""The pair usage=counters: the hours of llm-metrics against sums of llm_usage made anew, partition by partition.

An event counts under the rules of usage=bills: once for its id where its team lives, unless `billing-agg` has refused
it with a letter (both groups refuse the same records, only one writes letters). What lies behind the position of the
table, or behind what `billing-agg` has judged, is waiting, and an hour that it touches is compared later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from streamapp.kafka.log.reader import Record, Span
from streamapp.verify.engine import Offsets, Pair, Sides
from streamapp.verify.intake import Intake
from streamapp.verify.read.counters import REST, Counted, Part, Table, tables, together
from streamapp.verify.read.event import FUTURE_MS, HOUR_MS, ZERO, Poison, parse
from streamapp.verify.read.homes import Homes
from streamapp.verify.read.letters import LETTERS, gather
from streamapp.verify.read.statement import HOURLY, REVISED, statement
from streamapp.verify.read.usage import Usage, plausible, read
from streamapp.verify.reading import OrgOf
from streamapp.verify.report import LEFT, RIGHT, PairReport
from streamapp.verify.usage_bills import BILLS_TOPIC, USAGE_TOPIC
from streamapp.verify.usage_bills import GROUP as BILLING

GROUP = "llm-metrics"
CHANGELOG = "llm-metrics-latency-changelog"


@dataclass
class _Hour:
    """What the log says of an hour in a partition."""

    counted: Counted = field(default_factory=Counted)
    models: Counter[tuple[str, str]] = field(default_factory=Counter)  # events
    waiting: int = 0


class _Audit:
    """The usage so far, beside the tables."""

    def __init__(
        self, tables: Mapping[int, Table], judged: Offsets, spans: Mapping[int, Span], report: PairReport
    ) -> None:
        self.tables, self._judged, self._spans, self.report = tables, judged, spans, report
        self.hours: dict[tuple[int, int], _Hour] = {}  # (partition, start of an hour)
        self._unjudged: set[tuple[int, str]] = set()  # ids of events that may still be refused, by home
        self._begins_ms: dict[int, int] = {}  # partition → hours that begin by then may have lost events

    def take(self, record: Record, intake: Intake[Usage]) -> None:
        partition = record.partition
        if self._spans[partition].start > 0:
            self._begins_ms.setdefault(partition, record.timestamp_ms + FUTURE_MS)
        taken = intake.take(record)
        if taken is None:
            return
        usage, id_ = taken.event, (taken.home, taken.event.id)
        hour = self.hours.setdefault((partition, usage.hour_ms), _Hour())
        if not taken.is_new:
            hour.waiting += id_ in self._unjudged  # the first one may be refused, then this one counts
            return
        judged = record.offset < self._judged.get(partition, 0)
        if not judged:
            self._unjudged.add(id_)
        self.report.events += 1
        if record.offset >= self.tables.get(partition, Table()).next_offset:
            self.report.waiting += 1
            return
        hour.waiting += not judged
        hour.counted.add(1, (*usage.counted[1:-1],), {usage.currency: usage.counted.cost})
        hour.models[usage.provider, usage.model] += 1

    def compare(self, partition: int, start_ms: int) -> None:
        report, hour = self.report, self.hours.get((partition, start_ms), _Hour())
        table = self.tables.get(partition, Table())
        parts = table.hours.get(start_ms, [])
        counted = together(part for part in parts if not part.is_all)
        if start_ms <= self._begins_ms.get(partition, -1) or start_ms + HOUR_MS <= table.expired_ms:
            report.out_of_reach += counted.events
            return
        if hour.waiting:
            report.waiting += hour.waiting
            return
        for side, sums in ((LEFT, hour.counted), (RIGHT, counted)):
            report.sums(start_ms, side).add(sums.events, sums.amounts())
        where = f"hour {start_ms} of {USAGE_TOPIC}[{partition}]"
        if report.counts_agree(where, "counted events:", counted.events, hour.counted.events):
            differing = "; ".join(_differences(hour, parts, counted))
            if differing:
                report.wrong.add(where, differing)


def _differences(hour: _Hour, parts: Iterable[Part], counted: Counted) -> Iterator[str]:
    one_cost = REST in counted.costs  # currencies are not told apart: only their sum can be compared
    said, is_so = counted.amounts(one_cost), hour.counted.amounts(one_cost)
    for name in sorted({*said, *is_so}):
        if said.get(name, ZERO) != is_so.get(name, ZERO):
            yield f"{name} is {said.get(name, ZERO)}, must be {is_so.get(name, ZERO)}"
    if together(part for part in parts if part.is_all) != counted:
        yield "the row of all models together is not the sum of the others"
    models: Counter[tuple[str, str]] = Counter()
    for part in parts:
        if not part.is_all:
            models[part.provider, part.model] += part.counted.events
    if (REST, REST) not in models and models != hour.models:
        yield "models differ"


def audit(
    changelog: Iterable[Record],
    letters: Iterable[Record],
    usage: Iterable[Record],
    *,
    committed: Offsets,
    judged: Offsets,
    spans: Mapping[int, Span],
    org_of: OrgOf,
    homes: Homes,
    report: PairReport,
) -> None:
    """Compare, and fill the report. `judged`: what `billing-agg` had committed. `spans`: what is read of usage."""
    made = _Audit(tables(changelog), judged, spans, report)
    for partition, offset in committed.items():
        table = made.tables.get(partition, Table())
        if offset > max(table.next_offset, spans[partition].start):
            what = f"the group committed {offset}, its table counted up to {table.next_offset}"
            report.wrong.add(f"{USAGE_TOPIC}[{partition}]", what)
    others = PairReport("", "", "")  # what is wrong with records and letters is found by usage=bills
    intake = Intake(read, plausible, gather(letters, USAGE_TOPIC), BILLING, org_of, homes, others)
    for part in homes.split(usage):
        for record in part:
            made.take(record, intake)
    stated = {(partition, start_ms) for partition, table in made.tables.items() for start_ms in table.hours}
    for partition, start_ms in sorted({*made.hours, *stated}):
        made.compare(partition, start_ms)


def _covered(bills: Iterable[Record]) -> Iterator[tuple[str, int]]:
    """Team and partition of every bill: they tell whether teams have moved."""
    for record in bills:
        event = parse(record.value)
        if not isinstance(event, Poison) and event.get("type") in (HOURLY, REVISED):
            stated = statement(record, event)
            if not isinstance(stated, str):
                yield stated.bucket.team, stated.coverage.partition


def _judge(sides: Sides) -> None:
    spans = sides.spans[USAGE_TOPIC]
    audit(
        sides.records(CHANGELOG),
        sides.records(LETTERS),
        sides.records(USAGE_TOPIC),
        committed=sides.done,
        judged=sides.committed[BILLING],
        spans=spans,
        org_of=sides.org_of,
        homes=Homes(len(spans), _covered(sides.records(BILLS_TOPIC))),
        report=sides.report,
    )


PAIR = Pair(
    name="usage=counters",
    group=GROUP,
    source=USAGE_TOPIC,
    topics=(LETTERS, BILLS_TOPIC, CHANGELOG),  # letters after the offsets that they are of, rows after both
    judge=_judge,
    right="the hours of llm-metrics",
    refuses=BILLING,
)
