"""An independent check of every settlement: recompute all from the raw metering, compare, explain each difference.

Which calls a settlement counts follows from what it says: those of its account that arrived up to the last one it
covers, in hours that end with its period or before, and are in no earlier settlement. So neither grace nor the wall
clock matters. What is in no settlement must wait in the group's table, as the table was at one moment: settled, pending
and open calls together are the accepted ones, each once. An event id counts once in a partition's whole log here.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from streamapp.kafka.log.reader import Record
from streamapp.settings import Settings
from streamapp.verify import metering as verify_metering
from streamapp.verify.accounts import CHANGELOG_TOPIC, Count, Counts, Held, Who, agree, gather
from streamapp.verify.metering import Call
from streamapp.verify.pair import PairReport, Sums
from streamapp.verify.reading import Cluster, LogReader, OrgOf
from streamapp.verify.settled import RPC_SETTLED, Settled, settled
from streamapp.verify.usage import EXACT, ZERO, Poison, parse

NAME = "metering=settlements"
METERING_TOPIC = "agent_rpc_metering"
BILLS_TOPIC = "billing_events"
LETTERS_TOPIC = "dead_letter"
GROUP = "rpc-billing"
METHODS_MIN = 10  # the lowest limit of methods that the settings take

Starts = Mapping[tuple[str, int], int]
"""(topic, partition) → where its log begins."""


class Counted(NamedTuple):
    """An accepted call, where it lies."""

    offset: int
    call: Call


@dataclass
class _Log:
    """What has been read so far."""

    report: PairReport
    letters: dict[tuple[int, int], str]  # (partition, offset) → reason
    org_of: OrgOf
    methods_min: int
    committed: Mapping[int, int] | None
    calls: dict[tuple[int, Who], list[Counted]] = field(default_factory=lambda: defaultdict(list))
    seen: dict[tuple[int, str], bytes] = field(default_factory=dict)


def check_settlements(settings: Settings, cluster: Cluster | None = None) -> PairReport:
    """The pair metering=settlements (`verify_pair.Check`)."""
    logs = LogReader(settings.kafka, METERING_TOPIC, cluster=cluster)
    committed = logs.committed(GROUP, METERING_TOPIC)
    topics = (CHANGELOG_TOPIC, BILLS_TOPIC, LETTERS_TOPIC, METERING_TOPIC)
    parts = {topic: logs.spans(topic) for topic in topics}
    starts = {(topic, number): span.start for topic, all_ in parts.items() for number, span in all_.items()}
    refused = logs.refused(GROUP, METERING_TOPIC, parts[LETTERS_TOPIC])
    changelog, bills, letters = (logs.records(topic, parts[topic]) for topic in topics[:3])
    metering = logs.records(METERING_TOPIC, parts[METERING_TOPIC], refused=refused)
    org_of = logs.org_of(settings.directory)
    return audit(changelog, bills, letters, metering, org_of=org_of, starts=starts, committed=committed)


def audit(
    changelog: Iterable[Record],
    bills: Iterable[Record],
    letters: Iterable[Record],
    metering: Iterable[Record],
    *,
    org_of: OrgOf = lambda team: None,
    starts: Starts | None = None,
    methods_min: int = METHODS_MIN,
    committed: Mapping[int, int] | None = None,
) -> PairReport:
    """Compare settlements with the metered calls; each log in offset order within a partition, read once, in the order
    of the arguments. `org_of`: the org of a team, for calls without one. `starts`: where retention has moved a log's
    start from 0. `methods_min`: as for `verify_accounts.agree`. `committed`: partition → offset, asked for before
    anything else; a record behind it that has no letter may get one. None: all was read."""
    report = PairReport(NAME, METERING_TOPIC, "the settlements")
    tables = gather(changelog)
    stated = _stated(bills, report)
    log = _Log(report, _refused(letters), org_of, methods_min, committed)
    for record in metering:
        _take(record, log)
    homes: dict[Who, set[int]] = defaultdict(set)
    for partition, who in {*log.calls, *stated, *_known(tables)}:
        homes[who].add(partition)
    for who, partitions in sorted(homes.items()):
        chain = [one for partition in partitions for one in stated.get((partition, who), [])]
        if len(partitions) > 1:
            _settle_moved(who, chain, {number: tables.get(number, Held()) for number in partitions}, log, starts or {})
            continue
        (partition,) = partitions
        _settle((partition, who), chain, tables.get(partition, Held()), log, starts or {})
    return report


def _stated(bills: Iterable[Record], report: PairReport) -> dict[tuple[int, Who], list[Settled]]:
    """(partition of the calls, account) → its settlements in the order of their periods."""
    found: dict[tuple[int, Who], list[Settled]] = defaultdict(list)
    seen: dict[str, bytes | None] = {}
    for record in bills:
        where = f"{record.topic}[{record.partition}]@{record.offset}"
        event = parse(record.value or b"")
        if isinstance(event, Poison) or event.get("type") != RPC_SETTLED:
            continue  # bills are another pair's
        one = settled(record, event)
        if isinstance(one, str):
            report.wrong.add(where, one)
        elif one.id in seen:
            findings = report.doubled if seen[one.id] == record.value else report.wrong
            findings.add(where, f"settlement {one.id} of {one.who} stands in the log twice")
        else:
            seen[one.id] = record.value
            for problem in one.problems:
                report.wrong.add(where, f"settlement of {one.who}: {problem}")
            found[one.partition, one.who].append(one)
    for chain in found.values():
        chain.sort(key=lambda one: one.end_ms)
    return found


def _refused(letters: Iterable[Record]) -> dict[tuple[int, int], str]:
    refused: dict[tuple[int, int], str] = {}
    for record in letters:
        event = parse(record.value or b"")
        data = None if isinstance(event, Poison) else event.get("data")
        if isinstance(data, dict) and (data.get("group"), data.get("source_topic")) == (GROUP, METERING_TOPIC):
            refused[data["source_partition"], data["source_offset"]] = str(data.get("reason"))
    return refused


def _take(record: Record, log: _Log) -> None:
    """One metered call, in log order."""
    where, report = f"{record.topic}[{record.partition}]@{record.offset}", log.report
    reason = log.letters.get((record.partition, record.offset))
    call = verify_metering.read(record)
    if reason is not None:
        if not isinstance(call, Poison) and reason in verify_metering.BY_ITSELF:
            report.wrong.add(where, f"was refused as {reason}, and can be settled")
        return
    if isinstance(call, Poison):
        _missing(record, f"cannot be settled and has no dead letter: {call.error}", log)
        return
    org = call.org or log.org_of(call.team or "")
    if org is None:
        _missing(record, f"no org is known for team {call.team}, and it has no dead letter", log)
        return
    digest = hashlib.blake2b(record.value or b"", digest_size=16).digest()
    before = log.seen.get((record.partition, call.id))
    if before is None:
        log.seen[record.partition, call.id] = digest
        who = Who(org, call.agent, call.consumer, call.currency)
        log.calls[record.partition, who].append(Counted(record.offset, call))
        report.events += 1
    elif before != digest:
        _missing(record, f"has the id {call.id} of an earlier call, other bytes and no dead letter", log)


def _missing(record: Record, what: str, log: _Log) -> None:
    """A record that must have a letter and has none; behind what the group had committed, it is waiting for one."""
    if log.committed is None or record.offset < log.committed.get(record.partition, 0):
        log.report.lost.add(f"{record.topic}[{record.partition}]@{record.offset}", what)
    else:
        log.report.waiting += 1


def _known(tables: Mapping[int, Held]) -> Iterable[tuple[int, Who]]:
    return ((partition, who) for partition, held in tables.items() for who in {*held.waiting, *held.settled_until_ms})


def _settle(account: tuple[int, Who], chain: list[Settled], held: Held, log: _Log, starts: Starts) -> None:
    """One account: each settlement against the calls that it must count, then what waits against the table."""
    partition, who = account
    report, start = log.report, starts.get((METERING_TOPIC, partition), 0)
    left = log.calls.get(account, [])
    table_left = left
    known_until_ms = held.settled_until_ms.get(who, -1)
    for one in chain:
        counted = [each for each in left if _belongs(each, one)]
        left = [each for each in left if not _belongs(each, one)]
        if one.end_ms <= max(known_until_ms, held.expired_ms):
            table_left = left
        if one.first_offset < start:
            report.out_of_reach += 1
        else:
            _compare(one, counted, report, log.methods_min)
        _note(report, counted, stated=True)
    _note(report, left, stated=False)
    report.waiting += len(left)
    if known_until_ms >= 0 and (not chain or chain[-1].end_ms < known_until_ms):
        report.lost.add(str(who), f"the table says settled until {known_until_ms}, and no such settlement is there")
    if held.first_offsets.get(who, start) >= start:
        _compare_table(who, [each for each in table_left if each.offset < held.next_offset], held, log)


def _settle_moved(who: Who, chain: list[Settled], held: Mapping[int, Held], log: _Log, starts: Starts) -> None:
    """The same for an account whose calls lie on several partitions, because the topic has got more: what is settled
    and what waits must be its calls, each once. Which call is in which settlement is not to be seen: offsets of two
    partitions have no order."""
    report = log.report
    calls: dict[str, bool] = {}  # id → whether the table has counted it
    counted: list[Counted] = []
    for partition, table in sorted(held.items()):
        if starts.get((METERING_TOPIC, partition), 0):
            report.out_of_reach += len(chain)
            return
        for each in log.calls.get((partition, who), ()):
            known = each.offset < table.next_offset
            if each.call.id in calls:
                report.events -= 1  # it came again, on the other partition
            if known and not calls.get(each.call.id):
                counted.append(each)
            calls[each.call.id] = known or calls.get(each.call.id, False)
    until_ms = max(max(table.settled_until_ms.get(who, -1), table.expired_ms) for table in held.values())
    waiting = _sum(table.waiting.get(who, {}) for table in held.values())
    has = _sum([waiting, *(one.methods for one in chain if one.end_ms <= until_ms)])
    _note(report, counted, stated=not waiting)
    report.waiting += sum(one.calls for one in waiting.values()) + len(calls) - len(counted)
    _balance(who, "are settled or wait", _counts(counted), has, log)


def _sum(several: Iterable[Counts]) -> Counts:
    counts: Counts = {}
    for one in several:
        for method, count in one.items():
            counts[method] = counts.get(method, Count()).plus(*count)
    return counts


def _belongs(each: Counted, one: Settled) -> bool:
    return each.offset <= one.last_offset and each.call.hour_ms < one.end_ms


def _compare(one: Settled, counted: list[Counted], report: PairReport, methods_min: int) -> None:
    name = f"settlement {one.id} of {one.who}"
    if one.calls < len(counted):
        report.lost.add(one.where, f"{name} counts {one.calls} of {len(counted)} calls", len(counted) - one.calls)
    elif one.calls > len(counted):
        extra = one.calls - len(counted)
        report.doubled.add(one.where, f"{name} counts {one.calls} calls, there are {len(counted)}", extra)
    elif counted:
        methods = _counts(counted)
        if not agree(one.methods, methods, methods_min):
            report.wrong.add(one.where, f"{name}: methods are {one.methods}, must be {methods}")
        covered = (one.topic, one.first_offset, one.last_offset)
        must = (METERING_TOPIC, counted[0].offset, counted[-1].offset)
        if covered != must:
            report.wrong.add(one.where, f"{name}: coverage is {covered}, must be {must}")
        first_ms = min(each.call.hour_ms for each in counted)
        if one.start_ms != first_ms:
            report.wrong.add(one.where, f"{name}: period_start is {one.start_ms}, must be {first_ms}")


def _compare_table(who: Who, left: list[Counted], held: Held, log: _Log) -> None:
    """What is in no settlement must wait in the table, and nothing else."""
    _balance(who, "wait for a settlement", _counts(left), held.waiting.get(who, {}), log)


def _balance(who: Who, what: str, must: Counts, has: Counts, log: _Log) -> None:
    report = log.report
    calls, found = (sum(one.calls for one in counts.values()) for counts in (must, has))
    if found < calls:
        report.lost.add(str(who), f"{found} calls {what}, there are {calls}", calls - found)
    elif found > calls:
        report.doubled.add(str(who), f"{found} calls {what}, there are {calls}", found - calls)
    elif not agree(has, must, log.methods_min):
        report.wrong.add(str(who), f"{has} {what}, must be {must}")


def _counts(counted: Iterable[Counted]) -> Counts:
    counts: Counts = {}
    for _, call in counted:
        counts[call.method] = counts.get(call.method, Count()).plus(1, call.cost)
    return counts


def _note(report: PairReport, counted: Iterable[Counted], *, stated: bool) -> None:
    """The calls' hours: what was metered, and what of it is settled."""
    for _, call in counted:
        metered, settled_ = report.hours.get(call.hour_ms, (Sums(0, {}), Sums(0, {})))
        metered = _plus(metered, call)
        report.hours[call.hour_ms] = (metered, _plus(settled_, call) if stated else settled_)


def _plus(sums: Sums, call: Call) -> Sums:
    name = f"cost {call.currency}"
    before: Decimal = sums.amounts.get(name, ZERO)
    return Sums(sums.events + 1, {**sums.amounts, name: EXACT.add(before, call.cost)})
