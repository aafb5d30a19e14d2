"""How far consumer groups are behind, how old what they have not read is, and when Kafka deletes it.

The one place where lag is made. Pure: registry, Kafka's answers and the time go in, series come out. A `Memory` goes
from look to look; it holds what one look alone cannot tell.

Lag is counted in offsets, as Kafka's own tools do: from what the group has committed (from the start of the log, where
it has not, or where that is gone) to the end. What is not known is absent, and `Series.unknown` counts why. No lag,
age or time is ever below zero.

Offsets behind the last record may hold only ends of transactions. No reader is given those, so no group commits them.
`_settled` tells them from records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from streamapp.kafka.groups import GroupSeen, Seen, Target
from streamapp.kafka.partitions import Partition
from streamapp.topics.findings import unregistered_groups, unregistered_topics
from streamapp.topics.registry import GROUPS, Group, markers_max, topic
from streamapp.watch.dates import Dates

SETTLED_MS = 120_000
"""A few offsets that a running group leaves alone for so long are ends of transactions: workers commit sooner, and an
open transaction is ended sooner."""
GROWTH_MS = 60_000
NEVER_STARTED = "never_started"
STATES = (
    *("stable", "preparing_rebalance", "completing_rebalance", "assigning", "reconciling", "empty", "dead"),
    NEVER_STARTED,
)
REASONS: Mapping[str, str] = {
    "kafka": "Kafka did not answer the whole question",
    "denied": "the principal may not ask about the group",
    "group": "the group's coordinator does not answer",
    "offsets": "Kafka does not tell where the partition begins or ends: it has no leader, or the topic is missing",
    "ahead": "the group has committed an offset behind the end: the topic was made anew",
    "timestamp": "no timestamp was found for the first unread record",
    "commit": "the group has not committed since the process began",
    "names": "the principal may not list all groups",
    "workers": "not all owners of a billing group's partitions answer, or its table does not tell money",
    "mean": "no worker has told what an event costs",
}
"""Why something is unknown: the label `reason`, and what it means."""


class Watched(NamedTuple):
    """A group reads a topic. `retention_ms` None: its records do not expire by age. `markers`: see `_settled`."""

    group: str
    topic: str
    partitions: int
    retention_ms: int | None
    markers: int = 0


def watched(groups: Sequence[Group] = GROUPS) -> tuple[Watched, ...]:
    """What the registry has of these groups."""
    return tuple(
        Watched(one.name, name, topic(name).partitions, topic(name).retention_ms, markers_max(name))
        for one in groups
        for name in one.topics
    )


@dataclass(frozen=True, slots=True)
class Unread:
    """What a group has not read of a partition. `age_s` is that of its first record, 0 without one, None if not known.
    `to_loss_s`: until that record's age is the topic's retention; Kafka deletes whole segments, so it may stay longer.
    Without an unread record it is the whole retention; None: records do not expire, or the age is not known.
    `expired`: records that were deleted before the group had read them, since the first look; at least, because a
    group that goes on behind them before the next look hides them."""

    lag: int
    first: int | None = None  # its offset
    age_s: float | None = None
    to_loss_s: float | None = None
    expired: int = 0


@dataclass(frozen=True, slots=True)
class GroupSeries:
    """A group. `state` is one of `STATES`, empty if not known. `growth`: topic → offsets per second of the last minute.
    `partitions` are those whose lag is known."""

    state: str = ""
    members: int | None = None
    commit_age_s: float | None = None
    growth: Mapping[str, float] = field(default_factory=dict)
    partitions: Mapping[Partition, Unread] = field(default_factory=dict)

    def lag(self, topic_name: str) -> int:
        """Over all partitions that are known."""
        return sum(one.lag for (name, _), one in self.partitions.items() if name == topic_name)


@dataclass(frozen=True, slots=True)
class Series:
    """All groups, what is unknown by reason, and what nobody registered as (kind, name)."""

    groups: Mapping[str, GroupSeries]
    unknown: Mapping[str, int]
    unregistered: tuple[tuple[str, str], ...] = ()


class _Kept(NamedTuple):
    """What is remembered of a partition and its reader."""

    committed: int | None
    end: int
    since_ms: int  # since when both are so
    read_to: int | None  # offsets below are known to hold nothing for the group; None: no more than it committed
    doubted: bool  # more came behind `read_to`, and the group did not move: it may stand still before a record
    counted_to: int  # records below are read, or counted as expired
    expired: int
    dated: tuple[int, int] | None  # offset and timestamp of the first unread record


class _KeptGroup(NamedTuple):
    moved_ms: int | None = None  # when a commit was seen
    lags: tuple[tuple[int, Mapping[str, int]], ...] = ()  # when, topic → lag; of the last minute


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier looks saw. Empty at first."""

    partitions: Mapping[Target, _Kept] = field(default_factory=dict)
    groups: Mapping[str, _KeptGroup] = field(default_factory=dict)


