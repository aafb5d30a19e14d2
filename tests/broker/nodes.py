"""Three brokers of a cluster that grows, and the operator who starts and restarts them as `cluster grow` says."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import forked
from confluent_kafka import KafkaError, Message
from forked import PROGRAM
from workers import Feed, usage_producer, variables

from streamapp.broker.broker import Broker
from streamapp.broker.quorum import Member
from streamapp.broker.secure import ADMIN, Secured
from streamapp.clock import monotonic_s, wall_ms
from streamapp.errors import Unavailable
from streamapp.kafka.cluster_admin import ClusterAdmin
from streamapp.processes.child import HOST, free_port
from streamapp.settings import KafkaSettings
from streamapp.simulate.usage import HOUR_MS, UsageSpec, usage_stream

STEP = re.compile(r"^\S+ \d+/\d+ (?!…)(OPERATOR: )?(.*)")
SETTING = re.compile(r"\b([a-z]+(?:\.[a-z]+)+)=(\d+)\b(?![.:])")
PROJECT = PROGRAM.parent.parent
AWAY = 69  # a request timed out: the machine may be busy
AWAY_MAX = 5  # so often "call again" is followed
LASTS_S = 3_600  # more than there is time for
SETTLED = ("cluster", "check", "--wait", "240")


class Nodes:
    """Their processes by number. Ports stay the same, as names in a cluster do. `locks`: who may log in to them."""

    def __init__(self, folder: Path, cache_dir: Path, locks: Secured | None = None) -> None:
        self.folder, self._cache_dir, self._locks = folder, cache_dir, locks
        self._settings: dict[int, dict[str, str]] = {}
        self.ports = [(free_port(), free_port()) for _ in range(3)]
        self.controllers = tuple(f"{HOST}:{controller}" for _, controller in self.ports)
        self.bootstrap = ",".join(f"{HOST}:{port}" for port, _ in self.ports)
        self.kafka = locks.settings(ADMIN, self.bootstrap) if locks else KafkaSettings(bootstrap_servers=self.bootstrap)
        self.brokers: dict[int, Broker] = {}

    def make(
        self, number: int, member: Member | None, kind: type[Broker] = Broker, more: Mapping[str, str] = {}
    ) -> Broker:
        """A node, not started; the process that its folder had is killed."""
        if number in self.brokers:
            self.brokers[number].kill()
        port, controller_port = self.ports[number]
        own = {"node.id": str(number), **self._settings.get(number, {}), **more}
        make = self._locks.broker if self._locks else partial(kind, cache_dir=self._cache_dir)
        self.brokers[number] = make(
            self.folder / str(number),
            port=port,
            controller_port=controller_port,
            heap_mb=192,
            properties=own,
            member=member,
        )
        return self.brokers[number]

    def operate(self, text: str) -> None:
        """Do what a line for the operator says."""
        number = int(text.split()[1].rstrip(":"))
        if "--no-initial-controllers" in text:
            (cluster_id,) = re.findall(r"--cluster-id=(\S+)", text)
            self._settings[number] = {k: v for k, v in SETTING.findall(text) if k != "node.id"}
            self.make(number, Member(number, self.controllers, cluster_id=cluster_id)).start(120)
            return
        self._settings.setdefault(number, {}).update({k: v for k, v in SETTING.findall(text) if k != "node.id"})
        self.brokers[number].stop()
        self.make(number, Member(number, self.controllers)).start(120)

    def in_sync(self) -> bool:
        """Whether every node is there and every replica in sync."""
        with suppress(Unavailable):
            there, rows = ClusterAdmin(self.kafka).replicas()
            return there == {0, 1, 2} and all(len(row.in_sync) == len(row.nodes) == 3 for row in rows.values())
        return False

    def environment(self) -> dict[str, str]:
        """What an operator has in his."""
        return {**variables(self.kafka), "STREAM_CACHE_DIR": str(self._cache_dir)}

    def settled(self) -> None:
        """`streamapp cluster check --wait`, as before each restart of a rolling one."""
        done = forked.command(*SETTLED, environment=self.environment(), timeout_s=300)
        assert done.returncode == 0, done

    def restart(self, number: int) -> None:
        """As `kubectl rollout restart` does to a pod."""
        self.settled()
        self.brokers[number].stop()
        self.brokers[number].start(120)

    def end(self) -> None:
        for broker in self.brokers.values():
            broker.kill()

    def grow(self, log: Path, *, kills: bool = True) -> list[str]:
        """`streamapp cluster grow`, killed as soon as it has begun a step for the first time, and called again until it
        is done; or left alone. Returns all that it said."""
        said: list[str] = []
        killed: set[str] = set()
        away = 0
        while True:
            with self._grow(log) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    said.append(line.rstrip())
                    found = STEP.match(line)
                    if found is None:
                        continue
                    step = " ".join(found[2].split()[:3])
                    if kills and step not in killed and "done:" not in line:
                        killed.add(step)
                        process.send_signal(signal.SIGKILL)
                    if found[1]:
                        self.operate(found[2])
            away += process.returncode == AWAY  # "call again"
            if process.returncode != -signal.SIGKILL and (process.returncode != AWAY or away > AWAY_MAX):
                assert process.returncode == 0, (said[-8:], log.read_text()[-2000:])
                return said

    @contextmanager
    def _grow(self, log: Path) -> Iterator[subprocess.Popen[str]]:
        environment = self.environment() | {"PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "streamapp", "cluster", "grow", "--wait", "240"]
        with (
            log.open("ab") as errors,
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=PROJECT
            ) as process,
        ):
            yield process


class Acked(Feed):
    """A load that remembers what was acknowledged, and the longest time without an acknowledgement."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.acked: Counter[int] = Counter()
        self.count = 0
        self.refused: Counter[str] = Counter()
        self._longest_s, self._last_s = 0.0, monotonic_s()
        self._lock = threading.Lock()

    def pause_s(self) -> float:
        """The longest time without an acknowledgement since this was asked last."""
        with self._lock:
            longest = max(self._longest_s, monotonic_s() - self._last_s)
            self._longest_s = 0.0
            return longest

    def _told(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failed += 1
            self.refused[error.name()] += 1
            return
        self.acked[hash((message.key(), message.value()))] += 1
        self.count += 1
        now_s = monotonic_s()
        with self._lock:
            self._longest_s, self._last_s = max(self._longest_s, now_s - self._last_s), now_s


@contextmanager
def ended(nodes: Nodes) -> Iterator[Nodes]:
    """The processes end with the block."""
    try:
        yield nodes
    finally:
        nodes.end()


@contextmanager
def flowing(kafka: KafkaSettings, rate: int) -> Iterator[Acked]:
    """Usage of the last hours at a steady rate."""
    now_ms = wall_ms()
    spec = UsageSpec(now_ms - 12 * HOUR_MS, now_ms, rate * LASTS_S, teams=100, late=0.03, duplicates=0.05, seed=16)
    feed = Acked(usage_producer(kafka), usage_stream(spec), rate)
    feed.start()
    try:
        yield feed
    finally:
        feed.end()
