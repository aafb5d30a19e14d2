"""Anything in any order on a real broker with real workers: the bills of the oracle, to the byte.

A few short examples, always the same ones. The thousands are in the model of the simulation; here the world is real.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from oracle import Oracle
from usage_log import value
from workers import PARTITIONS, USAGE, Cluster, Sent, bodies, cluster

from streamapp.clock import wall_ms
from streamapp.kafka.broker import Broker
from streamapp.ops.chaos_worker import WorkerProcess

EXAMPLES, STEPS = 3, 6
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
HOURS = 10  # of event time, at most
TEAMS = [f"team_{number}" for number in range(20)]
QUICK = {"worker__chunk_records": 7, "kafka__delivery_timeout_seconds": 10}
STATES = ("one", "two")


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


class BrokerMachine(RuleBasedStateMachine):
    """One example: a broker of its own, at first with some usage and one worker."""

    new_broker: Callable[..., Broker]
    folder: Path
    numbers = itertools.count()

    @initialize()
    def begin(self) -> None:
        self.ending = ExitStack()
        self.broker = type(self).new_broker()
        self.broker.start()
        self.ending.callback(self.broker.kill)
        folder = self.folder / f"example-{next(self.numbers)}"
        folder.mkdir()
        self.stack = self.ending.enter_context(cluster(self.broker, folder))
        self.usage, self.fleet = Usage(self.stack), Fleet(self.stack)
        self.usage.produce(0, 0)
        self.fleet.start("one")

    @rule(minutes=st.sampled_from([7, 61, 130]), late_minutes=st.sampled_from([0, 0, 45, 200]))
    def produce(self, minutes: int, late_minutes: int) -> None:
        self.usage.produce(minutes, late_minutes)

    @rule(count=st.sampled_from([5, 30]), conflicting=st.booleans())
    def again(self, count: int, conflicting: bool) -> None:
        self.usage.again(count, conflicting)

    @rule(state=st.sampled_from(STATES))
    def scale(self, state: str) -> None:
        """A worker more, or one less."""
        if state in self.fleet.running:
            self.fleet.running.pop(state).stop()
        else:
            self.fleet.start(state)

    @rule()
    def kill(self) -> None:
        """kill -9, in the middle of the work."""
        before = self.stack.done()
        self.usage.produce(61, 0)
        self.fleet.until(lambda: self.stack.done() > before)
        for worker in self.fleet.running.values():
            worker.kill()

    @rule()
    def restart(self) -> None:
        self.fleet.end()
        self.fleet.start("one")

    @rule(back=st.sampled_from([1, 1000]))
    def reset(self, back: int) -> None:
        """Offsets put back with Kafka's own tool."""
        self.fleet.drain()
        self.fleet.end()
        self.stack.wait(lambda: self.stack.admin.group("billing-agg").state == "EMPTY")
        self.stack.group_tool("--reset-offsets", "--topic", USAGE, "--shift-by", str(-back), "--execute")

    @rule()
    def bounce(self) -> None:
        """The broker dies in the middle of the work and comes back."""
        self.usage.produce(61, 0)
        self.broker.kill()
        self.broker.start()

    def teardown(self) -> None:
        with self.ending:
            self.fleet.drain()
            log = self.stack.read(USAGE)
            oracle = Oracle({}, partitions=PARTITIONS)
            oracle.read(log)
            assert self.stack.bills() == sorted(bill.value for bill in oracle.bills)

            self.fleet.end()
            oracle.idle(wall_ms(), {})
            worker = self.stack.start(STATES[1], billing__idle_seconds=0.3)
            self.stack.wait(lambda: len(self.stack.bills()) >= len(oracle.bills), 60, worker)
            oracle = Oracle({}, partitions=PARTITIONS)
            oracle.read(log)
            oracle.idle(wall_ms(), {bill["id"]: bill["timestamp"] for bill in bodies(self.stack.bills())})
            assert self.stack.bills() == sorted(bill.value for bill in oracle.bills)
            letters = [(letter.partition, letter.offset, letter.reason) for letter in self.stack.letters()]
            assert letters == sorted((*place, reason) for place, reason in oracle.letters.items())
            self.stack.verify()


@pytest.mark.timeout(600)  # three lives of a cluster; a busy machine takes its time
def test_any_history_of_real_workers_ends_in_the_bills_of_the_oracle(
    new_broker: Callable[..., Broker], tmp_path: Path
) -> None:
    class Here(BrokerMachine):
        folder = tmp_path

    Here.new_broker = staticmethod(new_broker)
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            phases=[Phase.generate],
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