def dates(registry: Sequence[Watched], memory: Memory, seen: Seen, now_ms: int) -> Dates:
    """The search for the timestamps that `step` needs."""
    wanted, known = {}, {}
    for one in registry:
        placed, _ = _placed(one, memory, seen, now_ms)
        for partition, (unread, kept) in placed.items():
            if unread is not None and unread.first is not None:
                wanted[one.group, partition] = unread.first
                if kept.dated is not None:
                    known[one.group, partition] = kept.dated
    return Dates(wanted, now_ms, known)


def step(registry: Sequence[Watched], memory: Memory, seen: Seen, now_ms: int) -> tuple[Memory, Series]:
    """One look: what is remembered after it, and the series."""
    kept: dict[Target, _Kept] = dict(memory.partitions)
    groups: dict[str, GroupSeries] = {}
    unknown: Counter[str] = Counter()
    for one in registry:
        placed, why = _placed(one, memory, seen, now_ms)
        unknown += why
        known = groups.get(one.group) or _group(seen.groups.get(one.group, GroupSeen("")))
        unread = dict(known.partitions)
        for partition, (found, remembered) in placed.items():
            kept[one.group, partition] = remembered
            if found is None:
                continue
            dated = _dated(found, seen.dates.get((one.group, partition)), one.retention_ms, now_ms)
            unknown["timestamp"] += dated.age_s is None
            unread[partition] = dated
            at_ms = seen.dates.get((one.group, partition))
            last = remembered.dated if at_ms is None or found.first is None else (found.first, at_ms)
            kept[one.group, partition] = remembered._replace(dated=last)
        groups[one.group] = replace(known, partitions=unread)
    told = {name: _moved(name, one, registry, memory, kept, now_ms) for name, one in groups.items()}
    groups = {name: _timed(one, told[name], now_ms) for name, one in groups.items()}
    silent = [one for one in groups.values() if one.members and one.commit_age_s is None]
    unknown["commit"] += sum(any(each.lag for each in one.partitions.values()) for one in silent)
    unknown["names"] += seen.names is None
    return Memory(kept, told), Series(groups, {name: unknown[name] for name in REASONS}, _unregistered(seen))


def unread(start: int, end: int, committed: int | None, read_to: int | None = None) -> int:
    """Offsets that a group has before it."""
    return max(0, end - max(start, start if committed is None else committed, read_to or 0))


def _placed(
    one: Watched, memory: Memory, seen: Seen, now_ms: int
) -> tuple[dict[Partition, tuple[Unread | None, _Kept]], Counter[str]]:
    """Every partition of a topic that is known, without dates, and how many are not, by reason. None: the topic is
    another one than the group has read; memory begins anew."""
    group, unknown = seen.groups.get(one.group, GroupSeen("")), Counter[str]()
    placed: dict[Partition, tuple[Unread | None, _Kept]] = {}
    there = {partition for partition in seen.ends if partition[0] == one.topic}
    for partition in sorted(there | {(one.topic, number) for number in range(one.partitions)}):
        start, end = seen.starts.get(partition), seen.ends.get(partition)
        before = memory.partitions.get((one.group, partition))
        if group.committed is None:
            unknown["denied" if group.denied else "group"] += 1
        elif start is None or end is None:
            unknown["offsets"] += 1
        elif (committed := group.committed.get(partition)) is not None and committed > end:
            unknown["ahead"] += 1
            if before is not None:
                placed[partition] = None, before._replace(end=end, read_to=None, counted_to=start, dated=None)
        else:
            runs = bool(group.members) and group.state == "Stable"
            kept = _remembered(before, start, end, committed, now_ms, one.markers)
            kept = _settled(kept, now_ms, one.markers) if runs else kept
            lag = unread(start, end, committed, kept.read_to)
            first = max(start, committed or 0, kept.read_to or 0) if lag else None
            placed[partition] = Unread(lag, first, expired=kept.expired), kept
    return placed, unknown


