"""The pair usage=bills: recompute every bill from the raw events, compare, explain each difference.

Nothing of the workers is used: not their arithmetic, not their decoder, not their idea of time. Slow where that makes
it plain. Three kinds of fault: *lost* (events that should be on a bill and are not, poison without its dead letter),
*doubled* (events, bills or dead letters that count more than once) and *wrong* (whatever else differs).

An event that no statement counts waits for a mark. Whether that mark has passed is judged by what the group has surely
read: the records below the offsets it had committed before anything else was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import astuple

from streamapp.kafka.log.reader import Record
from streamapp.verify.engine import Pair, Sides
from streamapp.verify.intake import Intake, Taken, Watermarks
from streamapp.verify.read import letters as read_letters
from streamapp.verify.read.chains import Chain, Chains, chains_of, lines_differ
from streamapp.verify.read.event import FUTURE_MS, Poison, at, hour_of
from streamapp.verify.read.homes import Homes
from streamapp.verify.read.letters import LETTERS, Letters
from streamapp.verify.read.redrives import RECEIPTS_TOPIC, Redrives
from streamapp.verify.read.statement import HOURLY, REVISED, Bucket
from streamapp.verify.read.totals import NOTHING, Totals, total
from streamapp.verify.read.usage import Usage, plausible, read
from streamapp.verify.report import LEFT, RIGHT, BillsReport, PairReport

USAGE_TOPIC = "llm_usage"
BILLS_TOPIC = "billing_events"
GROUP = "billing-agg"
LINES_MIN = 10  # the lowest limit of lines that the settings take
EVERYTHING = 1 << 63  # no offset is as high


@dataclass
class Due:
    """Events of one bucket that no statement counts yet, and that the same mark brings onto one."""

    first: str
    counted: Totals = NOTHING


@dataclass
class Hour:
    """One bucket, recomputed: what its newest statement must count, and what came later."""

    partition: int
    cut: int  # last offset the newest statement counts; -1 without a statement
    first_offset: int = -1
    last_offset: int = -1
    lines: dict[tuple[str, str], Totals] = field(default_factory=dict)
    dues: dict[int, Due] = field(default_factory=dict)  # by watermark


@dataclass
class _Audit:
    """What has been read of the usage topic so far."""

    sides: Sides
    report: BillsReport
    chains: Chains
    homes: Homes
    intake: Intake[Usage]
    judged_from_ms: int
    lines_min: int
    watermarks: Watermarks
    hours: dict[Bucket, Hour] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        """One usage record, in log order."""
        taken = self.intake.take(record)
        if taken is None or not taken.is_new:
            return
        problem = self.homes.problem(taken.event.team, record.partition)
        if problem is not None:
            self.report.wrong.add(at(record), problem)
        self._count(record, taken.event, taken.org)

    def _count(self, record: Record, usage: Usage, org: str) -> None:
        """Add the event to its bucket, and move the watermark."""
        partition = record.partition
        self.report.events += 1
        self.report.add_money("used", usage.currency, usage.counted.cost)
        bucket = Bucket(org, usage.team, usage.currency, hour_of(usage.time_ms))
        hour = self.hours.get(bucket)
        if hour is None:
            hour = self.hours[bucket] = Hour(partition, self._cut(bucket, partition))
        elif hour.partition != partition and self.homes.moved(bucket.team):
            hour.partition, hour.cut = partition, self._cut(bucket, partition)
        if record.offset <= hour.cut:
            if hour.first_offset < 0:
                hour.first_offset = record.offset
            hour.last_offset = record.offset
            name = (usage.provider, usage.model)
            before = hour.lines.get(name)
            hour.lines[name] = usage.counted if before is None else before.plus(usage.counted)
        else:
            due = hour.dues.setdefault(self.watermarks.due_ms(partition, bucket.start_ms), Due(at(record)))
            due.counted = due.counted.plus(usage.counted)
        self.watermarks.note(partition, usage.time_ms, self.intake.has_read(record))

    def _cut(self, bucket: Bucket, partition: int) -> int:
        """The last offset of a partition that the bucket's newest statement must count."""
        chain = self.chains.get(bucket)
        if chain is None:
            return -1
        covered = chain.latest.data.coverage
        if covered.partition == partition or not self.homes.moved(bucket.team):
            return covered.last_offset
        return EVERYTHING if self.homes.is_former(bucket.team, partition) else -1

    def settle(self, bucket: Bucket, hour: Hour) -> None:
        """Whether the events that no statement counts may still be waiting for one."""
        waiting, report = 0, self.report
        watermark_ms = self.watermarks.reached.get(self.homes.present(bucket.team, hour.partition), -1)
        for due_ms, due in hour.dues.items():
            count = due.counted.requests
            if watermark_ms >= due_ms:
                report.lost.add(due.first, f"{count} events of {bucket} from here on are on no bill", count)
                report.sums(bucket.start_ms, LEFT).add(count, due.counted.amounts(bucket.currency, "total_tokens"))
            else:
                waiting += count
                report.add_money("waiting", bucket.currency, due.counted.cost)
        report.waiting += waiting
        report.numbers["buckets_waiting"] += waiting > 0

    def compare(self, bucket: Bucket, chain: Chain) -> None:
        """The newest statement of a bucket against the recomputed hour."""
        stated, report = chain.latest, self.report
        covered = stated.data.coverage
        hour = self.hours.get(bucket, Hour(-1, -1))
        start = self.sides.start(USAGE_TOPIC, covered.partition)
        if self.homes.moved(bucket.team) and hour.first_offset != covered.first_offset:
            start = max(start, self.sides.start(USAGE_TOPIC, self.homes.root(bucket.team, -1)))
        if covered.first_offset < start or bucket.start_ms < self.judged_from_ms:
            report.out_of_reach += 1
            return
        counted = total(hour.lines.values())
        for side, sums in ((LEFT, counted), (RIGHT, stated.data.totals)):
            report.sums(bucket.start_ms, side).add(sums.requests, sums.amounts(bucket.currency, "total_tokens"))
        name = f"{bucket} revision {stated.data.revision}"
        if counted.requests == 0 < covered.events:
            report.wrong.add(stated.where, f"{name}: no event of this bucket is in the log")
        elif report.counts_agree(stated.where, f"{name}: counted events:", covered.events, counted.requests):
            if self.homes.moved(bucket.team) and self.homes.problem(bucket.team, covered.partition) is None:
                hour.partition = covered.partition  # either of its homes may have stated it
            differing = list(self._differences(chain, hour, counted))
            if differing:
                report.wrong.add(stated.where, f"{name}: {'; '.join(differing)}")

    def _differences(self, chain: Chain, hour: Hour, counted: Totals) -> Iterator[str]:
        stated = chain.latest
        for name in Totals.__struct_fields__:
            said, is_so = getattr(stated.data.totals, name), getattr(counted, name)
            if said != is_so:
                yield f"{name} is {said}, must be {is_so}"
        yield from lines_differ(stated.lines, hour.lines, self.lines_min)
        if chain.whole and chain.deltas != counted:
            yield "the deltas of all revisions do not sum to it"
        must = (USAGE_TOPIC, hour.partition, hour.first_offset, hour.last_offset, counted.requests)
        covered = astuple(stated.data.coverage)
        if covered != must and counted.requests:  # an hour whose usage went to another org covers nothing
            yield f"coverage is {covered}, must be {must}"


