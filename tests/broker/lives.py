"""A cluster's life, step by step: usage, workers that come and go, a broker that dies, offsets that are put back.

The steps stand alone, so that a history replays without Hypothesis. The end compares everything with the oracle.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from oracle import Oracle
from usage_log import value
from workers import PARTITIONS, USAGE, Cluster, Sent, bodies, cluster

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import wall_ms

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
HOURS = 10  # of event time, at most
TEAMS = [f"team_{number}" for number in range(20)]
QUICK = {"worker__chunk_records": 7, "kafka__delivery_timeout_seconds": 10}
STATES = ("one", "two")

History = list[tuple[str, dict[str, Any]]]
"""Names of steps with their arguments."""


class Usage:
    """What was sent, around an event time that moves on."""

    def __init__(self, stack: Cluster) -> None:
        self.stack = stack
        self.newest_ms = wall_ms() // HOUR_MS * HOUR_MS - 2 * HOUR_MS
        self.at_ms = self.newest_ms - HOURS * HOUR_MS
        self.sent: list[Sent] = []
        self._ids = itertools.count()

    def produce(self, minutes: int, late_minutes: int) -> None:
        """An event of every team, `minutes` after those before; or that much earlier."""
        self.at_ms = min(self.at_ms + minutes * MINUTE_MS, self.newest_ms)
        made = []
        for team in TEAMS:
            at_ms = self.at_ms - late_minutes * MINUTE_MS
            made.append(Sent(team.encode(), value(f"event-{next(self._ids)}", at_ms, team)))
        self.stack.send(made)
        self.sent += made

    def again(self, count: int, conflicting: bool) -> None:
        """The newest records once more, or their ids with other bytes."""
        old = self.sent[-count:]
        if conflicting:
            old = [one._replace(value=(one.value or b"").replace(b'"gateway"', b'"elsewhere"')) for one in old]
        self.stack.send(old)


class Fleet:
    """Up to two workers with disks of their own; one that ended is started again by whoever waits for work."""

    def __init__(self, stack: Cluster) -> None:
        self.stack = stack
        self.running: dict[str, WorkerProcess] = {}

    def start(self, state: str) -> None:
        worker = self.running.get(state)
        if worker is None or not worker.runs:
            self.running[state] = self.stack.start(state, **QUICK)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait, and start again what ends meanwhile."""

        def holds() -> bool:
            for state in list(self.running) or STATES[:1]:
                self.start(state)
            return condition()

        self.stack.wait(holds)

    def drain(self) -> None:
        ends = {number: end for number, end in self.stack.ends().items() if end}
        self.until(lambda: self.stack.committed().items() >= ends.items())

    def end(self) -> None:
        for worker in self.running.values():
            worker.stop()
        self.running.clear()


class Life:
    """At first some usage and one worker."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.history: History = []
        self._ending = ExitStack()
        self._broker = broker
        broker.start()
        self._ending.callback(broker.kill)
        folder.mkdir(exist_ok=True)
        self._stack = self._ending.enter_context(cluster(broker, folder))
        self._usage, self._fleet = Usage(self._stack), Fleet(self._stack)
        self._usage.produce(0, 0)
        self._fleet.start(STATES[0])

    def step(self, name: str, **arguments: Any) -> None:
        """One step of a history."""
        self.history.append((name, arguments))
        getattr(self, name)(**arguments)

    def produce(self, minutes: int, late_minutes: int = 0) -> None:
        self._usage.produce(minutes, late_minutes)

    def again(self, count: int, conflicting: bool = False) -> None:
        self._usage.again(count, conflicting)

    def scale(self, state: str) -> None:
        """A worker more, or one less."""
        if state in self._fleet.running:
            self._fleet.running.pop(state).stop()
        else:
            self._fleet.start(state)

    def kill(self) -> None:
        """kill -9, in the middle of the work."""
        before = self._stack.done()
        self._usage.produce(61, 0)
        self._fleet.until(lambda: self._stack.done() > before)
        for worker in self._fleet.running.values():
            worker.kill()

    def restart(self) -> None:
        self._fleet.end()
        self._fleet.start(STATES[0])

    def reset(self, back: int) -> None:
        """Offsets put back with Kafka's own tool."""
        self._fleet.drain()
        self._fleet.end()
        self._stack.wait(lambda: self._stack.admin.group("billing-agg").state == "Empty")
        self._stack.group_tool("--reset-offsets", "--topic", USAGE, "--shift-by", str(-back), "--execute")

    def bounce(self) -> None:
        """The broker dies in the middle of the work and comes back."""
        self._usage.produce(61, 0)
        self._broker.kill()
        self._broker.start()

    def finish(self) -> None:
        """Compare with the oracle's bills and dead letters, close what is silent, and compare again. Ends
        everything."""
        with self._ending:
            self._fleet.drain()
            log = self._stack.read(USAGE)
            oracle = Oracle({}, partitions=PARTITIONS)
            oracle.read(log)
            assert self._stack.bills() == sorted(bill.value for bill in oracle.bills)

            self._fleet.end()
            oracle.idle(wall_ms(), {})
            worker = self._stack.start(STATES[1], billing__idle_seconds=0.3)
            self._stack.wait(lambda: len(self._stack.bills()) >= len(oracle.bills), 60, worker)
            oracle = Oracle({}, partitions=PARTITIONS)
            oracle.read(log)
            oracle.idle(wall_ms(), {bill["id"]: bill["timestamp"] for bill in bodies(self._stack.bills())})
            assert self._stack.bills() == sorted(bill.value for bill in oracle.bills)
            letters = [(letter.partition, letter.offset, letter.reason) for letter in self._stack.letters()]
            assert letters == sorted((*place, reason) for place, reason in oracle.letters.items())
            self._stack.verify()

    def end(self) -> None:
        """End everything without a look."""
        self._ending.close()


def live(life: Life, history: History) -> None:
    """A history, step by step, and the comparison at its end."""
    try:
        for name, arguments in history:
            life.step(name, **arguments)
        life.finish()
    finally:
        life.end()
