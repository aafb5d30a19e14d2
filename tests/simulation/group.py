"""A consumer group on a cluster in memory, moved by single calls; a history is a list of them.

Every call is one thing that happens: a record arrives, a chunk is worked on and dies half-way, a partition moves.
`check` may follow any of them: what is committed must be what an oracle says of the records committed so far, and
nothing else. The task, the bytes, the stores and the comparison at takeover are the worker's own code.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from arrivals import HOMES, PARTITIONS, RULES, TEAMS, Arrivals, as_read
from fake_kafka import Entry, Fenced, Kafka, Log, OutcomeUnknown
from group_check import check_disk, check_partition
from memory_store import UsageStore
from oracle import Oracle
from owner import OUTPUTS, SOURCE, TOPIC_ID
from usage_log import DIRECTORY, now
from verify_logs import text

from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.situation import Situation, check
from streamapp.meters.usage.parts import UsageTask, usage_parts
from streamapp.schemas.judging.decode import decode_usage
from streamapp.store.rows import Store, Writes, stored_position
from tables.admission import Admission
from tables.window import HOUR_MS

COMMITS, HALFWAY, UNHEARD = FATES = ("commits", "dies half-way", "commits unheard")


class Died(Exception):
    """The process ended in the middle of a transaction."""


@dataclass(eq=False)
class Owner:
    """A partition in a process's hands. `folded`: chunks whose transactions are to come, with their wall clock."""

    process: int
    task: UsageTask
    producer: FatedProducer
    fetch_next: int
    folded: list[tuple[Transaction, int]] = field(default_factory=list)


class FatedProducer:
    """Does what `fate` says to the next transaction; tells the group what has committed."""

    def __init__(self, group: Group, partition: int) -> None:
        self.group = group
        self.partition = partition
        self.epoch = group.kafka.start_producer(partition)
        self.fate = COMMITS
        self.now_ms = 0

    async def commit(self, transaction: Transaction) -> int | None:
        kafka = self.group.kafka
        txn = kafka.begin(self.partition, self.epoch)
        checkpoint = None
        for key, row in transaction.writes.items():
            checkpoint = 1 + kafka.send(txn, kafka.changelogs[self.partition], key, row)
        if self.fate == HALFWAY:
            raise Died
        for send in transaction.sends:
            kafka.send(txn, kafka.outputs[send.topic], send.key, send.value)
        txn.offset = transaction.next_offset
        kafka.commit(txn)
        self.group.committed(self.partition, transaction.next_offset, self.now_ms)
        if self.fate == UNHEARD:
            raise OutcomeUnknown
        return checkpoint

    async def stop(self) -> None:
        pass


class Always(dict[str, str]):
    """One text for every key."""

    def get(self, key: str, default: Any = None) -> str:
        return self[""]


