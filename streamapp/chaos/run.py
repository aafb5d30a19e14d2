"""A chaos run: the real stack on a broker of its own, a steady load, faults by plan, then the check of every bill.

1  broker and topics     2  workers, and beside them the stock counter     3  load and faults     4  drain
5  stop                  6  the independent check
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from streamapp.access.wanted import RECONCILER
from streamapp.broker.broker import Broker
from streamapp.broker.reachable import Reachable, reachable
from streamapp.broker.secure import ADMIN
from streamapp.chaos import stock as chaos_stock
from streamapp.chaos.fleet import Fleet
from streamapp.chaos.load import TOPIC, Load
from streamapp.chaos.plan import WORKERS_FIRST, Step
from streamapp.chaos.report import ChaosReport, Done
from streamapp.chaos.world import GROUP, PROPERTIES, World
from streamapp.clock import Clock, monotonic_s, wall_ms
from streamapp.errors import StreamError
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import read
from streamapp.kafka.provision import apply
from streamapp.settings import Settings
from streamapp.simulate.usage import HOUR_MS, UsageSpec, usage_stream
from streamapp.topics.registry import TOPICS, group, topic
from streamapp.verify.report import BillsReport

GATEWAY = "llm-gateway"  # whose load it is
SESSIONS_END = {"connections.max.reauth.ms": "20000"}  # many times in a run
HISTORY_HOURS = 12
LOAD_SHARE = 0.75  # of the run; the rest is for starting, draining and checking
TICK_S = 0.1
ASK_S = 0.3  # between two questions about offsets
RECOVERY_TIMEOUT_S = 120.0
DRAIN_TIMEOUT_S = 180.0
STOCK_DRAIN_S_MAX = 60.0  # it often stands still for good; half of the load's time, at most this
SESSION_S = 6
IDLE_S = 5  # silent partitions are billed by the wall clock, also when the silence is an outage


@dataclass
class Chaos:
    """One run in `folder`. `say` is told what happens, `show` how far it is: events sent, records behind."""

    settings: Settings
    folder: Path
    seed: int
    events: int
    minutes: float
    with_stock: bool
    steps: Sequence[Step]
    agent: str  # our workers' app, as `-A` names it
    secure: bool  # on a broker that asks who comes
    verify: Callable[[Settings], BillsReport]
    say: Callable[[str], None]
    show: Callable[[int, str], None]
    clock: Clock = wall_ms
    done: list[Done] = field(default_factory=list)
    fleets: list[Fleet] = field(default_factory=list)

    def run(self) -> ChaosReport:
        """Raises what the stack raises when it cannot be started or does not come back; leaves no process behind."""
        locks, properties = (self.folder / "security", SESSIONS_END) if self.secure else (None, {})
        where = reachable(
            self.folder / "broker", self.settings.cache_dir, locks, properties={**PROPERTIES, **properties}
        )
        with where.broker as broker, self._workers(where) as (ours, stock):
            kafka = where.of(ADMIN)
            now_ms = self.clock()
            spec = UsageSpec(now_ms - HISTORY_HOURS * HOUR_MS, now_ms, self.events, late=0.02, bad=0.01, seed=self.seed)
            load_s = self.minutes * 60 * LOAD_SHARE
            load = Load(where.of(GATEWAY), usage_stream(spec), self.events, load_s)
            run = _Running(self, broker, Admin(kafka), load, ours, monotonic_s())
            load.allow(self.steps[0].at if self.steps else 1.0)
            load.start()
            self._suffer(run, load_s)
            load.allow(1.0)
            run.until(lambda: not load.is_alive() and not any(fleet.hurt() for fleet in self.fleets), 2 * load_s)
            load.end()
            self.say(f"{load.sent + load.again + load.odd:,} records sent; draining")
            unread = run.drain(GROUP, DRAIN_TIMEOUT_S)
            self.say(f"{unread:,} records are not read")
            stock_unread = run.drain(chaos_stock.GROUP, min(STOCK_DRAIN_S_MAX, load_s / 2)) if stock is not None else 0
            for fleet in self.fleets:
                fleet.stop()
            self.say("checking every bill")
            verified = self.verify(self.settings.model_copy(update={"kafka": where.of(RECONCILER)}))
            counted = None
            if stock is not None:
                changelog = read(confluent_config(kafka), chaos_stock.CHANGELOG)
                counted = chaos_stock.compare(load.keys, changelog, stock_unread)
            return ChaosReport(
                seed=self.seed,
                events=load.sent,
                sent_again=load.again,
                odd=load.odd,
                faults=self.done,
                ended=ours.ended,
                takeovers_s=ours.takeovers(),
                unread=unread,
                refused=ours.refused,
                verified=verified,
                stock=counted,
            )

    def _suffer(self, run: _Running, load_s: float) -> None:
        """One fault after the other, each when its share of the load is sent and chunks are under way; the load waits
        for the next one. After one without recovery no more: there is something to be looked at."""
        patience_s = load_s + RECOVERY_TIMEOUT_S
        for step, next_at in zip(self.steps, [*(step.at for step in self.steps[1:]), 1.0], strict=True):
            done = run.done()
            run.load.allow(next_at)
            run.until(partial(run.load.reached, step.at), patience_s)
            run.until(partial(run.goes_on, done), patience_s)
            self.done.append(run.suffer(step))
            if self.done[-1].recovery_s is None:
                return

    @contextmanager
    def _workers(self, where: Reachable) -> Iterator[tuple[Fleet, Fleet | None]]:
        apply(Admin(where.of(ADMIN)), TOPICS, 1)
        where.give_rights(chaos_stock.RIGHTS if self.with_stock else ())
        shared = {
            "STREAM_WORKER__SESSION_TIMEOUT_SECONDS": str(SESSION_S),
            "STREAM_BILLING__IDLE_SECONDS": str(IDLE_S),
        }
        environment = {**shared, **dict(where.of(group(GROUP).principal).variables())}
        ours, stock = Fleet(self.folder / "billing-agg", environment, self.agent), None
        self.fleets.append(ours)
        if self.with_stock:
            code = self.folder / "stock"
            chaos_stock.write_module(code, topic(TOPIC).partitions)
            theirs = {**shared, **dict(where.of(chaos_stock.GROUP).variables())}
            stock = Fleet(code, theirs, chaos_stock.MODULE, code)
            self.fleets.append(stock)
        try:
            for fleet in self.fleets:
                fleet.scale(WORKERS_FIRST)
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
    ours: Fleet
    began_s: float
    asked_s: float = 0.0
    pause: threading.Event = field(default_factory=threading.Event)

    def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Keep all running until a condition holds; False when it does not in time, or when a worker wants a person."""
        end_s = monotonic_s() + timeout_s
        while not condition():
            if self.load.trouble is not None:
                raise self.load.trouble
            now_s = monotonic_s()
            if now_s > end_s or self.ours.refused:
                return False
            for fleet in self.chaos.fleets:
                fleet.tick(now_s)
            self._show(now_s)
            self.pause.wait(TICK_S)
        return True

    def pass_time(self, until_s: float) -> None:
        self.until(lambda: monotonic_s() >= until_s, until_s - monotonic_s() + 1)

    def suffer(self, step: Step) -> Done:
        """Do a fault, and wait until every partition goes on."""
        chaos, at_s = self.chaos, monotonic_s()
        committed = self.committed(GROUP)
        target = {partition: min(end, committed.get(partition, 0) + 1) for partition, end in self._ends().items()}
        chaos.say(f"{at_s - self.began_s:5.0f} s  {step}")
        World(self.broker, self.admin, self.until, self.pass_time).suffer(step, self.ours)
        for fleet in chaos.fleets:
            fleet.suffer(step)
        recovered = self.until(lambda: self._reached(GROUP, target) and self.ours.at_work(), RECOVERY_TIMEOUT_S)
        recovery_s = round(monotonic_s() - at_s, 1) if recovered else None
        chaos.say(f"         every partition goes on after {recovery_s:g} s" if recovery_s else "         no recovery")
        return Done(step, at_s - self.began_s, recovery_s)

    def drain(self, group: str, timeout_s: float) -> int:
        """Wait until a group has read everything. Returns how many records it has not."""
        ends = self._ends()
        if self.until(lambda: self._reached(group, ends), timeout_s):
            return 0
        committed = self.committed(group)
        return sum(end - committed.get(partition, 0) for partition, end in ends.items())

    def _reached(self, group: str, target: dict[int, int]) -> bool:
        """Whether the group committed these offsets. Asked a few times a second at most: questions cost, too."""
        if monotonic_s() - self.asked_s < ASK_S:
            return False
        self.asked_s = monotonic_s()
        try:
            committed = self.committed(group)
        except StreamError:
            return False  # the broker is away; ask again
        return all(committed.get(partition, 0) >= offset for partition, offset in target.items())

    def done(self) -> int:
        """How many records our workers have counted."""
        return sum(self.committed(GROUP).values())

    def goes_on(self, since: int) -> bool:
        """Whether more than that is counted, or nothing more will be."""
        return self.done() > since or not self.load.is_alive()

    def committed(self, group: str) -> dict[int, int]:
        """What a group has committed of the usage topic."""
        return {number: offset for (name, number), offset in self.admin.committed(group).items() if name == TOPIC}

    def _ends(self) -> dict[int, int]:
        ends = self.admin.end_offsets([(TOPIC, number) for number in range(topic(TOPIC).partitions)])
        return {number: end for (_, number), end in ends.items()}

    def _show(self, now_s: float) -> None:
        self.chaos.show(self.load.sent, f"{now_s - self.began_s:.0f} s")
