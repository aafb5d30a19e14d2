"""An independent check of every bill: recompute all from the raw logs, compare, explain each difference.

Nothing of the worker is used: not its arithmetic, not its decoder, not its idea of time. Slow where that makes it
plain. Three kinds of fault: *lost* (events that should stand on a bill and do not, poison without its letter),
*doubled* (events, bills or letters that count more than once) and *wrong* (whatever else differs).

An event id counts once in a partition's whole log here. The worker need not remember an id longer than 24 hours after
its hour closed (decision 13): a repeat that comes later and is billed again shows as doubled, because it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from streamapp.kafka.log.reader import Record
from streamapp.verify import bills as verify_bills
from streamapp.verify import letters as verify_letters
from streamapp.verify.bills import Chain
from streamapp.verify.homes import Homes
from streamapp.verify.hours import Due, Hour, HourSums, Reach, add
from streamapp.verify.letters import Letters
from streamapp.verify.reading import OrgOf
from streamapp.verify.report import Report
from streamapp.verify.statement import Bucket, Statement, Totals, total
from streamapp.verify.usage import EXACT, FUTURE_MS, HOUR_MS, ZERO, Poison, Usage, parse, read

USAGE_TOPIC = "llm_usage"
BILLS_TOPIC = "billing_events"
LETTERS_TOPIC = "dead_letter"
GROUP = "billing-agg"
MARK_MS = 300_000  # late events are stated at multiples of this
LINES_MIN = 10  # the lowest limit of lines that the settings take
EVERYTHING = 1 << 63  # no offset is as high


@dataclass
class _Log:
    """What has been read of the usage topic so far."""

    chains: Mapping[Bucket, Chain]
    letters: Letters
    org_of: OrgOf
    starts: Mapping[tuple[str, int], int]
    grace_ms: int
    group: str
    report: Report
    homes: Homes
    reach: Reach
    judged_from_ms: int
    lines_min: int
    hours: dict[Bucket, Hour] = field(default_factory=dict)
    watermarks: dict[int, int] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)  # partition → behind the last record read
    seen: dict[tuple[int, str], bytes] = field(default_factory=dict)  # (partition, event id) → digest of its bytes
    floors: dict[int, int] = field(default_factory=dict)  # partition → watermark it may have begun with


def audit(
    usage: Iterable[Record],
    bills: Iterable[Record],
    letters: Iterable[Record],
    *,
    grace_ms: int = 300_000,
    org_of: OrgOf = lambda team: None,
    starts: Mapping[tuple[str, int], int] | None = None,
    group: str = GROUP,
    topic: str = USAGE_TOPIC,
    committed: Mapping[int, int] | None = None,
    since_ms: int | None = None,
    lines_min: int = LINES_MIN,
) -> Report:
    """Check `bills` against `usage` and `letters`; each must be in offset order within a partition.

    Read in the order letters, bills, usage, each once. `org_of`: the org of a team, for events without one. `starts`:
    (topic, partition) → log start where retention has moved it from 0; what lies before it is out of reach. `group`:
    whose letters take a record out of the bills. `committed`: partition → offset, what the group had committed before
    any of the three was looked at; what lies behind it is waiting, not lost. None: the group has read everything.
    `since_ms`: `usage` begins at the first record of this timestamp or later. Only hours of which no event can have
    come before are judged: none is further ahead of its record than `FUTURE_MS`. `lines_min`: a bill with fewer lines
    of their own has none of the others.
    """
    report = Report()
    gathered = verify_letters.gather(letters, topic, report)
    chains = verify_bills.gather(bills, starts or {}, report)
    partitions = sum(name == topic for name, _ in starts or {})
    homes = Homes(partitions, [(bucket.team, chain.begun) for bucket, chain in chains.items()])
    judged_from_ms = 0 if since_ms is None else since_ms + FUTURE_MS
    reach = Reach(committed)
    told = chains, gathered, org_of, starts or {}
    log = _Log(*told, grace_ms, group, report, homes, reach, judged_from_ms, lines_min)
    late = []  # events of teams that have moved, where they live now
    for record in usage:
        if homes.waits(record):
            late.append(record)
        else:
            _take(record, log)
    log.floors = homes.floors(log.watermarks)
    for record in late:
        _take(record, log)
    for bucket, hour in log.hours.items():
        if bucket.start_ms >= judged_from_ms:
            _settle(bucket, hour, log)
    for bucket, chain in chains.items():
        _compare(bucket, chain, log, topic)
    _unmatched(log, topic)
    report.buckets = len(log.hours)
    return report


def _take(record: Record, log: _Log) -> None:
    """One usage record, in log order."""
    report = log.report
    report.events_read += 1
    report.unread += not log.reach.has(record)
    log.ends[record.partition] = record.offset + 1
    letters = log.letters.pop((record.partition, record.offset), [])
    if letters:
        verify_letters.check(letters, record, _conflicting(record, log), report)
        ours = [letter for letter in letters if letter.group == log.group]
        if ours:
            report.rejected[ours[0].reason] += 1
            return
    usage = read(record)
    if isinstance(usage, Poison):
        _missing(record, f"cannot be billed and has no dead letter: {usage.error}", log)
        return
    org = usage.org or log.org_of(usage.team)
    if org is None:
        _missing(record, f"no org is known for team {usage.team}, and it has no dead letter", log)
        return
    digest = _digest(record.value)
    root = log.homes.root(usage.team, record.partition)
    before = log.seen.get((root, usage.id))
    if before == digest:
        report.duplicates += 1
        return
    if before is not None:
        _missing(record, f"has the id {usage.id} of an earlier event, other bytes and no dead letter", log)
        return
    log.seen[root, usage.id] = digest
    problem = log.homes.problem(usage.team, record.partition)
    if problem is not None:
        report.wrong.add(_at(record), problem)
    _count(record, usage, org, log)


def _missing(record: Record, what: str, log: _Log) -> None:
    """A record that must have a letter and has none; the group may only not have come to it yet."""
    if log.reach.has(record):
        log.report.lost.add(_at(record), what)


def _count(record: Record, usage: Usage, org: str, log: _Log) -> None:
    """Add the event to its bucket, and move the watermark."""
    log.report.accepted += 1
    _add_money(log.report.used, usage.currency, usage.cost)
    bucket = Bucket(org, usage.team, usage.currency, usage.time_ms - usage.time_ms % HOUR_MS)
    hour = log.hours.get(bucket)
    if hour is None:
        hour = log.hours[bucket] = Hour(record.partition, _cut(bucket, record.partition, log))
    elif hour.partition != record.partition and log.homes.moved(bucket.team):
        hour.partition, hour.cut = record.partition, _cut(bucket, record.partition, log)
    if record.offset <= hour.cut:
        if hour.first_offset < 0:
            hour.first_offset = record.offset
        hour.last_offset = record.offset
        name = (usage.provider, usage.model)
        hour.lines[name] = hour.lines.get(name, Totals()).plus(_one(usage))
    else:
        known = [marks[record.partition] for marks in (log.watermarks, log.floors) if record.partition in marks]
        due = hour.dues.setdefault(_due_ms(bucket, max(known, default=None), log), Due(_at(record)))
        due.counted = due.counted.plus(_one(usage))
    log.watermarks[record.partition] = max(log.watermarks.get(record.partition, usage.time_ms), usage.time_ms)
    log.reach.accepted(record, usage.time_ms)


def _cut(bucket: Bucket, partition: int, log: _Log) -> int:
    """The last offset of a partition that the bucket's newest statement must count."""
    chain = log.chains.get(bucket)
    if chain is None:
        return -1
    covered = chain.latest.coverage
    if covered.partition == partition or not log.homes.moved(bucket.team):
        return covered.last_offset
    return EVERYTHING if log.homes.is_former(bucket.team, partition) else -1


