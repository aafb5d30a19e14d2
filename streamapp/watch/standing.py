"""How every consumer group stands, by Kafka's word: true also for a group without a worker, and whichever worker asks.

Nothing is configured: the members of a group say where their pages are, because Faust's assignor tells the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import urlsplit

import msgspec

from streamapp.clock import Clock
from streamapp.errors import StreamError, Unavailable
from streamapp.kafka.groups import GroupSeen, Member, Seen, look
from streamapp.kafka.partitions import Partition
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import GROUPS, Group

State = Literal["running", "rebalancing", "no worker", "never started", "not visible", "unknown"]

FRESH_MS = 5_000  # open pages ask once a second, and a look is some thirty requests (docs/adr/0029)
ANYWHERE = {"0.0.0.0": "", "::": ""}  # a worker that listens on every address is found at the one Kafka sees
MARKERS_MAX = 8
"""So many offsets at the end of a partition may all be markers of transactions, one of each worker under way. Whoever
reads behind them need not commit."""

_STATES: Mapping[str, State] = {
    "Stable": "running",
    "PreparingRebalance": "rebalancing",
    "CompletingRebalance": "rebalancing",
    "Assigning": "rebalancing",
    "Reconciling": "rebalancing",
    "Empty": "no worker",
    "Dead": "no worker",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """One group; not visible: this worker may not ask. `behind` has the partitions whose ends Kafka told; `owners` says
    who has which, by address."""

    state: State
    urls: tuple[str, ...] = ()
    behind: Mapping[Partition, int] = field(default_factory=dict)
    owners: Mapping[Partition, str] = field(default_factory=dict)
    problem: str = ""  # why Kafka does not say

    @property
    def lag(self) -> int | None:
        """Records behind what the group committed; None when Kafka does not say."""
        return sum(self.behind.values()) if self.behind else None


class Standings(Protocol):
    """What the pages ask."""

    async def now(self) -> Mapping[str, Standing]:
        """Every registered group, at most a few seconds old. Raises `Unavailable` or `Misconfigured`."""


class KafkaStandings:
    """Asks Kafka, in a thread of its own. Nothing is started before the first question."""

    def __init__(self, kafka: KafkaSettings, clock: Clock, timeout_s: float) -> None:
        self._kafka, self._clock, self._timeout_s = kafka, clock, timeout_s
        self._thread = ThreadPoolExecutor(1, "standing")
        self._made: tuple[int, Mapping[str, Standing] | StreamError] | None = None

    async def now(self) -> Mapping[str, Standing]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._now)

    def _now(self) -> Mapping[str, Standing]:
        """A failure is as good for a while as an answer: else those who ask would wait in a row for time-outs."""
        if self._made is None or not 0 <= self._clock() - self._made[0] < FRESH_MS:
            made: Mapping[str, Standing] | StreamError
            try:
                topics = {topic for group in GROUPS for topic in group.topics}
                made = standings(look(self._kafka, [group.name for group in GROUPS], topics, self._timeout_s))
            except StreamError as error:
                made = error
            self._made = self._clock(), made
        if isinstance(self._made[1], StreamError):
            raise self._made[1]
        return self._made[1]


class NoStandings:
    """For a worker that asks nobody."""

    async def now(self) -> Mapping[str, Standing]:
        raise Unavailable("this worker does not ask Kafka about the other groups")


def standings(seen: Seen) -> dict[str, Standing]:
    """Kafka's words → ours, for every registered group. Pure."""
    return {group.name: _standing(group, seen.groups.get(group.name, GroupSeen("")), seen) for group in GROUPS}


def _standing(group: Group, one: GroupSeen, seen: Seen) -> Standing:
    state = _STATES.get(one.state, "unknown")
    if one.denied:
        state = "not visible"
    committed = one.committed
    if state == "no worker" and not committed:
        state = "never started"
    behind = {}
    for partition, end in seen.ends.items():
        if partition[0] in group.topics and committed is not None:
            start = seen.starts.get(partition, 0)
            waiting = end - max(start, committed.get(partition, start))
            behind[partition] = waiting if waiting > MARKERS_MAX or partition not in committed else 0
    found = [(address(member), member) for member in one.members]
    owners = {partition: url for url, member in found for partition in member.partitions}
    return Standing(
        state, tuple(dict.fromkeys(url for url, _ in found if url)), behind, owners, "" if one.denied else one.problem
    )


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
