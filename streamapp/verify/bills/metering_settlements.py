"""The pair metering=settlements: recompute every settlement from the raw metering, compare, explain each difference.

Which calls a settlement counts follows from what it says: those of its account that arrived up to the last one it
covers, in hours that end with its period or before, and are in no earlier settlement. So neither grace nor the wall
clock matters. A settlement that a later one corrects is no difference. What is in no settlement must wait in the
group's table, as the table was at one moment: settled, pending and open calls together are the accepted ones, each
once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from streamapp.kafka.log.reader import Record
from streamapp.verify.engine import Pair, Sides
from streamapp.verify.intake import Intake, Once
from streamapp.verify.read import letters as read_letters
from streamapp.verify.read.event import EXACT, at, hour_of
from streamapp.verify.read.letters import LETTERS
from streamapp.verify.read.metering import Call, read
from streamapp.verify.read.settlement import (
    CHANGELOG_TOPIC,
    Count,
    Counts,
    Held,
    Settled,
    Who,
    agree,
    gather,
    settled,
    summed,
)
from streamapp.verify.report import LEFT, RIGHT, PairReport, Side

METERING_TOPIC = "agent_rpc_metering"
BILLS_TOPIC = "billing_events"
GROUP = "rpc-billing"


class Counted(NamedTuple):
    """An accepted call, where it is."""

    offset: int
    call: Call


Calls = dict[tuple[int, Who], list[Counted]]
"""(partition, account) → its calls, in the order of the log."""


@dataclass
class _Audit:
    """Everything that was read."""

    sides: Sides
    calls: Calls = field(default_factory=lambda: defaultdict(list))

    @property
    def report(self) -> PairReport:
        report: PairReport = self.sides.report
        return report

    def settle(self, account: tuple[int, Who], chain: list[Settled], held: Held) -> None:
        """One account: each settlement against the calls that it must count, then what waits against the table."""
        partition, who = account
        report, start = self.report, self._start(partition)
        left = self.calls.get(account, [])
        table_left = left
        known_until_ms = held.settled_until_ms.get(who, -1)
        corrected = self._corrected(left, chain, held.carried.get(who, {}), start)
        for one in chain:
            counted = [each for each in left if _belongs(each, one)]
            left = [each for each in left if not _belongs(each, one)]
            if one.end_ms <= max(known_until_ms, held.expired_ms):
                table_left = left
            if one.data.coverage.first_offset < start:
                report.out_of_reach += 1
            elif not corrected or agree(one.data.methods, _counts(counted)):
                self._compare(one, counted)
            self._note(counted, LEFT, RIGHT)
        self._note(left, LEFT)
        report.waiting += len(left)
        if known_until_ms >= 0 and (not chain or chain[-1].end_ms < known_until_ms):
            report.lost.add(str(who), f"the table says settled until {known_until_ms}, and no such settlement is there")
        if held.first_offsets.get(who, start) >= start:  # what is in no settlement must wait in the table
            must = [each for each in table_left if each.offset < held.next_offset]
            self._balance(who, "calls that wait for a settlement:", _counts(must), held.waiting.get(who, {}))

    def settle_moved(self, who: Who, chain: list[Settled], held: Mapping[int, Held]) -> None:
        """The same for an account whose calls are on several partitions, because the topic has got more: what is
        settled and what waits must be its calls, each once. Which call is in which settlement cannot be seen: offsets
        of two partitions have no order."""
        report = self.report
        calls: dict[str, bool] = {}  # id → whether the table has counted it
        counted: list[Counted] = []
        for partition, table in sorted(held.items()):
            if self._start(partition):
                report.out_of_reach += len(chain)
                return
            for each in self.calls.get((partition, who), ()):
                known = each.offset < table.next_offset
                if each.call.id in calls:
                    report.events -= 1  # it came again, on the other partition
                if known and not calls.get(each.call.id):
                    counted.append(each)
                calls[each.call.id] = known or calls.get(each.call.id, False)
        until_ms = max(max(table.settled_until_ms.get(who, -1), table.expired_ms) for table in held.values())
        waiting = summed(table.waiting.get(who, {}) for table in held.values())
        has = summed([waiting, *(one.data.methods for one in chain if one.end_ms <= until_ms)])
        self._note(counted, LEFT, *((RIGHT,) if not waiting else ()))
        report.waiting += sum(one.count for one in waiting.values()) + len(calls) - len(counted)
        self._balance(who, "calls that are settled or wait:", _counts(counted), has)

    def _corrected(self, left: Sequence[Counted], chain: Sequence[Settled], waiting: Counts, start: int) -> bool:
        """Whether settlements were wrong, and what they should have stated is carried in later ones or into the next: a
        recomputation did that. What was paid stays as it was."""
        carried = summed([waiting, *(one.data.carried for one in chain)])
        missing: list[Counts] = []
        for one in chain if carried else ():
            counted = [each for each in left if _belongs(each, one)]
            left = [each for each in left if not _belongs(each, one)]
            if one.data.coverage.first_offset >= start:
                missing += [_counts(counted), {name: _less(count) for name, count in one.data.methods.items()}]
        return bool(carried) and _some(summed(missing)) == _some(carried)

    def _start(self, partition: int) -> int:
        return self.sides.start(METERING_TOPIC, partition)

    def _compare(self, one: Settled, counted: list[Counted]) -> None:
        report, name = self.report, f"settlement {one.id} of {one.who}"
        if (
            not report.counts_agree(one.where, f"{name}: counted calls:", one.data.request_count, len(counted))
            or not counted
        ):
            return
        methods = _counts(counted)
        if not agree(one.data.methods, methods):
            report.wrong.add(one.where, f"{name}: methods are {one.data.methods}, must be {methods}")
        covered = (one.data.coverage.topic, one.data.coverage.first_offset, one.data.coverage.last_offset)
        must = (METERING_TOPIC, counted[0].offset, counted[-1].offset)
        if covered != must:
            report.wrong.add(one.where, f"{name}: coverage is {covered}, must be {must}")
        first_ms = hour_of(min(each.call.time_ms for each in counted))
        if one.start_ms != first_ms:
            report.wrong.add(one.where, f"{name}: period_start is {one.start_ms}, must be {first_ms}")

    def _balance(self, who: Who, what: str, must: Counts, has: Counts) -> None:
        found, calls = (sum(one.count for one in counts.values()) for counts in (has, must))
        if self.report.counts_agree(str(who), what, found, calls) and not agree(has, must):
            self.report.wrong.add(str(who), f"{what} {has}, must be {must}")

    def _note(self, counted: Iterable[Counted], *sides: Side) -> None:
        """The calls' hours: what was metered (LEFT), and what of it is settled (RIGHT)."""
        for _, call in counted:
            for side in sides:
                self.report.sums(call.time_ms, side).add(1, {f"cost {call.currency}": call.cost})