def _remembered(before: _Kept | None, start: int, end: int, committed: int | None, now_ms: int, markers: int) -> _Kept:
    """A partition's memory with what is seen now. A topic that was made anew begins a new one. No more offsets than
    there can be ends of transactions are not taken for records that expired before it began."""
    if before is None or before.end > end:
        expired = 0 if before is None else before.expired
        counted_to = start if committed is None or start - committed <= markers else 0
        before = _Kept(committed, end, now_ms, None, False, counted_to, expired, None)
    done = max(before.counted_to, committed or 0)  # without `read_to`, which may be doubted later
    expired = before.expired + max(0, start - max(done, before.read_to or 0))
    kept = before._replace(counted_to=max(start, done), expired=expired)
    if committed != kept.committed:
        back = committed is None or committed < (kept.committed or 0)
        return kept._replace(
            committed=committed,
            end=end,
            since_ms=now_ms,
            read_to=None,
            doubted=False,
            dated=None if back else kept.dated,
        )
    return kept if end == kept.end else kept._replace(end=end, since_ms=now_ms)


def _settled(kept: _Kept, now_ms: int, markers: int) -> _Kept:
    """Ends of transactions, told from records. A running group that leaves no more offsets alone than there can be ends
    of transactions, for longer than workers wait and transactions last, has read everything. Whatever comes then is
    unread: if the group leaves that alone as well, it does not read, and all of it counts."""
    if kept.committed is None or kept.doubted or now_ms - kept.since_ms < SETTLED_MS:
        return kept
    if kept.read_to is not None and kept.end > kept.read_to:
        return kept._replace(read_to=None, doubted=True)
    return kept._replace(read_to=kept.end) if 0 < kept.end - kept.committed <= markers else kept


def _dated(found: Unread, at_ms: int | None, retention_ms: int | None, now_ms: int) -> Unread:
    if found.first is None:
        age_s: float | None = 0.0
    else:
        age_s = None if at_ms is None else max(0.0, (now_ms - at_ms) / 1000)
    if retention_ms is None or age_s is None:
        return replace(found, age_s=age_s)
    return replace(found, age_s=age_s, to_loss_s=max(0.0, retention_ms / 1000 - age_s))


def _group(seen: GroupSeen) -> GroupSeries:
    if not seen.state:
        return GroupSeries()
    state = "".join(f"_{char.lower()}" if char.isupper() else char for char in seen.state).lstrip("_")
    if state in ("empty", "dead") and not seen.committed:
        state = NEVER_STARTED
    return GroupSeries(state if state in STATES else "", len(seen.members))


def _moved(
    name: str,
    one: GroupSeries,
    registry: Sequence[Watched],
    memory: Memory,
    kept: Mapping[Target, _Kept],
    now_ms: int,
) -> _KeptGroup:
    """A group's memory: whether a commit was seen, and how its lag went."""
    before = memory.groups.get(name, _KeptGroup())
    moved = any(
        memory.partitions[target].committed != now.committed
        for target, now in kept.items()
        if target[0] == name and target in memory.partitions and now.committed is not None
    )
    topics = {each.topic: each.partitions for each in registry if each.group == name}
    whole = {topic: one.lag(topic) for topic, count in topics.items() if _told(one, topic) >= count}
    lags = [(at, lag) for at, lag in before.lags if now_ms - GROWTH_MS <= at < now_ms]
    return _KeptGroup(now_ms if moved else before.moved_ms, (*lags, (now_ms, whole)))


def _told(one: GroupSeries, topic_name: str) -> int:
    return sum(partition[0] == topic_name for partition in one.partitions)


def _timed(one: GroupSeries, kept: _KeptGroup, now_ms: int) -> GroupSeries:
    age_s = None if kept.moved_ms is None or not one.state else max(0.0, (now_ms - kept.moved_ms) / 1000)
    (first_ms, first), (last_ms, last) = kept.lags[0], kept.lags[-1]
    both = [topic for topic in last if topic in first and last_ms > first_ms]
    growth = {topic: (last[topic] - first[topic]) * 1000 / (last_ms - first_ms) for topic in both}
    return replace(one, commit_age_s=None if one.state == NEVER_STARTED else age_s, growth=growth)


def _unregistered(seen: Seen) -> tuple[tuple[str, str], ...]:
    topics = (("topic", name) for name in unregistered_topics(seen.topics))
    return (*topics, *(("group", name) for name in unregistered_groups(seen.names or ())))
