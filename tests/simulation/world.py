"""One seed, one world: a cluster, one to three workers with disks of their own, and everything that befalls them.

A partition's owner is a coroutine that takes the steps of the protocol (docs: one transaction per chunk). It can be
stopped at every step: for good (a crash), or to go on later when somebody else has taken over (a frozen process). The
tables, the task, the bytes, the stores and the comparison at takeover are the worker's own code.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from random import Random

from fake_kafka import Entry, Fenced, Kafka, Log, OutcomeUnknown
from memory_store import UsageStore
from owner import IDLE_MS, OUTPUTS, TOPIC_ID, Owner, Producer
from traffic import HOMES, Traffic
from truth import Truth, check_bills, check_crossings, check_letters
from usage_log import NowProducer, Rec, SetLimits, at, clock, make_admission

from streamapp.exact.partition.place import Place
from streamapp.meters.usage.parts import UsageTask, usage_parts
from streamapp.store.rows import Store, stored_position
from tables.usage.hourly import MonthKey
from tables.window import HOUR_MS, MINUTE_MS, Rules, month_end

RULES = Rules(retention_ms=6 * HOUR_MS, remember_ms=2 * HOUR_MS)
CROSSED = b'"type":"billing.budget.crossed"'
LIMITS = {
    "team_a": {"soft": "2.5", "hard": "123456789012345679"},
    "team_b": {"soft": "0.000000000001", "hard": "0.1"},
    "team_listed": {"hard": "246913578024691356.3"},
}
OTHERS = {"team_a": {"soft": "5", "hard": "2.6"}, "team_d": {"soft": "0.2"}}
EVENTS = {
    "produce": 50,
    "step": 100,
    "sleep": 12,
    "crash": 4,
    "freeze": 3,
    "wake": 6,
    "move": 4,
    "reset": 1,
    "wipe": 1,
    "limit": 1,
}
STEPS_MAX = 20_000  # a world at rest must get its work done within these


@dataclass(eq=False)
class Process:
    """A worker: its disks outlive its crashes."""

    disks: dict[int, UsageStore] = field(default_factory=dict)
    owners: list[Owner] = field(default_factory=list)
    frozen: bool = False


@lru_cache(maxsize=256)
def truth_of(log: tuple[Rec, ...], partitions: int) -> Truth:
    """What must come of a partition. It depends on the log alone: what befalls the workers changes nothing."""
    homes = {team: home % partitions for team, home in HOMES.items()}
    return Truth(log, homes, RULES.grace_ms, RULES.retention_ms, RULES.future_ms, RULES.remember_ms)


class World:
    """Everything there is. Subclasses break single rules (`planted`)."""

    fencing = True
    task_class = UsageTask

    def __init__(self, seed: int, events: int = 110) -> None:
        self.rng = Random(seed)
        self.idle = seed % 2 == 1
        self.calm = False  # no more faults
        self.now_ms = at("2025-01-31T20:10") + self.rng.randrange(HOUR_MS)  # the month ends on the way
        self.kafka = Kafka(self.rng.randint(1, 2), self.fencing)
        self.traffic = Traffic(self.rng, self.kafka.usage)
        self.processes = [Process() for _ in range(self.rng.randint(1, 3))]
        self.members: dict[int, Process] = {}  # partition → who owns it, as the group knows
        self.happened: Counter[str] = Counter()
        self.limits = SetLimits(**LIMITS)
        self._events = events

    def happens(self, likelihood: float) -> bool:
        return not self.calm and self.rng.random() < likelihood

    def make_task(self, partition: int, store: Store, producer: Producer | NowProducer) -> UsageTask:
        place = Place("billing-agg", "llm_usage", partition, TOPIC_ID, len(self.kafka.usage), OUTPUTS, entropy=bytes)
        admission = make_admission(partition, len(self.kafka.usage))
        parts = usage_parts(RULES, admission, self.limits)
        return self.task_class(parts, place, store, producer, stored_position(store))

    def to_restore(self, changelog: Log, checkpoint: int) -> list[tuple[int, Entry]]:
        return list(changelog.committed(checkpoint))

    # -- what happens ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Live through a random history, then `finish`."""
        for _ in range(self._events):
            name = self.rng.choices(list(EVENTS), list(EVENTS.values()))[0]
            self.happened[name] += 1
            getattr(self, name)()
        self.finish()

    def finish(self) -> None:
        """Without further faults: come to rest, let every hour close, and hold the result against the oracle."""
        self.calm = True
        for process in self.processes:
            self.end(process)
        self.rest()
        self.now_ms += 2 * HOUR_MS
        if not self.idle:
            self.traffic.finish(self.now_ms)
        self.rest()
        self.check()

    def produce(self) -> None:
        for _ in range(self.rng.randint(1, 6)):
            self.now_ms += self.rng.randrange(2 * MINUTE_MS)
            self.traffic.produce(self.now_ms)

    def sleep(self) -> None:
        self.now_ms += self.rng.choice([10_000, IDLE_MS, 5 * MINUTE_MS, 70 * MINUTE_MS])

    def step(self) -> None:
        self.assign()
        running = [(process, one) for process in self.processes if not process.frozen for one in process.owners]
        if running:
            process, owner = self.rng.choice(running)
            for _ in range(self.rng.randint(1, 40)):
                if not self.advance(process, owner):
                    return
            if owner.task is not None and self.happens(0.02):
                self._check_spent(owner)

    def crash(self) -> None:
        self.end(self.rng.choice(self.processes))

    def freeze(self) -> None:
        """The group gives a frozen member's partitions to others; the member does not know."""
        process = self.rng.choice(self.processes)
        process.frozen = True
        self.members = {number: owner for number, owner in self.members.items() if owner is not process}

    def wake(self) -> None:
        for process in self.processes:
            process.frozen = False

    def move(self) -> None:
        """A rebalance: the owner lets go, with whatever it has in hand."""
        if self.members:
            number = self.rng.choice(list(self.members))
            process = self.members.pop(number)
            for owner in [one for one in process.owners if one.partition == number]:
                self.drop(process, owner)

    def reset(self) -> None:
        """Somebody puts the group's offset back."""
        number = self.rng.randrange(len(self.kafka.usage))
        self.kafka.offsets[number] = self.rng.randint(0, self.kafka.offsets.get(number, 0))
        if number in self.members:
            self.end(self.members[number])

    def wipe(self) -> None:
        process = self.rng.choice(self.processes)
        self.end(process)
        process.disks.clear()

    def limit(self) -> None:
        """Somebody writes other limits into the directory. When that is seen is not a matter of the log."""
        if self.idle:
            self.limits.set(**self.rng.choice([LIMITS, OTHERS, {}]))

    # -- the group -------------------------------------------------------------------------------------------------

    def assign(self) -> None:
        able = [process for process in self.processes if not process.frozen]
        for number in range(len(self.kafka.usage)):
            if number not in self.members and able:
                process = self.rng.choice(able)
                if not any(owner.partition == number for owner in process.owners):
                    self._give(number, process)

    def assign_to(self, process: Process) -> None:
        """The group gives this member everything; who had it before does not know."""
        for number in range(len(self.kafka.usage)):
            self._give(number, process)

    def add_process(self) -> Process:
        self.processes.append(Process())
        return self.processes[-1]

    def _give(self, number: int, process: Process) -> None:
        self.members[number] = process
        process.owners.append(Owner(self, number, process.disks.setdefault(number, UsageStore())))

    def advance(self, process: Process, owner: Owner) -> bool:
        """One step. False when the process died of it."""
        try:
            owner.life.send(None)
        except (Fenced, OutcomeUnknown) as error:
            self.happened[type(error).__name__] += 1
            self.end(process)
            return False
        return True

    def end(self, process: Process) -> None:
        for owner in list(process.owners):
            self.drop(process, owner)
        process.frozen = False
        self.members = {number: owner for number, owner in self.members.items() if owner is not process}

    def drop(self, process: Process, owner: Owner) -> None:
        owner.life.close()
        process.owners.remove(owner)

    def rest(self) -> None:
        """Let the owners finish, undisturbed."""
        self.assign()
        for process in self.processes:
            for owner in process.owners:
                owner.resting = False
                for _ in range(STEPS_MAX):
                    if owner.resting:
                        break
                    assert self.advance(process, owner), "an undisturbed owner died"
                assert owner.resting, "no rest is found"

    # -- what must be true -----------------------------------------------------------------------------------------

    def check(self) -> None:
        kafka = self.kafka
        letters = [entry.value or b"" for _, entry in kafka.outputs["dead_letter"].committed()]
        for number, log in enumerate(kafka.usage):
            truth = self._truth(number, log)
            self.happened.update(truth.refused.values())
            stated = [
                entry.value or b""
                for _, entry in kafka.outputs["billing_events"].committed()
                if entry.txn.partition == number
            ]
            bills = [value for value in stated if CROSSED not in value]
            crossings = [value for value in stated if CROSSED in value]
            closed_ms = truth.watermark - RULES.grace_ms
            check_bills(bills, truth, "9999" if self.idle else clock(closed_ms - closed_ms % HOUR_MS)[:13])
            self.happened["revision"] += sum(b'"revision":0' not in bill for bill in bills)
            check_letters(letters, truth, number)
            self.happened["crossing"] += len(crossings)
            check_crossings(crossings, truth, None if self.limits.changes else LIMITS)
            self._check_rows(number, log)
            if not self.idle and log:
                assert stated == self._undisturbed(number, log), "other bytes than a run without faults"

    def _truth(self, number: int, log: list[Rec]) -> Truth:
        return truth_of(tuple(log), len(self.kafka.usage))

    def _check_spent(self, owner: Owner) -> None:
        """What months have come to is what the log says, up to the newest record that was folded, and not beyond."""
        assert owner.task is not None
        memory = owner.task.memory
        log = self.kafka.usage[owner.partition][: memory.position.next_offset]
        for month, cost in self._truth(owner.partition, log).spent.items():
            if month_end(month[0]) > memory.position.expired_ms:  # else its row is gone
                assert Fraction(memory.spent(MonthKey(*month))) == cost, f"{month}: bills and open hours"
        self.happened["spent"] += 1

    def _check_rows(self, number: int, log: list[Rec]) -> None:
        """Offset, position, changelog and every disk agree."""
        rows: dict[bytes, bytes] = {}
        versions: dict[bytes, set[bytes | None]] = {}
        for _, entry in self.kafka.changelogs[number].committed():
            assert entry.key is not None
            rows.pop(entry.key, None)
            versions.setdefault(entry.key, set()).add(entry.value)
            if entry.value is not None:
                rows[entry.key] = entry.value
        owner = next(one for one in self.members[number].owners if one.partition == number)
        assert {key: row for key, row in owner.store.rows.items() if key[:1] != b"u"} == rows
        self._check_spent(owner)
        position = stored_position(owner.store)
        assert self.kafka.offsets.get(number, 0) == len(log)
        assert (position.next_offset if position else 0) == len(log)
        again = UsageStore()
        again.write(dict(rows), 0)
        assert again.rows == owner.store.rows, "the index is not that of the rows"
        self.happened["expired row"] += sum(None in contents for contents in versions.values())
        billed = [versions[key] - {None} for key in versions if key[:1] == b"b"]
        assert all(len(contents) <= 1 for contents in billed), "a revision has two contents"  # none: gone at once

    def _undisturbed(self, number: int, log: list[Rec]) -> list[bytes]:
        task = World.make_task(self, number, UsageStore(), NowProducer(0))
        transaction = task.fold(log, self.now_ms)
        return [send.value or b"" for send in transaction.sends if send.topic == "billing_events"]