def audit(sides: Sides) -> None:
    """Compare settlements with the metered calls; each topic is read once."""
    report: PairReport = sides.report
    tables = gather(sides.records(CHANGELOG_TOPIC))
    stated = _stated(sides.records(BILLS_TOPIC), report)
    intake = Intake(sides, read, read_letters.gather(sides.records(LETTERS), METERING_TOPIC))
    made = _Audit(sides)
    for record in sides.records(METERING_TOPIC):
        taken = intake.take(record)
        if taken is not None and taken.is_new:
            call = taken.event
            who = Who(taken.org, call.agent, call.consumer, call.currency)
            made.calls[record.partition, who].append(Counted(record.offset, call))
            report.events += 1
    report.waiting += intake.unlettered
    homes: dict[Who, set[int]] = defaultdict(set)
    for partition, who in {*made.calls, *stated, *_known(tables)}:
        homes[who].add(partition)
    for who, partitions in sorted(homes.items()):
        chain = [one for partition in partitions for one in stated.get((partition, who), [])]
        held = {number: tables.get(number, Held()) for number in partitions}
        if len(partitions) > 1:
            made.settle_moved(who, chain, held)
        else:
            ((partition, table),) = held.items()
            made.settle((partition, who), chain, table)


def _stated(bills: Iterable[Record], report: PairReport) -> dict[tuple[int, Who], list[Settled]]:
    """(partition of the calls, account) → its settlements in the order of their periods."""
    found: dict[tuple[int, Who], list[Settled]] = defaultdict(list)
    once = Once(report)
    for record in bills:
        one = settled(record)
        if one is None:
            continue  # bills are another pair's
        if isinstance(one, str):
            report.wrong.add(at(record), one)
        elif once.is_new(one.id, record, "settlement", one.id, "of", one.who):
            for problem in one.problems:
                report.wrong.add(one.where, f"settlement of {one.who}: {problem}")
            found[one.data.coverage.partition, one.who].append(one)
    for chain in found.values():
        chain.sort(key=lambda one: one.end_ms)
    return found


def _known(tables: Mapping[int, Held]) -> Iterator[tuple[int, Who]]:
    return ((partition, who) for partition, held in tables.items() for who in {*held.waiting, *held.settled_until_ms})


def _belongs(each: Counted, one: Settled) -> bool:
    return each.offset <= one.data.coverage.last_offset and hour_of(each.call.time_ms) < one.end_ms


def _less(count: Count) -> Count:
    return Count(-count.count, EXACT.minus(count.cost))


def _some(counts: Counts) -> Counts:
    return {name: count for name, count in counts.items() if count.count or count.cost}


def _counts(counted: Iterable[Counted]) -> Counts:
    return summed({call.method: Count(1, call.cost)} for _, call in counted)


PAIR = Pair(
    name="metering=settlements",
    group=GROUP,
    source=METERING_TOPIC,
    topics=(CHANGELOG_TOPIC, BILLS_TOPIC, LETTERS),
    judge=audit,
    right="the settlements",
)
