"""The group as a whole: the workers' facts added up, and a verdict that says in one line whether all is well."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from streamapp.facts.worker import GoneFacts, PartitionFacts, WorkerFacts
from streamapp.web import show
from streamapp.web.workers import gone
from streamapp.web.workers.fleet import Answer

Level = Literal["ok", "stale", "wrong"]

STUCK_MS = 30_000  # three times the session timeout: by then another worker would have taken over
LAG_WARN = 100_000  # the standard's thresholds ("Monitoring")
LAG_CRITICAL = 1_000_000


@dataclass(frozen=True, slots=True)
class Owned:
    """A partition with its owner."""

    facts: PartitionFacts
    owner: str
    url: str
    stale: bool


@dataclass(frozen=True, slots=True)
class Silent:
    """A worker that does not answer."""

    name: str
    url: str
    problem: str
    as_of_ms: int | None
    partitions: tuple[int, ...]  # that it owned when it last answered and nobody else owns now


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be, as a sentence."""

    level: Level
    text: str
    url: str = ""  # the page that tells more


@dataclass(frozen=True, slots=True)
class Group:
    """Everything `/` shows."""

    name: str
    workers: tuple[tuple[WorkerFacts, bool], ...]  # facts, stale
    partitions: tuple[Owned, ...]
    silent: tuple[Silent, ...]
    missing: tuple[int, ...]  # partitions nobody owns
    contested: tuple[int, ...]  # partitions two answering workers claim
    partition_count: int | None
    gone: tuple[GoneFacts, ...] = ()  # workers that left, and that nobody has marked as seen

    @property
    def versions(self) -> list[str]:
        """That run now."""
        return sorted({facts.version for facts, stale in self.workers if not stale and facts.version})

    @property
    def taking(self) -> tuple[int, ...]:
        """Partitions that workers take over now."""
        return tuple(sorted(number for facts, stale in self.workers if not stale for number in facts.taking))

    @property
    def lag(self) -> int:
        """Records not yet applied, over all partitions."""
        return sum(owned.facts.lag for owned in self.partitions)

    @property
    def events_per_s(self) -> float:
        """Over the last ten seconds; a silent worker's last-known rate does not count."""
        return sum(owned.facts.events_per_s for owned in self.partitions if not owned.stale)

    @property
    def last_commit_ms(self) -> int | None:
        """Wall clock of the newest commit anywhere."""
        return max(
            (o.facts.last_commit_ms for o in self.partitions if o.facts.last_commit_ms is not None), default=None
        )

    @property
    def owned_now(self) -> frozenset[int]:
        """Partitions whose owner answered just now."""
        return frozenset(owned.facts.partition for owned in self.partitions if not owned.stale)

    @property
    def has_events(self) -> bool:
        """False for a group that has not read a single record."""
        return any(owned.facts.watermark_ms is not None for owned in self.partitions)

    @property
    def curve(self) -> list[float]:
        """Events per second of the last two minutes, all workers added, oldest first."""
        return added([facts.recent_events_per_s for facts, stale in self.workers if not stale])

    def count(self, name: str) -> int:
        """Sum of a counter of all partitions."""
        return sum(getattr(owned.facts, name) for owned in self.partitions)

    def dead_letters(self) -> int:
        """Written since each worker started."""
        return sum(facts.dead_letters for facts, _ in self.workers)

    def money(self) -> list[tuple[str, Decimal, Decimal | None, Decimal | None]]:
        """(currency, open, closed today, revised today), the currency with most money first. None: a part of the sum is
        on its way to a worker."""
        found: list[tuple[str, Decimal, Decimal | None, Decimal | None]] = []
        part = any(facts.summing for facts, stale in self.workers if not stale) or bool(self.taking)
        facts = [facts for facts, _ in self.workers]
        for currency in {c for f in facts for c in (*f.open_cost, *f.closed_cost_today, *f.revised_cost_today)}:
            opened = show.total(f.open_cost.get(currency, Decimal(0)) for f in facts)
            closed = show.total(f.closed_cost_today.get(currency, Decimal(0)) for f in facts)
            revised = show.total(f.revised_cost_today.get(currency, Decimal(0)) for f in facts)
            found.append((currency, opened, None if part else closed, None if part else revised))
        return sorted(found, key=lambda row: (-row[1] - (row[2] or 0), row[0]))


def added(curves: Sequence[Sequence[float]]) -> list[float]:
    """Curves that end now, added as far back as all of them reach."""
    known = [curve for curve in curves if curve]
    length = min(map(len, known), default=0)
    return [sum(points) for points in zip(*(curve[-length:] for curve in known), strict=True)] if length else []


def gather(answers: Sequence[Answer[WorkerFacts]]) -> Group:
    """Add the workers up. A stale worker's partition that a fresh one owns was taken over and counts once."""
    fresh = [answer for answer in answers if not answer.stale and answer.value]
    stale = [answer for answer in answers if answer.stale]
    owned: dict[int, Owned] = {}
    contested: set[int] = set()
    for answer in fresh:
        for facts in answer.value.partitions if answer.value else ():
            if facts.partition in owned:
                contested.add(facts.partition)
            kept = owned.get(facts.partition)
            if kept is None or kept.facts.position < facts.position:
                owned[facts.partition] = Owned(facts, answer.worker, answer.url, stale=False)
    silent = []
    workers = [(answer.value, False) for answer in fresh if answer.value]
    for answer in stale:
        left = [f for f in (answer.value.partitions if answer.value else ()) if f.partition not in owned]
        for facts in left:
            owned[facts.partition] = Owned(facts, answer.worker, answer.url, stale=True)
        if left and answer.value:
            workers.append((answer.value, True))  # its money is still only there
        numbers = tuple(sorted(f.partition for f in left))
        silent.append(Silent(answer.worker, answer.url, answer.problem, answer.as_of_ms, numbers))
    taking = {number for answer in fresh if answer.value for number in answer.value.taking}
    count = max((f.partition_count for f, _ in workers if f.partition_count is not None), default=None)
    return Group(
        name=workers[0][0].group if workers else "",
        workers=tuple(workers),
        partitions=tuple(owned[number] for number in sorted(owned)),
        silent=tuple(silent),
        missing=tuple(number for number in range(count or 0) if number not in owned and number not in taking),
        contested=tuple(sorted(contested)),
        partition_count=count,
        gone=gone.known(fresh, {s.url for s in silent}),
    )


