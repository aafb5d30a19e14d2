"""What goes wrong around the workers in a chaos run: the broker, the changelog, the group's offsets.

Everything is put back as it was, so that what follows meets an ordinary world again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from streamapp.broker.broker import Broker
from streamapp.chaos.fleet import Fleet
from streamapp.chaos.load import TOPIC
from streamapp.chaos.plan import Fault, Step
from streamapp.clock import monotonic_s
from streamapp.errors import Unavailable
from streamapp.kafka.admin import Admin

GROUP = "billing-agg"
CHANGELOG = "billing-agg-usage_hourly-changelog"
GROUP_TOOL = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
BROKER_TIMEOUT_S = 120.0
WORLD_TIMEOUT_S = 60.0  # for a group to be empty, and for a log to be compacted
BACK_RECORDS = 2000  # so many in each partition are read again
NO_ROOM = {"max.message.bytes": "500"}  # no transaction's rows are as small as that
EAGER = {"segment.ms": "500", "min.cleanable.dirty.ratio": "0"}  # every segment but the last is compacted at once
CLEANED = "cleaner-offset-checkpoint"
PROPERTIES = {"log.cleaner.backoff.ms": "200"}
"""What the broker of a chaos run needs: its cleaner looks for work five times a second."""

Until = Callable[[Callable[[], bool], float], bool]
"""Keeps all running until a condition holds, for so many seconds at most; whether it held."""


@dataclass(frozen=True)
class World:
    """The broker of a run and what is on it."""

    broker: Broker
    admin: Admin
    until: Until
    pass_time: Callable[[float], None]  # keeps all running until a moment of the monotonic clock

    def suffer(self, step: Step, ours: Fleet) -> None:
        """Do the part of a fault that is not a worker's. Raises what Kafka raises when it does not do as told."""
        match step.fault:
            case Fault.BROKER | Fault.OUTAGE:
                self.broker.kill()
                self.pass_time(monotonic_s() + step.seconds)
                self.broker.start(BROKER_TIMEOUT_S)
            case Fault.REFUSES:
                with self._changelog(NO_ROOM):
                    self.pass_time(monotonic_s() + step.seconds)
            case Fault.COMPACTED:
                self._compact()
            case Fault.PUT_BACK:
                self._put_back(ours)

    @contextmanager
    def _changelog(self, configs: Mapping[str, str]) -> Iterator[None]:
        """The changelog with other settings for a while."""
        usual = self.admin.describe((CHANGELOG,))[CHANGELOG].configs
        self.admin.set_configs(CHANGELOG, configs)
        try:
            yield
        finally:
            self.admin.set_configs(CHANGELOG, {name: usual[name] for name in configs})

    def _compact(self) -> None:
        """Have what is in the changelog now compacted, up to its open segments."""
        before = self._cleaned()
        with self._changelog(EAGER):
            if not self.until(lambda: self._cleaned() > before, WORLD_TIMEOUT_S):
                raise Unavailable(f"{CHANGELOG} was not compacted within {WORLD_TIMEOUT_S:g} s")

    def _cleaned(self) -> int:
        """Offsets of the changelog that the broker's cleaner has passed. Its file: version, count, then lines of topic,
        partition, offset."""
        lines = (line.split() for file in self.broker.data_dir.rglob(CLEANED) for line in file.read_text().splitlines())
        return sum(int(line[2]) for line in lines if len(line) == 3 and line[0] == CHANGELOG)

    def _put_back(self, ours: Fleet) -> None:
        """With Kafka's own tool, which wants the group to be empty, behind everybody's back."""
        ours.rest()
        try:
            if not self.until(self._left, WORLD_TIMEOUT_S):
                raise Unavailable(f"group {GROUP} did not become empty within {WORLD_TIMEOUT_S:g} s")
            where = ("--group", GROUP, "--topic", TOPIC, "--reset-offsets", "--shift-by", str(-BACK_RECORDS))
            done = self.broker.tool(GROUP_TOOL, *where, "--execute")
            if done.returncode or "Error" in done.stdout:
                raise Unavailable(f"Kafka's tool did not put {GROUP} back: {done.stdout}{done.stderr}")
        finally:
            ours.wake()

    def _left(self) -> bool:
        """Whether nobody is in the group any more. A busy broker that does not say is asked again."""
        try:
            return self.admin.group(GROUP).state in ("Empty", "Dead")
        except Unavailable:
            return False