def _one(usage: Usage) -> Totals:
    tokens = usage.prompt_tokens, usage.completion_tokens, usage.total_tokens
    return Totals(1, int(usage.error), int(usage.cache_hit), *tokens, usage.cost)


def _due_ms(bucket: Bucket, watermark_ms: int | None, log: _Log) -> int:
    """The watermark by which an event that arrives now must stand on a statement, at the latest (decision 9).

    An hour that the wall clock has closed early is not to be told from an open one here; whichever of the two marks
    is later is the one that is certain.
    """
    closes_ms = bucket.start_ms + HOUR_MS + log.grace_ms
    return closes_ms if watermark_ms is None else max(closes_ms, watermark_ms - watermark_ms % MARK_MS + MARK_MS)


def _settle(bucket: Bucket, hour: Hour, log: _Log) -> None:
    """Whether the events that no statement counts may still be waiting for one."""
    waiting = 0
    for due_ms, due in hour.dues.items():
        count = due.counted.requests
        if log.reach.past(log.homes.present(bucket.team, hour.partition), due_ms):
            log.report.lost.add(due.first, f"{count} events of {bucket} from here on stand on no bill", count)
            add(_sums(bucket, log).due, bucket, due.counted)
        else:
            waiting += count
            _add_money(log.report.waiting, bucket.currency, due.counted.cost)
    log.report.events_waiting += waiting
    log.report.buckets_waiting += waiting > 0