class Group(Arrivals):
    """The cluster, two processes with disks of their own, and the oracle. Subclasses break single rules."""

    fencing = True
    task_class = UsageTask

    def __init__(self) -> None:
        super().__init__()
        self.kafka = Kafka(PARTITIONS, self.fencing)
        self.kafka.usage = self.logs
        self.disks: dict[tuple[int, int], UsageStore] = defaultdict(UsageStore)
        self.owners: dict[int, Owner] = {}
        self.frozen: list[Owner] = []
        self.last: list[int] = [0] * PARTITIONS  # which process had a partition last
        self.expected = [Oracle(self.poison, DIRECTORY, PARTITIONS) for _ in range(PARTITIONS)]
        self.read = [0] * PARTITIONS  # how far `expected` is: as far as is committed
        self.happened: Counter[str] = Counter()

    # -- work ------------------------------------------------------------------------------------------------------

    def work(self, partition: int, records: int = 100, fate: str = COMMITS, ahead: bool = False) -> None:
        """The owner folds a chunk, and commits it; `ahead`: it leaves that for later, and only commits what came
        before."""
        owner = self.owner(partition)
        chunk = self.logs[partition][owner.fetch_next : owner.fetch_next + records]
        if chunk:
            owner.fetch_next = chunk[-1].offset + 1
            owner.folded.append((owner.task.fold(chunk, self.now_ms), self.now_ms))
        self._commit(partition, owner, fate, leave=int(ahead))

    def tick(self, partition: int, skew_ms: int = 0, fate: str = COMMITS) -> None:
        """Idle close, by a clock that may be wrong."""
        owner = self.owner(partition)
        self._commit(partition, owner, COMMITS)
        if owner.fetch_next < len(self.logs[partition]):
            return
        now_ms = self.now_ms + skew_ms
        if (transaction := owner.task.tick(now_ms)) is not None:
            self.happened["idle close"] += 1
            owner.folded.append((transaction, now_ms))
            self._commit(partition, owner, fate)

    def _commit(self, partition: int, owner: Owner, fate: str, leave: int = 0) -> None:
        """Commit what is folded but the last `leave` chunks; `fate` is that of the last one committed."""
        todo = len(owner.folded) - leave
        for left in range(todo, 0, -1):
            transaction, owner.producer.now_ms = owner.folded[0]
            owner.producer.fate = fate if left == 1 else COMMITS
            try:
                now(owner.task.commit(transaction))
            except (Died, OutcomeUnknown) as death:
                self.happened[type(death).__name__] += 1
                self.kill(owner.process)
                return
            del owner.folded[0]

    def committed(self, partition: int, next_offset: int | None, now_ms: int) -> None:
        """A transaction has committed: the oracle may know of its records now, or of the clock's turn."""
        oracle = self.expected[partition]
        if next_offset is None:
            oracle.idle(now_ms, Always({"": text(now_ms)}))
        elif next_offset > self.read[partition]:
            oracle.read(map(as_read, self.logs[partition][self.read[partition] : next_offset]))
            self.read[partition] = next_offset

    # -- faults ----------------------------------------------------------------------------------------------------

    def kill(self, process: int) -> None:
        """kill -9: what was in memory is gone."""
        self.owners = {number: owner for number, owner in self.owners.items() if owner.process != process}
        self.frozen = [owner for owner in self.frozen if owner.process != process]

    def wipe(self, process: int) -> None:
        """The same, and its disk is lost."""
        self.kill(process)
        for place in [place for place in self.disks if place[0] == process]:
            del self.disks[place]

    def restart(self) -> None:
        """Everybody ends and starts again."""
        for process in range(2):
            self.kill(process)

    def move(self, partition: int, frozen: bool = False) -> None:
        """The other process gets the partition. Its owner lets go in order, or is frozen and knows nothing."""
        old = self.owners.get(partition)
        if old is not None and frozen:
            self.frozen.append(old)
        elif old is not None:
            self._commit(partition, old, COMMITS, leave=max(0, len(old.folded) - 1))
        self.owners.pop(partition, None)
        self.last[partition] = 1 - self.last[partition]
        self.frozen = [one for one in self.frozen if one.process != self.last[partition]]  # it was replaced, not woken
        self.owner(partition)

    def thaw(self, which: int) -> None:
        """A frozen owner goes on with its work; nothing of it may count, and its process ends."""
        if not self.frozen:
            return
        owner = self.frozen[which % len(self.frozen)]
        partition = owner.producer.partition
        self.produce(next(number for number, team in enumerate(TEAMS) if HOMES[team] == partition))
        chunk = self.logs[partition][owner.fetch_next :]
        owner.folded.append((owner.task.fold(chunk, self.now_ms), self.now_ms))
        try:
            for transaction, now_ms in owner.folded:
                owner.producer.now_ms = now_ms
                now(owner.task.commit(transaction))
                self.happened["a frozen owner wrote"] += 1
        except Fenced:
            self.happened["Fenced"] += 1
        self.kill(owner.process)

    def reset(self, partition: int, back: int) -> None:
        """Somebody puts the group's offset back, as the group is stopped."""
        self.restart()
        committed = self.kafka.offsets.get(partition, 0)
        self.kafka.offsets[partition] = committed - min(back, committed)
        self.happened["reset"] += committed > 0 and back > 0

    def bounce(self, fate: str) -> None:
        """The broker dies in the middle of what everybody has under way: all of them end."""
        for partition, owner in list(self.owners.items()):
            self._commit(partition, owner, fate)
        self.restart()

    # -- the group -------------------------------------------------------------------------------------------------

    def owner(self, partition: int) -> Owner:
        """Who has the partition; who had it last takes it over when nobody has."""
        owner = self.owners.get(partition)
        if owner is None:
            owner = self.owners[partition] = self._take_over(partition, self.last[partition])
        return owner

    def _take_over(self, partition: int, process: int) -> Owner:
        """The steps of a takeover, in order."""
        kafka, store = self.kafka, self.disks[process, partition]
        producer = FatedProducer(self, partition)
        committed, log = dict(kafka.offsets), kafka.usage[partition]
        self.restore(kafka.changelogs[partition], store)
        position, ends = stored_position(store), {partition: len(log)}
        check(
            SOURCE,
            partition,
            position,
            Situation(TOPIC_ID, "changelog", PARTITIONS, OUTPUTS, committed, {partition: 0}, ends),
        )
        place = Place("billing-agg", "llm_usage", partition, TOPIC_ID, PARTITIONS, OUTPUTS, entropy=bytes)

        def at_home(key: bytes | None, team: str) -> bool:
            return key == team.encode() and HOMES.get(team) == partition

        admission = Admission(decode_usage, at_home, DIRECTORY.get)
        task = self.task_class(usage_parts(RULES, admission), place, store, producer, position)
        return Owner(process, task, producer, committed.get(partition, 0))

    def restore(self, changelog: Log, store: Store) -> None:
        """Bring a disk to the end of the changelog."""
        entries = self.to_restore(list(changelog.committed(store.checkpoint())))
        if entries:
            writes: Writes = {entry.key: entry.value for _, entry in entries if entry.key is not None}
            store.write(writes, entries[-1][0] + 1)

    def to_restore(self, entries: list[tuple[int, Entry]]) -> list[tuple[int, Entry]]:
        return entries

    def check(self) -> None:
        """What is committed is what the oracle says of the records committed so far."""
        for partition, oracle in enumerate(self.expected):
            self.happened["expired"] += check_partition(self.kafka, partition, oracle, self.read[partition])
            if partition in self.owners:
                check_disk(self.kafka, partition, self.owners[partition].task.store)

    def finish(self) -> None:
        """All is worked off, every hour closed by the clock: each record is in a bill, a repetition or a dead
        letter."""
        for partition in range(PARTITIONS):
            self.work(partition)
        self.sleep(2 * HOUR_MS)
        for partition in range(PARTITIONS):
            self.tick(partition)
            oracle = self.expected[partition]
            assert self.read[partition] == len(self.logs[partition])
            assert all(bucket.due is None for bucket in oracle.buckets.get(partition, {}).values())
        self.check()