def findings(group: Group, now_ms: int) -> list[Finding]:
    """What is not as it should be, worst first; empty when all is well."""
    absent = sorted({name for facts, stale in group.workers if not stale for name in facts.missing_topics})
    found = [
        Finding("wrong", f"Topics are missing: {', '.join(absent)}; create them with `streamapp topics apply`.")
        for _ in absent[:1]
    ]
    found += [
        Finding(
            "stale", f"Worker {show.worker(s.name, s.url)} does not answer ({s.problem})" + _what_is_shown(s, now_ms)
        )
        for s in group.silent
    ]
    found += [Finding("stale", text, show.group_url(group.name)) for text in gone.texts(group.gone)]
    if group.taking:
        found.append(Finding("stale", f"{_partitions(group.taking)} being taken over: a worker reads the rows."))
    if group.missing:
        found.append(Finding("wrong", f"{_partitions(group.missing)} without an owner: nothing is counted there."))
    if group.contested:
        found.append(Finding("stale", f"{_partitions(group.contested)} changing hands: two workers claim it."))
    found.extend(_partition_findings([owned.facts for owned in group.partitions if not owned.stale], now_ms))
    if group.lag > LAG_CRITICAL:
        found.append(Finding("wrong", f"The group is {show.number(group.lag)} records behind."))
    elif group.lag > LAG_WARN:
        found.append(Finding("stale", f"The group is {show.number(group.lag)} records behind and catching up."))
    return worst_first(*found)


def worst_first(*found: Finding) -> list[Finding]:
    """What is wrong before what is to be looked at; else in the order given."""
    return sorted(found, key=lambda finding: finding.level != "wrong")


def _partition_findings(partitions: Sequence[PartitionFacts], now_ms: int) -> list[Finding]:
    """One finding for all partitions that have the same fault: sixteen that wait for one database are one fault."""
    same: dict[tuple[str, str], list[tuple[PartitionFacts, Level, Verbs, str]]] = {}
    for facts in partitions:
        level, verbs, what = _fault(facts, now_ms)
        if what:
            same.setdefault((level, _ODD.sub("…", what)), []).append((facts, level, verbs, what))
    found = []
    for each in same.values():
        members, (_, level, verbs, what) = [facts for facts, *_ in each], each[0]
        text = f"{_named([facts.partition for facts in members])} {verbs[len(each) > 1]} {what}"
        found.append(Finding(level, text + _since(members, now_ms) if what == _WITH_LAG else text))
    return found


def _since(partitions: Sequence[PartitionFacts], now_ms: int) -> str:
    """When these committed last: the one for which it is longest ago."""
    last = [-1 if facts.last_commit_ms is None else facts.last_commit_ms for facts in partitions]
    since = "never" if min(last) < 0 else show.age(min(last), now_ms)
    return f"; the {'oldest ' if len(last) > 1 else ''}last commit: {since}."


Verbs = tuple[str, str]
_WITH_LAG = "still with lag"
_IS, _STANDS = ("is", "are"), ("stands", "stand")
_ODD = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|0x[0-9a-f]+")  # what differs between two of one fault


def _fault(facts: PartitionFacts, now_ms: int) -> tuple[Level, Verbs, str]:
    """What is wrong with a partition: how bad, the verb for one and for several, and the rest; empty: nothing is."""
    if facts.trouble is not None:
        return "wrong", _STANDS, f"still: {show.visible(facts.trouble)}"
    if stuck(facts, now_ms):
        return "wrong", _STANDS, _WITH_LAG
    return "ok", _IS, ""


def stuck(facts: PartitionFacts, now_ms: int) -> bool:
    """Records wait, and for longer than a healthy worker ever takes nothing was committed, nor all of it read; or
    what it writes to has not answered for as long. All may be read then: what is read is not kept."""
    if facts.trouble_since_ms is not None and now_ms - facts.trouble_since_ms > STUCK_MS:
        return True
    if facts.lag <= facts.gathered:
        return False
    moved = [at_ms for at_ms in (facts.last_commit_ms, facts.caught_up_ms) if at_ms is not None]
    if not moved:
        return facts.last_record_ms is not None and now_ms - facts.last_record_ms > STUCK_MS
    return now_ms - max(moved) > STUCK_MS


def _what_is_shown(silent: Silent, now_ms: int) -> str:
    if silent.as_of_ms is None:
        return "; nothing is known of it, so its rows are missing here."
    if not silent.partitions:
        return "; its partitions were taken over."
    return f"; its rows are shown as of {show.clock(silent.as_of_ms)} UTC and marked stale."


def _partitions(numbers: Sequence[int]) -> str:
    return f"{_named(numbers)} {_IS[len(numbers) > 1]}"


def _named(numbers: Sequence[int]) -> str:
    listed = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
    return f"Partition {listed}" if len(numbers) == 1 else f"Partitions {listed}"