def _compare(bucket: Bucket, chain: Chain, log: _Log, topic: str) -> None:
    """The newest statement of a bucket against the recomputed hour."""
    stated, report = chain.latest, log.report
    covered = stated.coverage
    hour = log.hours.get(bucket, Hour(-1, -1))
    start = log.starts.get((topic, covered.partition), 0)
    if log.homes.moved(bucket.team) and hour.first_offset != covered.first_offset:
        start = max(start, log.starts.get((topic, log.homes.root(bucket.team, -1)), 0))
    if covered.first_offset < start or bucket.start_ms < log.judged_from_ms:
        report.out_of_reach += 1
        return
    counted = total(hour.lines.values())
    add(_sums(bucket, log).due, bucket, counted)
    add(_sums(bucket, log).billed, bucket, stated.totals)
    name = f"{bucket} revision {stated.revision}"
    if counted.requests == 0 < covered.events:
        report.wrong.add(stated.where, f"{name}: no event of this bucket is in the log")
    elif covered.events < counted.requests:
        missing = counted.requests - covered.events
        report.lost.add(stated.where, f"{name}: counts {covered.events} of {counted.requests} events", missing)
    elif covered.events > counted.requests:
        extra = covered.events - counted.requests
        report.doubled.add(stated.where, f"{name}: counts {covered.events} events, there are {counted.requests}", extra)
    else:
        if log.homes.moved(bucket.team) and log.homes.problem(bucket.team, covered.partition) is None:
            hour.partition = covered.partition  # either of its homes may have stated it
        differing = list(_differences(stated, chain, hour, counted, topic, log.lines_min))
        if differing:
            report.wrong.add(stated.where, f"{name}: {'; '.join(differing)}")


def _differences(
    stated: Statement, chain: Chain, hour: Hour, counted: Totals, topic: str, lines_min: int
) -> Iterator[str]:
    for name, said, is_so in zip(Totals._fields, stated.totals, counted, strict=True):
        if said != is_so:
            yield f"{name} is {said}, must be {is_so}"
    yield from verify_bills.lines_differ(stated.lines, hour.lines, lines_min)
    if chain.whole and chain.deltas != counted:
        yield "the deltas of all revisions do not sum to it"
    must = (topic, hour.partition, hour.first_offset, hour.last_offset, counted.requests)
    if stated.coverage != must and counted.requests:  # an hour whose usage went to another org covers nothing
        yield f"coverage is {tuple(stated.coverage)}, must be {must}"


def _conflicting(record: Record, log: _Log) -> bool | None:
    """Whether the record has the id of an event accepted before, and other bytes. None: cannot be known any more."""
    event: dict[str, Any] | Poison = parse(record.value or b"")
    event_id = None if isinstance(event, Poison) else event.get("id")
    root = log.homes.root((record.key or b"").decode(errors="replace"), record.partition)
    before = log.seen.get((root, event_id)) if isinstance(event_id, str) else None
    if before is None:
        return None if log.starts.get((record.topic, record.partition), 0) > 0 else False
    return before != _digest(record.value)


def _unmatched(log: _Log, topic: str) -> None:
    """Letters about records that were not read."""
    for (partition, offset), letters in log.letters.items():
        if offset < log.starts.get((topic, partition), 0):
            log.report.out_of_reach += len(letters)
        else:
            log.report.wrong.add(letters[0].where, f"there is no record {topic}[{partition}]@{offset}")


def _sums(bucket: Bucket, log: _Log) -> HourSums:
    return log.report.hours.setdefault(bucket.start_ms, HourSums({}, {}))


def _add_money(sums: dict[str, Decimal], currency: str, cost: Decimal) -> None:
    sums[currency] = EXACT.add(sums.get(currency, ZERO), cost)


def _digest(value: bytes | None) -> bytes:
    return hashlib.blake2b(value or b"", digest_size=16).digest()


def _at(record: Record) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset}"
