"""usage=counters: the hours of llm-metrics against sums of llm_usage made anew, partition by partition.

Nothing of the worker is used. An event counts under the rules of `verify.py`: once for its id where its team lives,
unless `billing-agg` has refused it with a letter (both groups refuse the same records, only one writes letters). What
lies behind the position of the table, or behind what `billing-agg` has judged, is waiting, and an hour that it touches
is compared when it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from streamapp.kafka.log.reader import Record, Span
from streamapp.settings import Settings
from streamapp.verify import letters as verify_letters
from streamapp.verify import usage as verify_usage
from streamapp.verify.counters_rows import REST, Part, Table, tables, total
from streamapp.verify.homes import Homes
from streamapp.verify.pair import PairReport, Sums
from streamapp.verify.reading import Cluster, LogReader
from streamapp.verify.recompute import BILLS_TOPIC, LETTERS_TOPIC, USAGE_TOPIC
from streamapp.verify.recompute import GROUP as BILLING
from streamapp.verify.report import Report
from streamapp.verify.statement import HOURLY, REVISED, statement
from streamapp.verify.usage import EXACT, FUTURE_MS, HOUR_MS, ZERO, Poison, Usage

NAME = "usage=counters"
GROUP = "llm-metrics"
CHANGELOG = "llm-metrics-latency-changelog"

Place = tuple[int, int]
"""Partition, start of an hour."""


@dataclass
class _Hour:
    """What the log says of an hour in a partition."""

    sums: Sums = field(default_factory=lambda: Sums(0, {}))
    models: dict[tuple[str, str], int] = field(default_factory=dict)  # events
    waiting: int = 0


def check(settings: Settings, cluster: Cluster | None = None) -> PairReport:
    """Compare what is there now. Raises `Unavailable` when Kafka does not answer, `Misconfigured` for a missing topic
    or a wrong directory file."""
    logs = LogReader(settings.kafka, USAGE_TOPIC, cluster=cluster)
    committed, judged = (logs.committed(group, USAGE_TOPIC) for group in (GROUP, BILLING))
    # Letters behind the offsets that they are of, rows behind both, usage last: it only grows meanwhile.
    parts = {topic: logs.spans(topic) for topic in (LETTERS_TOPIC, BILLS_TOPIC, CHANGELOG, USAGE_TOPIC)}
    refused = logs.refused(BILLING, USAGE_TOPIC, parts[LETTERS_TOPIC])
    letters, bills, changelog = (logs.records(topic, parts[topic]) for topic in (LETTERS_TOPIC, BILLS_TOPIC, CHANGELOG))
    usage = logs.records(USAGE_TOPIC, parts[USAGE_TOPIC], refused=refused)
    org_of = logs.org_of(settings.directory)
    homes = Homes(len(parts[USAGE_TOPIC]), _covered(bills))
    made = Reconciliation(changelog, letters, committed, judged, parts[USAGE_TOPIC], org_of, homes)
    return made.report(usage)


def _covered(bills: Iterable[Record]) -> Iterator[tuple[str, int]]:
    """Team and partition of every bill: they tell whether teams have moved."""
    for record in bills:
        event = verify_usage.parse(record.value or b"")
        if isinstance(event, Poison) or event.get("type") not in (HOURLY, REVISED):
            continue
        stated = statement(record, event)
        if not isinstance(stated, str):
            yield stated.bucket.team, stated.coverage.partition


class Reconciliation:
    """Reads the changelog and the letters, then, in `report`, the usage."""

    def __init__(
        self,
        changelog: Iterable[Record],
        letters: Iterable[Record],
        committed: Mapping[int, int],
        judged: Mapping[int, int],
        usage_spans: Mapping[int, Span],
        org_of: Callable[[str], str | None],
        homes: Homes,
    ) -> None:
        self._homes = homes
        self._tables = tables(changelog)
        refused = verify_letters.gather(letters, USAGE_TOPIC, Report())
        self._refused = {at for at, found in refused.items() if any(letter.group == BILLING for letter in found)}
        self._committed, self._judged, self._spans, self._org_of = committed, judged, usage_spans, org_of
        self._hours: dict[Place, _Hour] = {}
        self._seen: dict[tuple[int, str], bool] = {}  # an id where it is known → whether its event is judged
        self._begins_ms: dict[int, int] = {}  # partition → hours that begin by then may have lost events
        self._report = PairReport(NAME, USAGE_TOPIC, "the hours of llm-metrics")

    def report(self, usage: Iterable[Record]) -> PairReport:
        """What differs."""
        report = self._report
        for partition, offset in self._committed.items():
            table = self._tables.get(partition, Table())
            if offset > max(table.next_offset, self._spans[partition].start):
                what = f"the group committed {offset}, its table counted up to {table.next_offset}"
                report.wrong.add(f"{USAGE_TOPIC}[{partition}]", what)
        late = []  # events of teams that have moved, where they live now: behind those of their former home
        for record in usage:
            if self._homes.waits(record):
                late.append(record)
            else:
                self._take(record)
        for record in late:
            self._take(record)
        every = {
            *self._hours,
            *((partition, hour) for partition, table in self._tables.items() for hour in table.hours),
        }
        for place in sorted(every):
            self._compare(place)
        return report

    def _take(self, record: Record) -> None:
        partition = record.partition
        if self._spans[partition].start > 0:
            self._begins_ms.setdefault(partition, record.timestamp_ms + FUTURE_MS)
        if (partition, record.offset) in self._refused:
            return
        usage = verify_usage.read(record)
        if isinstance(usage, Poison) or not (usage.org or self._org_of(usage.team)):
            return
        root = self._homes.root(usage.team, partition)
        judged, place = record.offset < self._judged.get(partition, 0), (partition, _hour_ms(usage))
        if (root, usage.id) in self._seen:
            if not self._seen[root, usage.id]:  # the first one may be refused, then this one counts
                self._hours.setdefault(place, _Hour()).waiting += 1
            return
        hour = self._hours.setdefault(place, _Hour())
        self._seen[root, usage.id] = judged
        self._report.events += 1
        table = self._tables.get(partition, Table())
        if record.offset >= table.next_offset:
            self._report.waiting += 1
            return
        hour.waiting += not judged
        hour.sums = total((hour.sums, _one(usage)))
        name = (usage.provider, usage.model)
        hour.models[name] = hour.models.get(name, 0) + 1

    def _compare(self, place: Place) -> None:
        (partition, start_ms), report = place, self._report
        table, hour = self._tables.get(partition, Table()), self._hours.get(place, _Hour())
        parts = table.hours.get(start_ms, [])
        counted = total(part.sums for part in parts if not part.is_all)
        if start_ms <= self._begins_ms.get(partition, -1) or start_ms + HOUR_MS <= table.expired_ms:
            report.out_of_reach += counted.events
            return
        if hour.waiting:
            report.waiting += hour.waiting
            return
        left, right = report.hours.get(start_ms, (Sums(0, {}), Sums(0, {})))
        report.hours[start_ms] = total((left, hour.sums)), total((right, counted))
        where = f"hour {start_ms} of {USAGE_TOPIC}[{partition}]"
        said = f"counts {counted.events} events, there are {hour.sums.events}"
        if counted.events < hour.sums.events:
            report.lost.add(where, said, hour.sums.events - counted.events)
        elif counted.events > hour.sums.events:
            report.doubled.add(where, said, counted.events - hour.sums.events)
        else:
            differing = "; ".join(_differences(hour, parts, counted))
            if differing:
                report.wrong.add(where, differing)


def _hour_ms(usage: Usage) -> int:
    return usage.time_ms - usage.time_ms % HOUR_MS


def _one(usage: Usage) -> Sums:
    counts = {
        "errors": int(usage.error),
        "cache_hits": int(usage.cache_hit),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    amounts = {name: Decimal(count) for name, count in counts.items()}
    return Sums(1, amounts | {f"cost {usage.currency}": usage.cost})


def _differences(hour: _Hour, parts: Iterable[Part], counted: Sums) -> Iterator[str]:
    said, is_so = dict(counted.amounts), dict(hour.sums.amounts)
    if f"cost {REST}" in said:  # currencies are not told apart: only their sum can be compared
        said, is_so = _one_cost(said), _one_cost(is_so)
    for name in sorted({*said, *is_so}):
        if said.get(name, ZERO) != is_so.get(name, ZERO):
            yield f"{name} is {said.get(name, ZERO)}, must be {is_so.get(name, ZERO)}"
    together = total(part.sums for part in parts if part.is_all)
    if (together.events, together.amounts) != (counted.events, counted.amounts):
        yield "the row of all models together is not the sum of the others"
    models: dict[tuple[str, str], int] = {}
    for part in parts:
        if not part.is_all:
            models[part.provider, part.model] = models.get((part.provider, part.model), 0) + part.sums.events
    if (REST, REST) not in models and models != hour.models:
        yield "models differ"


def _one_cost(amounts: Mapping[str, Decimal]) -> dict[str, Decimal]:
    kept = {name: amount for name, amount in amounts.items() if not name.startswith("cost ")}
    cost = ZERO
    for name, amount in amounts.items():
        if name.startswith("cost "):
            cost = EXACT.add(cost, amount)
    return kept | {"cost": cost}
