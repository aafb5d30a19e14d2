"""A chaos run: the real stack on a broker of its own, a steady load, faults by plan, then the check of every bill.

1  broker and topics     2  workers, and beside them the stock counter     3  load and faults     4  drain
5  stop                  6  the independent check
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamapp.clock import Clock, monotonic_s, wall_ms
from streamapp.errors import StreamError, Unavailable
from streamapp.kafka.admin import Admin
from streamapp.kafka.broker import Broker
from streamapp.kafka.provision import apply
from streamapp.kafka.reader import read
from streamapp.kafka.security import confluent_config
from streamapp.ops import chaos_stock
from streamapp.ops.chaos_fleet import Fleet
from streamapp.ops.chaos_load import TOPIC, Load
from streamapp.ops.chaos_plan import WORKERS_FIRST, Fault, Step, plan
from streamapp.ops.chaos_stock import StockReport
from streamapp.ops.simulate import HOUR_MS, UsageSpec, usage_stream
from streamapp.ops.verify_report import Report
from streamapp.settings import KafkaSettings, Settings
from streamapp.topics.registry import TOPICS, topic

GROUP = "billing-agg"
HISTORY_HOURS = 12
LOAD_SHARE = 0.75  # of the run; the rest is for starting, draining and checking
TICK_S = 0.1
ASK_S = 0.3  # between two questions about offsets
READY_TIMEOUT_S = 60.0
RECOVERY_TIMEOUT_S = 120.0
DRAIN_TIMEOUT_S = 180.0
SESSION_S = 6
IDLE_S = 5  # silent partitions are billed by the wall clock, also when the silence is an outage


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that was done: when, in seconds from the start of the load, and until every partition went on."""

    step: Step
    at_s: float
    recovery_s: float | None

    def as_json(self) -> dict[str, Any]:
        return {"fault": self.step.fault.value, "at_s": round(self.at_s, 1), "recovery_s": self.recovery_s}


@dataclass
class ChaosReport:
    """The result. `verified` is the independent check's."""

    seed: int
    events: int
    sent_again: int
    faults: list[Done]
    ended: list[str]
    takeovers_s: list[float]
    verified: Report
    stock: StockReport | None

    @property
    def ok(self) -> bool:
        return self.verified.ok and all(done.recovery_s is not None for done in self.faults)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "ok": self.ok,
            "seed": self.seed,
            "events_in": self.events + self.sent_again,
            "sent_again": self.sent_again,
            "bills_out": self.verified.bills,
            "faults": [done.as_json() for done in self.faults],
            "ended_by_themselves": self.ended,
            "takeover_s_max": max(self.takeovers_s, default=None),
            **{name: found.count for name, found in self.verified.faults()},
            "stock_faust": None if self.stock is None else self.stock.as_json(),
            "verify": self.verified.as_json(),
        }


@dataclass
class Chaos:
    """One run in `folder`. `say` is told what happens, `show` how far it is: events sent, records behind."""

    settings: Settings
    folder: Path
    seed: int
    events: int
    minutes: float
    with_stock: bool
    verify: Callable[[Settings], Report]
    say: Callable[[str], None]
    show: Callable[[int, str], None]
    clock: Clock = wall_ms
    done: list[Done] = field(default_factory=list)
    fleets: list[Fleet] = field(default_factory=list)

    def run(self) -> ChaosReport:
        """Raises what the stack raises when it cannot be started or does not come back; leaves no process behind."""
        broker = Broker(self.folder / "broker", cache_dir=self.settings.cache_dir)
        with broker, self._workers(broker) as (ours, stock):
            kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
            now_ms = self.clock()
            spec = UsageSpec(now_ms - HISTORY_HOURS * HOUR_MS, now_ms, self.events, late=0.02, bad=0.01, seed=self.seed)
            load_s = self.minutes * 60 * LOAD_SHARE
            load = Load(kafka, usage_stream(spec), self.events / load_s)
            run = _Running(self, broker, Admin(kafka), load, monotonic_s())
            load.start()
            for step in plan(self.seed, self.minutes * LOAD_SHARE):
                run.pass_time(run.began_s + step.at * load_s)
                self.done.append(run.suffer(step))
            run.until(lambda: not load.is_alive() and not any(fleet.frozen() for fleet in self.fleets), 2 * load_s)
            load.end()
            self.say(f"{load.sent + load.again:,} records sent; draining")
            run.drain(GROUP, must=True)
            unread = run.drain(chaos_stock.GROUP, must=False) if stock is not None else 0
            for fleet in self.fleets:
                fleet.stop()
            self.say("every record is read; checking every bill")
            verified = self.verify(self.settings.model_copy(update={"kafka": kafka}))
            counted = None
            if stock is not None:
                changelog = read(confluent_config(kafka), chaos_stock.CHANGELOG)
                counted = chaos_stock.compare(load.keys, changelog, unread)
        return ChaosReport(self.seed, load.sent, load.again, self.done, ours.ended, ours.takeovers(), verified, counted)

    @contextmanager
    def _workers(self, broker: Broker) -> Iterator[tuple[Fleet, Fleet | None]]:
        admin = Admin(KafkaSettings(bootstrap_servers=broker.bootstrap))
        apply(admin, TOPICS, 1)
        environment = {
            "STREAM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
            "STREAM_WORKER__SESSION_TIMEOUT_SECONDS": str(SESSION_S),
            "STREAM_BILLING__IDLE_SECONDS": str(IDLE_S),
        }
        ours, stock = Fleet(self.folder / "billing-agg", environment), None
        self.fleets.append(ours)
        if self.with_stock:
            code = self.folder / "stock"
            chaos_stock.write_module(code, topic(TOPIC).partitions)
            stock = Fleet(code, environment, chaos_stock.MODULE, code)
            self.fleets.append(stock)
        try:
            for fleet in self.fleets:
                fleet.more(WORKERS_FIRST)
            yield ours, stock
        finally:
            for fleet in self.fleets:
                fleet.kill()


