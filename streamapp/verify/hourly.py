"""Pairs of events and hourly statements: every statement of a table is recomputed from the raw events, whatever the
table counts. A pair declares how a check reads an event (`Fact`) and which types the statements have.

What a statement counts follows from what it says: the bucket's records up to the last offset it covers. An event that
no statement counts waits for a mark (decision 9); when the group has surely read past that mark, the event is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from streamapp.kafka.log.reader import Record
from streamapp.verify.engine import Pair, Sides
from streamapp.verify.intake import Intake, Once, Watermarks
from streamapp.verify.read import letters as read_letters
from streamapp.verify.read.event import HOUR_MS, Poison, at, hour_of, parse, time_ms, time_text
from streamapp.verify.read.letters import LETTERS
from streamapp.verify.read.statement import id_of
from streamapp.verify.read.totals import Coverage, amount
from streamapp.verify.report import LEFT, RIGHT, PairReport, Sums

BILLS = "billing_events"

Amounts = dict[str, Decimal | int]
"""Name → what is counted. The parts of an object in `totals` are named with a point: `sizes.512x512`."""


class Fact(NamedTuple):
    """One valid event, as far as statements depend on it. `names` are the values of `Statement.names`."""

    id: str
    time_ms: int
    team: str | None
    org: str | None
    names: tuple[str, ...]
    amounts: Amounts


class Bucket(NamedTuple):
    """What a statement is about: an hour of an org and of whatever `names` name."""

    org: str
    names: tuple[str, ...]
    start_ms: int

    def __str__(self) -> str:
        return f"{'/'.join((self.org, *self.names))} {time_text(self.start_ms)}"


class Stated(NamedTuple):
    where: str
    revision: int
    totals: Amounts
    covered: Coverage


@dataclass
class Chain:
    """The statements of a bucket, up to the newest."""

    latest: Stated
    deltas: Sums
    whole: bool  # from revision 0 on; else the beginning has left the log


@dataclass
class Counted:
    """The events of a bucket: those that its newest statement must count, and when the others are due."""

    partition: int
    astray: bool = False  # they are on two partitions: offsets of two partitions have no order
    first: int = -1
    last: int = -1
    sums: Sums = field(default_factory=Sums)
    dues: list[tuple[int, str]] = field(default_factory=list)  # watermark, where


@dataclass(frozen=True)
class Statements:
    """How the statements of a table look. `kinds`: the event types of revision 0 and of later ones. `names`: the fields
    of `data` that name a bucket, in the order of the id (decision 12)."""

    kinds: tuple[str, str]
    names: tuple[str, ...]
    read: Callable[[Record], Fact | Poison]

    def judge(self, sides: Sides) -> None:
        """Compare what the events come to with what was stated; each topic is read once."""
        report: PairReport = sides.report
        chains = self._chains(sides)
        letters = read_letters.gather(sides.records(LETTERS), sides.pair.source)
        intake: Intake[Fact] = Intake(sides, self.read, letters)
        made = _Audit(report, chains, Watermarks(sides.grace_ms))
        for record in sides.records(sides.pair.source):
            taken = intake.take(record)
            if taken is not None and taken.is_new:
                made.count(record, taken.event, taken.org, intake.has_read(record))
        report.waiting += intake.unlettered
        made.settle(sides)
        intake.unmatched()

    def _chains(self, sides: Sides) -> dict[Bucket, Chain]:
        report: PairReport = sides.report
        chains: dict[Bucket, Chain] = {}
        once = Once(report)
        for record in sides.records(BILLS):
            event = parse(record.value)
            if isinstance(event, Poison) or event.get("type") not in self.kinds:
                continue  # another pair's
            try:
                bucket, one, delta, problems = self._stated(record, event, sides.pair)
            except (KeyError, TypeError, ValueError, ArithmeticError) as error:
                report.wrong.add(at(record), f"is not a statement that can be read: {error!r}")
                continue
            before = chains.get(bucket)
            if not once.is_new((bucket, one.revision), record, bucket, "revision", one.revision):
                continue
            must = 0 if before is None else before.latest.revision + 1
            begins = before is None and sides.start(BILLS, record.partition) > 0
            for problem in (*problems, *([] if one.revision == must or begins else [f"revision {must} is missing"])):
                report.wrong.add(one.where, f"{bucket} revision {one.revision}: {problem}")
            deltas = Sums() if before is None else before.deltas
            deltas.add(0, delta)
            chains[bucket] = Chain(one, deltas, before.whole if before is not None else one.revision == 0)
        return chains

    def _stated(
        self, record: Record, event: dict[str, Any], pair: Pair
    ) -> tuple[Bucket, Stated, Amounts, Iterable[str]]:
        data = event["data"]
        names = tuple(str(data[name]) for name in self.names)
        bucket = Bucket(event["org_id"], names, time_ms(data["period_start"]))
        revision = int(data["revision"])
        one = Stated(at(record), revision, _amounts(data["totals"]), msgspec.convert(data["coverage"], Coverage))
        rules = (
            (event["id"] == data["billing_id"] == self._id(bucket, revision), "id is not the one it must have"),
            (event["type"] == self.kinds[revision > 0], f"type is {event['type']}"),
            (data["supersedes"] == (self._id(bucket, revision - 1) if revision else None), "supersedes another one"),
            (event["source"] == pair.group, f"source is not {pair.group}"),
            (one.covered.topic == pair.source, f"coverage is not of {pair.source}"),
            (record.key == bucket.org.encode(), "the record key is not the org_id"),
            (bucket.start_ms % HOUR_MS == 0, "period_start is not a full hour"),
            (time_ms(data["period_end"]) == bucket.start_ms + HOUR_MS, "period_end is not one hour later"),
        )
        return bucket, one, _amounts(data["delta"]), [sentence for holds, sentence in rules if not holds]

    def _id(self, bucket: Bucket, revision: int) -> str:
        what: tuple[str | int, ...] = (
            self.kinds[revision > 0],
            bucket.org,
            *bucket.names,
            time_text(bucket.start_ms),
            revision,
        )
        return id_of(bucket.start_ms + HOUR_MS, what)


@dataclass
class _Audit:
    """What has been read of the events so far."""

    report: PairReport
    chains: dict[Bucket, Chain]
    watermarks: Watermarks
    buckets: dict[Bucket, Counted] = field(default_factory=dict)

    def count(self, record: Record, fact: Fact, org: str, has_read: bool) -> None:
        partition, start_ms = record.partition, hour_of(fact.time_ms)
        bucket = Bucket(org, fact.names, start_ms)
        counted, chain = self.buckets.setdefault(bucket, Counted(partition)), self.chains.get(bucket)
        counted.astray |= partition != counted.partition
        self.report.events += 1
        if chain is not None and record.offset <= chain.latest.covered.last_offset:
            counted.first = record.offset if counted.first < 0 else counted.first
            counted.last = record.offset
            counted.sums.add(1, fact.amounts)
        else:
            counted.dues.append((self.watermarks.due_ms(partition, start_ms), at(record)))
        self.watermarks.note(partition, fact.time_ms, has_read)

    def settle(self, sides: Sides) -> None:
        """Each bucket: its newest statement against its events, and whether the others may still wait for one."""
        report = self.report
        for bucket in {**self.chains, **self.buckets}:
            chain, counted = self.chains.get(bucket), self.buckets.get(bucket, Counted(-1))
            covered = None if chain is None else chain.latest.covered
            begun = covered is None or covered.first_offset >= sides.start(sides.pair.source, covered.partition)
            if counted.astray or not begun:
                report.out_of_reach += 1
                continue
            for due_ms, where in counted.dues:
                if self.watermarks.reached.get(counted.partition, -1) >= due_ms:
                    report.lost.add(where, f"the event of {bucket} is on no statement")
                else:
                    report.waiting += 1
            if chain is not None:
                self._compare(bucket, chain, counted)

    def _compare(self, bucket: Bucket, chain: Chain, counted: Counted) -> None:
        stated, report = chain.latest, self.report
        name = f"{bucket} revision {stated.revision}"
        report.sums(bucket.start_ms, LEFT).add(counted.sums.events, _plain(counted.sums.amounts))
        report.sums(bucket.start_ms, RIGHT).add(stated.covered.events, _plain(stated.totals))
        if report.counts_agree(stated.where, f"{name}: counted events:", stated.covered.events, counted.sums.events):
            for problem in self._differences(chain, counted):
                report.wrong.add(stated.where, f"{name}: {problem}")

    @staticmethod
    def _differences(chain: Chain, counted: Counted) -> Iterator[str]:
        stated, amounts = chain.latest, counted.sums.amounts
        for name in sorted({*stated.totals, *amounts}):
            said, is_so = stated.totals.get(name, 0), amounts.get(name, 0)
            if said != is_so:
                yield f"{name} is {said}, must be {is_so}"
        if chain.whole and _plain(chain.deltas.amounts) != _plain(stated.totals):
            yield "the deltas of all revisions do not sum to it"
        covered = stated.covered.partition, stated.covered.first_offset, stated.covered.last_offset
        must = counted.partition, counted.first, counted.last
        if covered != must:
            yield f"coverage is {covered}, must be {must}"


def _amounts(totals: dict[str, Any], head: str = "") -> Amounts:
    """The amounts of a statement's `totals` or `delta`. Raises ValueError."""
    found: Amounts = {}
    for name, value in totals.items():
        if isinstance(value, dict):
            found |= _amounts(value, f"{head}{name}.")
        else:
            found[head + name] = amount(value)
    return found


def _plain(amounts: Amounts) -> Amounts:
    """Without what is zero."""
    return {name: value for name, value in amounts.items() if value}


def pair(
    name: str,
    group: str,
    source: str,
    *,
    kinds: tuple[str, str],
    names: tuple[str, ...],
    read: Callable[[Record], Fact | Poison],
) -> Pair:
    """The pair of a group's source and its statements on `billing_events`; see `Statements`."""
    return Pair(
        name=name,
        group=group,
        source=source,
        topics=(BILLS, LETTERS),
        judge=Statements(kinds, names, read).judge,
        right=BILLS,
    )
