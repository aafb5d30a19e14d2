"""Every group in one look: Kafka's word and the workers' own facts put together, and what is not as it should be."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from streamapp.topics.registry import GROUPS
from streamapp.topics.registry import Group as Registered
from streamapp.watch.standing import Standing
from streamapp.web import show
from streamapp.web.pages.page import Site
from streamapp.web.workers import group
from streamapp.web.workers.kept import Heard

UNKNOWN = Standing("unknown")
LOSS_WARN_S, LOSS_CRITICAL_S = 24 * 3600, 4 * 3600  # as the alerts


@dataclass(frozen=True, slots=True)
class Cell:
    """One partition of a group's topic: who has it, and which number that worker has on the page (0: nobody)."""

    topic: str
    partition: int
    owner: str
    number: int
    lag: int | None
    stale: bool = False


@dataclass(frozen=True, slots=True)
class GroupLook:
    """A group as the pages show it."""

    registered: Registered
    standing: Standing
    workers: group.Group
    findings: tuple[group.Finding, ...] = ()

    @property
    def name(self) -> str:
        return self.registered.name

    @property
    def answering(self) -> int:
        """Workers that answered just now."""
        return sum(not stale for _, stale in self.workers.workers)

    @property
    def count(self) -> int:
        """Workers that answered, or that Kafka names before they were asked."""
        return self.answering if self.answering or self.workers.silent else len(self.standing.urls)

    @property
    def state(self) -> str:
        """Kafka's word; where workers know better, theirs."""
        if self.answering and self.workers.taking:
            return "restoring"
        if self.answering:
            return "rebalancing" if self.standing.state == "rebalancing" else "running"
        return "silent" if self.workers.silent else self.standing.state

    @property
    def lag(self) -> int | None:
        """Records not yet applied; None when nobody knows."""
        lags = [cell.lag for cell in self.cells if cell.lag is not None]
        return sum(lags) if lags else None

    @property
    def age_s(self) -> float | None:
        """How old the oldest unread record is; 0 when all is read, None when nobody knows."""
        return 0.0 if self.lag == 0 else self.standing.age_s

    @property
    def to_loss_s(self) -> float | None:
        """Seconds until Kafka may delete an unread record; None when nothing waits, or nobody knows."""
        return None if self.lag == 0 else self.standing.to_loss_s

    @property
    def expired(self) -> int:
        """Records that Kafka deleted unread since this worker began to look."""
        return sum(one.expired for one in self.standing.behind.values())

    @property
    def cells(self) -> list[Cell]:
        """Every partition that anybody knows of. The owner's own count is exact; Kafka's is behind by a commit."""
        owned = {(one.facts.topic, one.facts.partition): one for one in self.workers.partitions}
        missing = {(self.registered.topics[0], number) for number in self.workers.missing}
        names = {facts.url.rstrip("/"): facts.name for facts, _ in self.workers.workers}
        numbers: dict[str, int] = {}
        found = []
        for topic, partition in sorted({*owned, *missing, *self.standing.behind, *self.standing.owners}):
            one = owned.get((topic, partition))
            url = self.standing.owners.get((topic, partition), "") if one is None else one.url
            owner = one.owner if one is not None else names.get(url.rstrip("/"), url)
            exact = one is not None and not one.stale
            behind = self.standing.behind.get((topic, partition))
            lag = one.facts.lag if one is not None and exact else None if behind is None else behind.lag
            number = numbers.setdefault(owner, len(numbers) + 1) if owner else 0
            found.append(Cell(topic, partition, owner, number, lag, one is not None and one.stale))
        return found