@dataclass
class _Running:
    """The part of a run in which things go wrong."""

    chaos: Chaos
    broker: Broker
    admin: Admin
    load: Load
    began_s: float
    asked_s: float = 0.0
    behind: int = 0
    pause: threading.Event = field(default_factory=threading.Event)

    def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Keep all running until a condition holds; False when it does not in time."""
        end_s = monotonic_s() + timeout_s
        while not condition():
            if self.load.trouble is not None:
                raise self.load.trouble
            now_s = monotonic_s()
            if now_s > end_s:
                return False
            for fleet in self.chaos.fleets:
                fleet.tick(now_s)
            self._show(now_s)
            self.pause.wait(TICK_S)
        return True

    def pass_time(self, until_s: float) -> None:
        """Keep all running until a moment."""
        self.until(lambda: monotonic_s() >= until_s, until_s - monotonic_s() + 1)

    def suffer(self, step: Step) -> Done:
        """Do a fault, and wait until every partition goes on."""
        chaos, at_s = self.chaos, monotonic_s()
        committed = self._committed(GROUP)
        target = {partition: min(end, committed.get(partition, 0) + 1) for partition, end in self._ends().items()}
        name = step.fault.value + (f" for {step.seconds:g} s" if step.seconds else "")
        chaos.say(f"{at_s - self.began_s:5.0f} s  {name}")
        for fleet in chaos.fleets:
            fleet.suffer(step)
        if step.fault is Fault.BROKER:
            self.broker.kill()
            self.pass_time(monotonic_s() + step.seconds)
            self.broker.start()
        ours = chaos.fleets[0]
        recovered = self.until(lambda: self._reached(GROUP, target) and ours.at_work(), RECOVERY_TIMEOUT_S)
        recovery_s = round(monotonic_s() - at_s, 1) if recovered else None
        chaos.say(f"         every partition goes on after {recovery_s:g} s" if recovery_s else "         no recovery")
        return Done(step, at_s - self.began_s, recovery_s)

    def drain(self, group: str, must: bool) -> int:
        """Wait until a group has read everything. Returns how many records it has not."""
        ends = self._ends()
        if self.until(lambda: self._reached(group, ends), DRAIN_TIMEOUT_S):
            return 0
        committed = self._committed(group)
        unread = sum(end - committed.get(partition, 0) for partition, end in ends.items())
        if must:
            raise Unavailable(f"{group} has not read {unread:,} records after {DRAIN_TIMEOUT_S:g} s")
        return unread

    def _reached(self, group: str, target: dict[int, int]) -> bool:
        """Whether the group committed these offsets. Asked a few times a second at most: questions cost, too."""
        if monotonic_s() - self.asked_s < ASK_S:
            return False
        self.asked_s = monotonic_s()
        try:
            committed = self._committed(group)
        except StreamError:
            return False  # the broker is away; ask again
        return all(committed.get(partition, 0) >= offset for partition, offset in target.items())

    def _committed(self, group: str) -> dict[int, int]:
        return {number: offset for (name, number), offset in self.admin.committed(group).items() if name == TOPIC}

    def _ends(self) -> dict[int, int]:
        ends = self.admin.end_offsets([(TOPIC, number) for number in range(topic(TOPIC).partitions)])
        return {number: end for (_, number), end in ends.items()}

    def _show(self, now_s: float) -> None:
        self.chaos.show(self.load.sent, f"{now_s - self.began_s:.0f} s")
