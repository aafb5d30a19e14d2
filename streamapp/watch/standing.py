"""How every consumer group stands, by Kafka's word: true also for a group without a worker, and whichever worker asks.

Nothing is configured: the members of a group say where their pages are, because Faust's assignor tells the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from streamapp.clock import Clock, monotonic_s
from streamapp.errors import StreamError, Unavailable
from streamapp.kafka.groups import GroupSeen, Member, Seen, looked
from streamapp.kafka.partitions import Partition
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import GROUPS
from streamapp.watch.lag import NEVER_STARTED, GroupSeries, Series, Unread
from streamapp.watch.looks import Look, Looks

State = Literal["running", "rebalancing", "no worker", "never started", "not visible", "unknown"]

FRESH_MS = 3_000  # open pages ask once a second, and a look is some thirty requests (docs/adr/0029)
ANYWHERE = {"0.0.0.0": "", "::": ""}  # a worker that listens on every address is found at the one Kafka sees
_STATES: Mapping[str, State] = {
    "stable": "running",
    "preparing_rebalance": "rebalancing",
    "completing_rebalance": "rebalancing",
    "assigning": "rebalancing",
    "reconciling": "rebalancing",
    "empty": "no worker",
    "dead": "no worker",
    NEVER_STARTED: "never started",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """One group; not visible: this worker may not ask. `behind` has the partitions whose ends Kafka told; `owners` says
    who has which, by address."""

    state: State
    urls: tuple[str, ...] = ()
    behind: Mapping[Partition, Unread] = field(default_factory=dict)
    owners: Mapping[Partition, str] = field(default_factory=dict)
    problem: str = ""  # why Kafka does not say

    @property
    def lag(self) -> int | None:
        """Records behind what the group committed; None when Kafka does not say."""
        return sum(one.lag for one in self.behind.values()) if self.behind else None

    @property
    def age_s(self) -> float | None:
        """How old the oldest record is that the group has not read; None when Kafka does not say."""
        return max((one.age_s for one in self.behind.values() if one.age_s is not None), default=None)

    @property
    def to_loss_s(self) -> float | None:
        """Seconds until Kafka may delete a record that the group has not read; None when nothing waits, or Kafka does
        not say."""
        waiting = (one.to_loss_s for one in self.behind.values() if one.lag and one.to_loss_s is not None)
        return min(waiting, default=None)


class Standings:
    """What the pages ask. This one is for a worker that asks nobody."""

    async def now(self) -> Mapping[str, Standing]:
        """Every registered group, at most a few seconds old. Raises `Unavailable` or `Misconfigured`."""
        raise Unavailable("this worker does not ask Kafka about the other groups")


class KafkaStandings(Standings):
    """Asks Kafka, in a thread of its own. Nothing is started before the first question. Where Kafka has answered
    before, one question that it does not answer in time says little: it is away when it answers neither of two."""

    def __init__(self, kafka: KafkaSettings, clock: Clock, timeout_s: float, looked: Look = looked) -> None:
        self._clock, self._timeout_s, self._looks = clock, timeout_s, Looks(kafka, clock, timeout_s, looked)
        self._thread = ThreadPoolExecutor(1, "standing")
        self._made: tuple[int, Mapping[str, Standing] | StreamError] | None = None

    async def now(self) -> Mapping[str, Standing]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._now)

    def _now(self) -> Mapping[str, Standing]:
        """A failure is as good for a while as an answer: else those who ask would wait in a row for time-outs."""
        if self._made is None or not 0 <= self._clock() - self._made[0] < FRESH_MS:
            made: Mapping[str, Standing] | StreamError
            try:
                made = asyncio.run(self._asked())
            except StreamError as error:
                made = error
            self._made = self._clock(), made
        if isinstance(self._made[1], StreamError):
            raise self._made[1]
        return self._made[1]

    async def _asked(self) -> Mapping[str, Standing]:
        if self._made is None or isinstance(self._made[1], StreamError):
            return await self._look()
        again_s = monotonic_s() + self._timeout_s
        try:
            return await self._look(explained=False)
        except Unavailable:
            await asyncio.sleep(again_s - monotonic_s())
            return await self._look(explained=False)

    async def _look(self, explained: bool = True) -> Mapping[str, Standing]:
        seen, series, _ = await self._looks.again(explained=explained)
        return standings(seen, series)


def standings(seen: Seen, series: Series) -> dict[str, Standing]:
    """Kafka's words → ours, for every registered group. Pure."""
    return {
        group.name: _standing(seen.groups.get(group.name, GroupSeen("")), series.groups.get(group.name, GroupSeries()))
        for group in GROUPS
    }


def _standing(one: GroupSeen, series: GroupSeries) -> Standing:
    state = "not visible" if one.denied else _STATES.get(series.state, "unknown")
    found = [(address(member), member) for member in one.members]
    owners = {partition: url for url, member in found for partition in member.partitions}
    urls = tuple(dict.fromkeys(url for url, _ in found if url))
    return Standing(state, urls, series.partitions, owners, "" if one.denied else one.problem)


class _Said(msgspec.Struct):
    url: str = ""


def address(member: Member) -> str:
    """Where a member's pages are; empty when it does not say, or is none of ours."""
    try:
        url = msgspec.json.decode(member.user_data, type=_Said).url
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return ""
        if parts.hostname in ANYWHERE:
            host = f"[{member.host}]" if ":" in member.host else member.host
            return parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host).geturl()
    except (msgspec.MsgspecError, ValueError):
        return ""
    return url
