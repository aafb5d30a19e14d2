"""The pair usage=counters: the hours of llm-metrics against sums of llm_usage made anew, partition by partition.

An event counts under the rules of usage=bills: once for its id where its team lives, unless `billing-agg` has refused
it with a letter (both groups refuse the same records, only one writes dead letters). Records from the position of the
table on, or from where `billing-agg` has committed, are waiting, and an hour that they touch is compared later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from streamapp.kafka.log.reader import Record
from streamapp.verify.bills.usage_bills import BILLS_TOPIC, USAGE_TOPIC, covered, usage_again
from streamapp.verify.bills.usage_bills import GROUP as BILLING
from streamapp.verify.engine import Pair, Sides
from streamapp.verify.intake import Taken
from streamapp.verify.read.counters import COUNTS, REST, Part, Table, tables, together
from streamapp.verify.read.event import FUTURE_MS, HOUR_MS, ZERO, hour_of, parse
from streamapp.verify.read.letters import LETTERS
from streamapp.verify.read.usage import Usage
from streamapp.verify.report import LEFT, RIGHT, Sums

GROUP = "llm-metrics"
CHANGELOG = "llm-metrics-latency-changelog"


@dataclass
class _Hour:
    """What the log says of an hour in a partition."""

    counted: Sums = field(default_factory=Sums)
    models: Counter[tuple[str, str]] = field(default_factory=Counter)  # events
    waiting: int = 0


class _Audit:
    """The usage so far, beside the tables."""

    def __init__(self, sides: Sides) -> None:
        self._sides, self.report = sides, sides.report
        self.tables = tables(sides.records(CHANGELOG))
        self.hours: dict[tuple[int, int], _Hour] = {}  # (partition, start of an hour)
        self._unjudged: set[tuple[int, str]] = set()  # ids of events that may still be refused, by home
        self._begins_ms: dict[int, int] = {}  # partition → hours that begin by then may have lost events

    def take(self, record: Record, taken: Taken[Usage] | None) -> None:
        partition = record.partition
        if self._sides.start(USAGE_TOPIC, partition) > 0:
            self._begins_ms.setdefault(partition, record.timestamp_ms + FUTURE_MS)
        if taken is None:
            return
        usage, id_ = taken.event, (taken.home, taken.event.id)
        hour = self.hours.setdefault((partition, hour_of(usage.time_ms)), _Hour())
        if not taken.is_new:
            hour.waiting += id_ in self._unjudged  # the first one may be refused, then this one counts
            return
        judged = record.offset < self._sides.refusing.get(partition, 0)
        if not judged:
            self._unjudged.add(id_)
        self.report.events += 1
        if record.offset >= self.tables.get(partition, Table()).next_offset:
            self.report.waiting += 1
            return
        hour.waiting += not judged
        hour.counted.add(1, usage.counted.amounts(usage.currency, *COUNTS))
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
            report.sums(start_ms, side).add(sums.events, sums.amounts)
        where = f"hour {start_ms} of {USAGE_TOPIC}[{partition}]"
        if report.counts_agree(where, "counted events:", counted.events, hour.counted.events):
            differing = "; ".join(_differences(hour, parts, counted))
            if differing:
                report.wrong.add(where, differing)


def _differences(hour: _Hour, parts: Iterable[Part], counted: Sums) -> Iterator[str]:
    said, is_so = counted.amounts, hour.counted.amounts
    if f"cost {REST}" in said:  # currencies are not told apart: only their sum can be compared
        said, is_so = _one_cost(said), _one_cost(is_so)
    for name in sorted({*said, *is_so}):
        if said.get(name, ZERO) != is_so.get(name, ZERO):
            yield f"{name} is {said.get(name, ZERO)}, must be {is_so.get(name, ZERO)}"
    if together(part for part in parts if part.is_all) != counted:
        yield "the row of all models together is not the sum of the others"
    models: Counter[tuple[str, str]] = Counter()
    for part in parts:
        if not part.is_all:
            models[part.provider, part.model] += part.sums.events
    if (REST, REST) not in models and models != hour.models:
        yield "models differ"


def _one_cost(amounts: Mapping[str, Decimal | int]) -> dict[str, Decimal | int]:
    sums = Sums()
    for name, amount in amounts.items():
        sums.add(0, {"cost" if name.startswith("cost ") else name: amount})
    return sums.amounts


def audit(sides: Sides) -> None:
    made, report = _Audit(sides), sides.report
    for partition, offset in (sides.committed or {}).items():
        table = made.tables.get(partition, Table())
        if offset > max(table.next_offset, sides.start(USAGE_TOPIC, partition)):
            what = f"the group committed {offset}, its table counted up to {table.next_offset}"
            report.wrong.add(f"{USAGE_TOPIC}[{partition}]", what)
    stated_on = (place for record in sides.records(BILLS_TOPIC) for place in covered(parse(record.value)))
    for record, taken, _ in usage_again(sides, stated_on):
        made.take(record, taken)
    stated = {(partition, start_ms) for partition, table in made.tables.items() for start_ms in table.hours}
    for partition, start_ms in sorted({*made.hours, *stated}):
        made.compare(partition, start_ms)


PAIR = Pair(
    name="usage=counters",
    group=GROUP,
    source=USAGE_TOPIC,
    topics=(LETTERS, BILLS_TOPIC, CHANGELOG),  # dead letters after the offsets that they are of, rows after both
    judge=audit,
    right="the hours of llm-metrics",
    refuses=BILLING,
)