@dataclass(frozen=True, slots=True)
class Whole:
    """All groups, and what Kafka said of them."""

    groups: tuple[GroupLook, ...]
    asked: Heard[Mapping[str, Standing]]
    findings: tuple[tuple[str, group.Finding], ...]  # group or empty, what is not as it should be; worst first

    def along_with(self, found: Iterable[group.Finding]) -> Whole:
        """The same with findings that are about no group."""
        findings = [*self.findings, *(("", one) for one in found)]
        return replace(self, findings=tuple(sorted(findings, key=lambda named: named[1].level != "wrong")))

    @property
    def level(self) -> group.Level:
        return self.findings[0][1].level if self.findings else "ok"

    @property
    def running(self) -> list[GroupLook]:
        """Groups that have a worker."""
        return [one for one in self.groups if one.count]

    @property
    def workers(self) -> int:
        return sum(one.count for one in self.groups)

    @property
    def versions(self) -> list[str]:
        """That workers run; more than one while a new one is rolled out."""
        return sorted({version for one in self.groups for version in one.workers.versions})

    @property
    def lag(self) -> int:
        return sum(one.lag or 0 for one in self.groups)

    @property
    def events_per_s(self) -> float:
        return sum(one.workers.events_per_s for one in self.groups)

    @property
    def curve(self) -> list[float]:
        """Records per second of the last two minutes, all groups added."""
        return group.added([one.workers.curve for one in self.groups])

    def of(self, name: str) -> GroupLook:
        """A registered group. Raises KeyError."""
        return {one.name: one for one in self.groups}[name]


async def look(site: Site, names: Sequence[str] = ()) -> Whole:
    """Ask Kafka and the workers of these groups, of all by default."""
    wanted = [one for one in GROUPS if not names or one.name in names]
    asked, gathered = await asyncio.gather(
        site.fleets.standings.get(), asyncio.gather(*(site.workers(one.name) for one in wanted))
    )
    now_ms, standings = site.clock(), asked.value or {}
    looks = tuple(
        _look(one, standings.get(one.name, UNKNOWN), workers, now_ms)
        for one, workers in zip(wanted, gathered, strict=True)
    )
    found = [(one.name, finding) for one in looks for finding in one.findings]
    if asked.value is None or asked.problem:
        is_cause = asked.problem and any(finding.level == "wrong" for _, finding in found)  # it stands before them
        found.insert(0, ("", group.Finding("wrong" if is_cause else "stale", _unheard(asked))))
    return Whole(looks, asked, tuple(sorted(found, key=lambda item: item[1].level != "wrong")))


def _look(registered: Registered, standing: Standing, workers: group.Group, now_ms: int) -> GroupLook:
    held = {partition for topic, partition in standing.owners if topic in registered.topics}
    # Whoever has not answered yet may still own them: Kafka knows.
    workers = replace(workers, missing=tuple(number for number in workers.missing if number not in held))
    one = GroupLook(registered, standing, workers)
    found = group.findings(workers, now_ms)
    lag = one.lag or 0
    if not one.answering and one.state == "no worker":
        waiting = f"{show.number(lag)} record{'s' if lag != 1 else ''} wait" + ("s" if lag == 1 else "")
        found.append(group.Finding("wrong", f"No worker runs; {waiting if lag else 'nothing waits'}."))
    found += _loss(one)
    if standing.problem and not one.answering:
        found.append(group.Finding("stale", f"Kafka does not say how it stands: {standing.problem}."))
    return GroupLook(registered, standing, workers, tuple(found))


def _loss(one: GroupLook) -> list[group.Finding]:
    """What Kafka is about to delete. A group that never started misses nothing."""
    left_s = one.to_loss_s
    if left_s is None or left_s >= LOSS_WARN_S or one.standing.state == "never started":
        return []
    level: group.Level = "wrong" if left_s < LOSS_CRITICAL_S else "stale"
    return [group.Finding(level, f"Unread records expire in {show.duration(left_s)}.")]


def _unheard(asked: Heard[Mapping[str, Standing]]) -> str:
    if not asked.problem:
        return "Waiting for Kafka's consumer group status; the workers' own reports are shown meanwhile."
    since = f" Consumer group status is from {show.clock(asked.as_of_ms)} UTC." if asked.as_of_ms is not None else ""
    return f"Kafka is unreachable ({asked.problem}).{since}"