def audit(sides: Sides, lines_min: int = LINES_MIN) -> None:
    """Check bills against usage and dead letters; each is read once, in the order dead letters, bills, usage.

    Where usage is read from a moment on (`sides.since_ms`), only hours of which no event can have come before are
    judged: none is further ahead of its record than `FUTURE_MS`. `lines_min`: a bill with fewer lines of their own has
    none of the others.
    """
    report: BillsReport = sides.report
    about = _letters(sides.records(LETTERS), report)
    chains = chains_of(sides.records(BILLS_TOPIC), sides.start, report)
    partitions = len(sides.spans.get(USAGE_TOPIC, ()))
    homes = Homes(partitions, [(bucket.team, chain.begun) for bucket, chain in chains.items()])
    intake = Intake(sides, read, about, homes, plausible=plausible)
    judged_from_ms = 0 if sides.since_ms is None else sides.since_ms + FUTURE_MS
    watermarks = Watermarks(sides.grace_ms)
    made = _Audit(sides, report, chains, homes, intake, judged_from_ms, lines_min, watermarks)
    redrives = Redrives()
    first, late = homes.split(redrives.watch(sides.records(USAGE_TOPIC, headers=True)))
    for record in first:
        made.take(record)
    watermarks.floors = homes.floors(watermarks.come)
    for record in late:
        made.take(record)
    for bucket, hour in made.hours.items():
        if bucket.start_ms >= judged_from_ms:
            made.settle(bucket, hour)
    for bucket, chain in chains.items():
        made.compare(bucket, chain)
    intake.unmatched()
    redrives.check(sides.records(RECEIPTS_TOPIC), USAGE_TOPIC, sides.start, report)
    report.compare_hours()
    report.rejected = intake.rejected
    report.numbers.update(events_read=intake.read, unread=intake.unread, duplicates=intake.duplicates)
    report.numbers.update(buckets=len(made.hours), accepted=report.events, events_waiting=report.waiting)
    report.numbers.update(out_of_reach=report.out_of_reach)


def _letters(records: Iterable[Record], report: BillsReport) -> Letters:
    """The dead letters about usage, each group's about a record once."""
    letters = read_letters.gather(records, USAGE_TOPIC, report.wrong)
    for (partition, offset), about in letters.items():
        report.numbers["letters"] += len(about)
        for number, letter in enumerate(about):
            if letter.group in (before.group for before in about[:number]):
                what = f"second dead letter of {letter.group} about partition {partition}, offset {offset}"
                report.doubled.add(letter.where, what)
    return letters


def usage_again(sides: Sides, stated: Iterable[tuple[str, int]]) -> Iterator[tuple[Record, Taken[Usage] | None, bool]]:
    """Each usage record, what it counts, and whether the group has read it: for the other pairs of usage. What is
    wrong with records and dead letters is this pair's. `stated`: team and partition of bills."""
    homes = Homes(len(sides.spans.get(USAGE_TOPIC, ())), stated)
    letters = read_letters.gather(sides.records(LETTERS), USAGE_TOPIC)
    intake = Intake(sides, read, letters, homes, PairReport("", "", ""), plausible)
    for part in homes.split(sides.records(USAGE_TOPIC)):
        for record in part:
            yield record, intake.take(record), intake.has_read(record)


def covered(event: dict[str, Any] | Poison) -> Iterator[tuple[str, int]]:
    """Team and partition of a bill."""
    if isinstance(event, Poison) or event.get("type") not in (HOURLY, REVISED):
        return
    data = event.get("data")
    said = data.get("coverage") if isinstance(data, dict) else None
    if isinstance(said, dict) and said.get("topic") == USAGE_TOPIC and isinstance(said.get("partition"), int):
        yield str(event.get("team_id")), said["partition"]


PAIR = Pair(
    name="usage=bills",
    group=GROUP,
    source=USAGE_TOPIC,
    topics=(BILLS_TOPIC, LETTERS, RECEIPTS_TOPIC),
    judge=audit,
    right=BILLS_TOPIC,
    report=BillsReport,
    optional=(RECEIPTS_TOPIC,),
    bounded=True,
)
