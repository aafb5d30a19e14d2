"""Many groups under one watch and one Kafka, which both may be away: what Prometheus has of each minute, and what must
fire in it. The watch is the real one; only Kafka's answers and the clock are made here."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from group_lives import MINUTE_MS, Life
from lives_oracle import MAY, NO, YES, Oracle, Range

from streamapp.errors import Unavailable
from streamapp.kafka.groups import Dating, GroupSeen, Seen
from streamapp.kafka.partitions import Partition
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import GROUPS
from streamapp.watch.lag import Watched
from streamapp.watch.metrics import WatchMetrics
from streamapp.watch.money import Told as Money
from streamapp.watch.money import billing
from streamapp.watch.watcher import Watcher

BEGAN_MS = 1_800_000_000_000
MINUTES = 30
BILLING = {one.name: one.topics[0] for one in billing()}
REGISTERED = [one.name for one in GROUPS]
OTHERS = 'stream_reconciliation_difference{pair="usage=bills"}'  # of processes that are well
UP = {job: f'up{{job="{job}",instance="one"}}' for job in ("kafka", "stream-watch")}
Alert = tuple[str, str]
"""Name, and the group or the reason."""
Expected = dict[Alert, int]
"""Of a minute: what must fire, and what may."""


@dataclass
class Told:
    """Series → its values, minute by minute, as promtool reads them."""

    series: dict[str, list[str]] = field(default_factory=dict)

    def add(self, minute: int, values: Mapping[str, float]) -> None:
        for name in values.keys() - self.series.keys():
            self.series[name] = ["_"] * minute
        for name, past in self.series.items():
            if name in values:
                past.append(repr(float(values[name])))
            else:  # Prometheus marks a series that a scrape no longer has
                past.append("_" if not past or past[-1] in ("_", "stale") else "stale")


class Kafka:
    """Answers a look. Between its questions, lives go on; the oracles see each moment."""

    def __init__(self, oracles: list[Oracle], random_: random.Random) -> None:
        self.oracles, self.random, self.runs, self.now_ms = oracles, random_, True, BEGAN_MS
        self.topics = {one.life.topic: one.life for one in oracles}
        self.members: dict[str, list[int]] = {}
        self.answers: dict[str, GroupSeen] = {}

    async def looked(
        self,
        kafka: KafkaSettings,
        groups: Iterable[str],
        topics: Iterable[str],
        timeout_s: float,
        *,
        dating: Callable[[Seen], Dating],
        names: bool,
        explained: bool,
    ) -> Seen:
        if not self.runs:
            raise Unavailable("Kafka does not answer")
        self.members = {one.life.name: [] for one in self.oracles}
        for oracle in self.oracles:
            oracle.begin()
        self._moment()
        starts = self._offsets(end=False)
        self._moment()
        self.answers = {one.life.name: self._group(one) for one in self.oracles}
        self._moment()
        seen = Seen(self.answers, starts, self._offsets(end=True), names=frozenset())
        search = dating(seen)
        while asks := search.asks():
            search.told([{at: self._first_at(at, ms) for at, ms in ask.items()} for ask in asks])
        return Seen(seen.groups, starts, seen.ends, names=seen.names, dates=search.found())

    def _moment(self) -> None:
        for oracle in self.oracles:
            self._see(oracle)
            self._goes_on(oracle)

    def _goes_on(self, oracle: Oracle) -> None:
        if self.random.random() < 0.2:
            oracle.life.between(self.now_ms)
            self._see(oracle)

    def _see(self, oracle: Oracle) -> None:
        oracle.see(self.now_ms)
        self.members[oracle.life.name].append(oracle.life.members)

    def _group(self, oracle: Oracle) -> GroupSeen:
        """Two requests, that Kafka answers in any order."""
        first = oracle.life.said()
        self._goes_on(oracle)
        second = oracle.life.said()
        one, other = (first, second) if self.random.random() < 0.5 else (second, first)
        return GroupSeen(one.state, one.members, other.committed, problem=one.problem, denied=one.denied)

    def _offsets(self, end: bool) -> dict[Partition, int]:
        found = {}
        for oracle in self.oracles:
            for number, (place, log) in enumerate(zip(oracle.places, oracle.life.logs, strict=True)):
                if oracle.life.trouble == "leader":
                    continue
                answer = self.answers.get(oracle.life.name) or GroupSeen("")
                partition = oracle.life.topic, number
                found[partition] = log.end if end else log.start
                if end:
                    place.end, place.committed = log.end, (answer.committed or {}).get(partition)
                else:
                    place.start = log.start
        return found

    def _first_at(self, partition: Partition, at_ms: int) -> tuple[int, int]:
        return self.topics[partition[0]].logs[partition[1]].first_at(at_ms)


class World:
    """So many lives, each a group; the first ones have the names of the registered groups."""

    def __init__(self, seed: int, count: int) -> None:
        self.random = random.Random(seed)
        names = [*REGISTERED, *(f"g{number}" for number in range(count - len(REGISTERED)))]
        lives = [Life(name, BILLING.get(name, f"of-{name}"), self.random, BEGAN_MS) for name in names]
        self.oracles = list(map(Oracle, lives))
        self.kafka = Kafka(self.oracles, self.random)
        self.down, self.away = self._absence(20), self._absence(8)
        self.told, self.expected = Told(), list[Expected]()
        self.since: dict[Alert, int] = {}
        self.succeeded_ms: int | None = None
        self.silent = [0, 0]  # minutes in which a group was so for certain, and may have been

    def _absence(self, longest: int) -> range:
        """Minutes, or none."""
        begin, length = self.random.randrange(MINUTES), self.random.randint(1, longest)
        return range(begin, begin + length if self.random.random() < 0.6 else begin)

    async def lived(self, rules: str) -> None:
        """All minutes. `rules`: what is not named there is not kept."""
        self._begin()
        for minute in range(MINUTES):
            now_ms = self.kafka.now_ms = BEGAN_MS + minute * MINUTE_MS
            self.kafka.runs = minute not in self.down
            for oracle in self.oracles:
                oracle.life.minute(now_ms, self.kafka.runs)
            if minute in self.away:
                self._begin()
                found: dict[str, float] = {}
            else:
                await self.watcher.look()
                self.succeeded_ms = now_ms if self.kafka.runs else self.succeeded_ms
                found = self._scraped(rules)
            up = {UP["kafka"]: self.kafka.runs, UP["stream-watch"]: minute not in self.away}
            self.told.add(minute, found | up | {OTHERS: 0})
            self.expected.append(self._judged(minute, now_ms))

    def _begin(self) -> None:
        """The watch is started anew, and knows nothing."""
        registry = [
            Watched(one.life.name, one.life.topic, len(one.life.logs), one.life.retention_ms, one.life.markers)
            for one in self.oracles
        ]
        looked = self.kafka.looked
        self.watcher = Watcher(
            KafkaSettings(), lambda: self.kafka.now_ms, 15, ask=self._ask, registry=registry, looked=looked
        )
        self.metrics = WatchMetrics(lambda: self.watcher.known)
        self.succeeded_ms = None
        for oracle in self.oracles:
            oracle.forget()

    async def _ask(self, seen: Seen) -> Mapping[str, Money | None]:
        """The workers of billing groups."""
        return {name: Money(Decimal(10), 100) if seen.groups[name].members else None for name in BILLING}

    def _scraped(self, rules: str) -> dict[str, float]:
        samples = [sample for one in self.metrics.collect() if one.name in rules for sample in one.samples]
        found = {}
        for sample in samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            seconds = (
                BEGAN_MS / 1000 if sample.name.endswith("timestamp_seconds") else 0
            )  # promtool's clock begins at 0
            found[f"{sample.name}{{{labels}}}"] = sample.value - seconds
        return found

    def _judged(self, minute: int, now_ms: int) -> Expected:
        told = {one.life.name: self._group(one, minute, now_ms) for one in self.oracles}
        found = {(name, group): sure for group, alerts in told.items() for name, sure in alerts.items() if sure != NO}
        return found | self._silent(minute) | dict.fromkeys(self._of_all(minute, now_ms), YES)

    def _silent(self, minute: int) -> Expected:
        """Groups with members and something to read whose commits this watch has not seen."""
        possible = [self._looks(minute) and one.may_be_silent for one in self.oracles]
        certain = [self._looks(minute) and one.is_silent for one in self.oracles]
        self.silent = [self.silent[0] + 1 if any(certain) else 0, self.silent[1] + 1 if any(possible) else 0]
        sure = YES if self.silent[0] > 15 else MAY if self.silent[1] > 15 else NO
        return {("WatchUnknown", "commit"): sure} if sure != NO else {}

    def _looks(self, minute: int) -> bool:
        return minute not in self.away and minute not in self.down

    def _group(self, oracle: Oracle, minute: int, now_ms: int) -> dict[str, int]:
        life = oracle.life
        if not self._looks(minute):
            alerts = oracle.blind()
        else:
            seen, answer = self.kafka.members[life.name], self.kafka.answers[life.name]
            unstarted = not answer.committed and answer.state in ("Empty", "Dead")
            stable = bool(answer.members) and answer.state == "Stable"
            alerts = oracle.judge(now_ms, Range(min(seen), max(seen)), stable, unstarted)
            oracle.priced = oracle.priced or bool(answer.members)
        if life.name not in BILLING:
            del alerts["MoneyLost"]
        return alerts

    def _of_all(self, minute: int, now_ms: int) -> set[Alert]:
        """What is wrong with Kafka and the watch themselves, for as many minutes as it takes."""
        looks, there = self._looks(minute), minute not in self.away
        blind = there and self.succeeded_ms is not None and now_ms - self.succeeded_ms > 120_000
        wrong = {
            ("BrokerDown", ""): (minute in self.down, 1),
            ("ProcessDown", ""): (not there, 2),
            ("WatchBlind", ""): (blind, 0),
            ("WatchAway", ""): (not there or self.succeeded_ms is None, 5),
            ("WatchUnknown", "kafka"): (there and not looks, 15),
            **{("WatchUnknown", reason): (looks and found, 15) for reason, found in self._unknown().items()},
        }
        for one in self.oracles[: len(REGISTERED)]:
            unwatched = not looks or one.life.trouble in ("coordinator", "denied")
            wrong["GroupUnwatched", one.life.name] = (unwatched, 15)
        self.since = {name: self.since.get(name, 0) + 1 for name, (so, _) in wrong.items() if so}
        return {name for name, (_, minutes) in wrong.items() if self.since.get(name, 0) > minutes}

    def _unknown(self) -> dict[str, bool]:
        """Why something is unknown, after a look."""
        troubles = {one.life.trouble for one in self.oracles}
        ahead = [
            place.committed is not None and place.committed > place.end and one.life.trouble == ""
            for one in self.oracles
            for place in one.places
        ]
        idle = [name for name in BILLING if not self.kafka.answers.get(name, GroupSeen("")).members]
        found = {"group": "coordinator" in troubles, "denied": "denied" in troubles, "offsets": "leader" in troubles}
        return {**found, "ahead": any(ahead), "workers": bool(idle)}
