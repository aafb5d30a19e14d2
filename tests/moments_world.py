"""A cluster, the groups at work on it, and what they keep elsewhere, for checks that look while all of it moves on.

A history is a list of steps. Before every answer that a check gets, of Kafka, the ledger, ClickHouse or the archive,
the world takes the steps up to the next `LOOK`. So records arrive, transactions open and commit, rows are written and
merged between any two looks. The tables, the dead letters and the archive's objects are the workers' own code; a
transaction's offset and the markers of its partitions become visible one after the other, in any order, as in Kafka.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

import rpc_log
import usage_log
from memory_store import MemoryStore
from memory_store import UsageStore as HourStore
from usage_log import NowProducer, Rec, now

from streamapp.errors import Misconfigured
from streamapp.exact.partition.chunk import Send, Transaction
from streamapp.exact.partition.letter import letters_of
from streamapp.exact.partition.place import Place
from streamapp.kafka.log.reader import Record, Span
from streamapp.kafka.partitions import Partition
from streamapp.meters.calls.parts import CallsTask, calls_parts
from streamapp.meters.calls.rpc_codec import is_unsettled
from streamapp.meters.latency.parts import LatencyTask, latency_parts
from streamapp.meters.usage.parts import UsageTask, usage_parts
from streamapp.schemas.judging.audit_line import audit_line
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.values.timestamp import format_ms
from streamapp.sinks.archive.sink import ArchiveSink
from streamapp.sinks.archive.store import ArchiveStore
from streamapp.sinks.declaration import each
from streamapp.sinks.ledger.rows import Bill, Settlement, to_row
from streamapp.sinks.marks import Extent
from streamapp.store.position import StoredPosition
from streamapp.store.rows import always_settled, stored_position
from streamapp.topics.partitioner import partition_for
from streamapp.verify.copies.events_clickhouse import Place as At
from streamapp.verify.copies.events_clickhouse import Row
from tables.latency.fold import LIMITS
from tables.outcome import Refusal
from tables.window import HOUR_MS, MINUTE_MS, Rules

USAGE, METERING, BILLS, LETTERS = "llm_usage", "agent_rpc_metering", "billing_events", "dead_letter"
EVENTS, TRAIL = "events_plugin_ingestion", "audit_log"
PARTITIONS = {USAGE: 2, METERING: 2, BILLS: 2, LETTERS: 1, EVENTS: 2, TRAIL: 2}
OUTPUTS = {BILLS: PARTITIONS[BILLS], LETTERS: PARTITIONS[LETTERS]}
RULES = Rules(retention_ms=200 * HOUR_MS, remember_ms=200 * HOUR_MS)  # to the checks, an id counts once in a whole log
READ = each(audit_line)
START_MS = usage_log.at("2025-01-31T21:10")
KEYS = ("one", "two", "three")
FRESH, LATE, AGAIN, OTHER_BYTES, POISON, STRICT, MENDED = (
    "fresh",
    "late",
    "again",
    "other bytes",
    "poison",
    "strict",
    "mended",
)
ARRIVALS = (FRESH, LATE, AGAIN, OTHER_BYTES, POISON, STRICT, MENDED)
LOOK, WORK, RUN, CRASH, SLEEP, MERGE, FAULT = "look", "work", "run", "crash", "sleep", "merge", "fault"
LOST, DOUBLED, UNLETTERED, RESTORED = "lost", "doubled", "unlettered", "restored"

Step = tuple[str, int]
"""What happens, and a number that says how."""


class Log:
    """One partition of a topic."""

    def __init__(self) -> None:
        self.records: list[Record | None] = []  # None: a marker, or aborted
        self.open: dict[Owner, int] = {}  # whose transaction is open → its first offset
        self.written: dict[Owner, list[int]] = {}  # by whose open transaction

    def stable(self) -> int:
        """The end for readers of committed records."""
        return min(self.open.values(), default=len(self.records))

    def end(self, owner: Owner) -> None:
        """The marker of a transaction."""
        del self.open[owner], self.written[owner]
        self.records.append(None)

    def abort(self, owner: Owner) -> None:
        for offset in self.written[owner]:
            self.records[offset] = None
        self.end(owner)

    def read(self, start: int, end: int) -> list[Record]:
        return [record for record in self.records[start:end] if record is not None]


class Traffic(Protocol):
    """A topic's producers: `made` is the value of a record that is told apart by `number`; it happened at `at_ms`."""

    def __call__(self, number: int, at_ms: int, key: str) -> bytes: ...


def usage(number: int, at_ms: int, key: str) -> bytes:
    return usage_log.value(f"id-{number}", at_ms, key, "org_a", cost="0.1", model=f"m{number % 2}")


def metering(number: int, at_ms: int, key: str) -> bytes:
    return rpc_log.value(f"id-{number}", at_ms, key, price="0.05", consumer=f"consumer_{number % 2}")


def captured(number: int, at_ms: int, key: str) -> bytes:
    data = {"event": "click", "distinct_id": "d", "properties": {}}
    if number % 4:
        data["uuid"] = f"00000000-0000-4000-8000-{number:012x}"
    return json.dumps({"team_id": key, "timestamp": format_ms(at_ms), "data": data}).encode()


def audit(number: int, at_ms: int, key: str) -> bytes:
    facts = {
        "schema": "hanzo.stream.v1",
        "id": f"evt_{number}",
        "type": "iam.auth.login_success",
        "source": "hanzo-iam",
    }
    return json.dumps({**facts, "timestamp": format_ms(at_ms), "org_id": key, "data": {"user_id": "u"}}).encode()


class Kind(NamedTuple):
    """How a topic's records are made. `strict`: what the models alone refuse: a part of a value, its replacement."""

    made: Traffic
    strict: tuple[bytes, bytes] | None = None


TRAFFIC = {
    USAGE: Kind(usage, (b'"status":"success"', b'"status":"success","request_id":7')),
    METERING: Kind(metering, (b'"unit":"per_request"', b'"unit":7')),
    EVENTS: Kind(captured),
    TRAIL: Kind(audit),
}


class World:
    """Everything there is. `source`: the topic that records arrive on. `groups`: who works; the last is the one that a
    fault befalls."""

    def __init__(self, source: str, groups: Sequence[str], fault: str = LOST) -> None:
        self.now_ms = START_MS
        self.source, self.fault = source, fault
        self.logs: dict[Partition, Log] = defaultdict(Log)
        self.counts = dict(PARTITIONS)
        self.offsets: dict[tuple[str, str, int], int] = {}
        self.early: dict[Partition, int] = {}  # ends that were taken before all else, to be found out
        self.ledger, self.rows, self.store = KeptLedger(self), KeptRows(self), KeptObjects(self)
        self.owners = [owner for group in groups for owner in GROUPS[group](self)]
        self.at_fault = groups[-1]
        self.lost: set[tuple[str, int, int]] = set()
        self.doubled: set[tuple[str, int, int]] = set()
        self.pending = 0  # faults that the next row of the ledger meets
        self.faults = 0
        self._history: list[Step] = []
        self._sent: list[Record] = []
        self._unsound: list[tuple[int, str]] = []
        self._numbers = 0

    # -- the history -----------------------------------------------------------------------------------------------

    def live(self, history: Iterable[Step]) -> None:
        """What happens from now on, as far as somebody looks."""
        self._history = [*reversed(list(history))]

    def pass_by(self, history: Iterable[Step]) -> None:
        """What happens while nobody looks."""
        for step in history:
            if step[0] != LOOK:
                self.take(*step)

    def between(self) -> None:
        """Somebody looks: what has happened since the last look."""
        while self._history:
            step = self._history.pop()
            if step[0] == LOOK:
                return
            self.take(*step)

    def take(self, what: str, number: int) -> None:
        if what == WORK:
            for _ in range(1 + number // 8):
                self.owners[number % len(self.owners)].step(number)
        elif what == RUN:
            self.run()
        elif what == CRASH:
            self.owners[number % len(self.owners)].crash()
        elif what == SLEEP:
            self.now_ms += (70 * MINUTE_MS, 5 * MINUTE_MS, 1000)[number % 3]
        elif what == MERGE:
            self.rows.merge()
        elif what == FAULT:
            self.go_wrong()
        else:
            self.arrive(what, number)

    def rest(self) -> None:
        """Every hour closes, and everybody comes to an end with what there is."""
        self.live(())
        for _ in range(2):
            self.now_ms += 3 * HOUR_MS
            for number in range(2 * len(KEYS)):
                self.arrive(FRESH, number)
            self.run()

    def run(self) -> None:
        """Everybody works on all there is, in the order of the groups: bills are there when the ledger's turn comes."""
        for owner in self.owners:
            owner.finish()

    # -- what arrives ----------------------------------------------------------------------------------------------

    def arrive(self, kind: str, number: int) -> Record | None:
        """A record for the source."""
        made, strict = TRAFFIC[self.source]
        self._numbers += 1
        key = KEYS[number % len(KEYS)]
        at_ms = self.now_ms - (number % 4 * 40 * MINUTE_MS if kind == LATE else 0)
        value = made(self._numbers, at_ms, key)
        if kind in (AGAIN, OTHER_BYTES) and self._sent:
            old = self._sent[-1 - number % len(self._sent)]
            value = old.value or b""
            key = (old.key or b"").decode()
            if kind == OTHER_BYTES:
                value = value.replace(b'"source":"', b'"source":"another ')
        elif kind == POISON:
            value = value[:-1]
        elif kind == STRICT and strict is not None:
            self._unsound.append((self._numbers, key))
            value = value.replace(*strict)
        elif kind == MENDED and self._unsound:
            mended, key = self._unsound.pop(number % len(self._unsound))
            value = made(mended, at_ms, key)
        partition = partition_for(key.encode(), self.counts[self.source])
        log = self.logs[self.source, partition]
        record = Record(self.source, partition, len(log.records), self.now_ms, key.encode(), value)
        log.records.append(record)
        if kind in (FRESH, LATE):
            self._sent.append(record)
        return record

    def go_wrong(self) -> None:
        """A fault, of the kind that this world has."""
        if self.fault == RESTORED:
            self.faults += len(self.ledger.kept_rows) > 0
            self.ledger.restore_backup()
        elif self.at_fault == "billing-ledger":
            self.pending += 1
        else:
            record = self.arrive(POISON if self.fault == UNLETTERED else FRESH, self._numbers)
            assert record is not None
            if self.fault != UNLETTERED:
                self._sent.pop()  # it does not come again
            (self.doubled if self.fault == DOUBLED else self.lost).add(record[:3])
            self.faults += 1

    # -- Kafka, as a check asks it ---------------------------------------------------------------------------------

    def partitions(self, topic: str) -> int:
        if topic not in self.counts:
            raise Misconfigured(f"there is no topic {topic}")
        return self.counts[topic]

    def committed(self, group: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
        self.between()
        wanted = {at: self.offsets.get((group, *at)) for at in partitions}
        return {at: offset for at, offset in wanted.items() if offset is not None}

    def start_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: Iterable[Partition], *, committed: bool = False) -> dict[Partition, int]:
        self.between()
        wanted = [*partitions]
        if not committed:
            return {at: self.early.get(at, len(self.logs[at].records)) for at in wanted}
        for at in wanted:
            for owner in [*self.logs[at].open]:  # whoever waits for a transaction sees its end
                owner.end()
        return {at: self.early.get(at, self.logs[at].stable()) for at in wanted}

    def take_early(self, topic: str) -> None:
        """The wrong order: the ends of a topic are taken now."""
        self.early |= {(topic, number): self.logs[topic, number].stable() for number in range(self.counts[topic])}

    def offsets_at(self, partitions: Iterable[Partition], at_ms: int) -> dict[Partition, int]:
        self.between()
        return {
            at: next((one.offset for one in self.logs[at].records if one and one.timestamp_ms >= at_ms), -1)
            for at in partitions
        }

    def read(self, topic: str, upto: Mapping[int, Span], headers: bool = False) -> Iterator[Record]:
        self.between()
        for number, span in upto.items():
            yield from self.logs[topic, number].read(span.start, min(span.end, self.logs[topic, number].stable()))


# -- the groups ------------------------------------------------------------------------------------------------------


class Owner:
    """Who works on one partition, step by step: parse, keep elsewhere, write in a transaction, commit, mark."""

    group: str
    topic: str
    changelog: str | None = None

    def __init__(self, world: World, partition: int) -> None:
        self.world, self.partition = world, partition
        self.place = Place(
            self.group, self.topic, partition, "topic-id", PARTITIONS[self.topic], OUTPUTS, entropy=bytes
        )
        if self.changelog is not None:
            world.counts[self.changelog] = PARTITIONS[self.topic]
        self.next_offset, self.number = 0, 0
        self.idle = True  # nothing in hand
        self.committing = False  # the transaction in hand cannot be aborted any more
        self._life = self.live()

    def step(self, number: int) -> None:
        self.number = number
        next(self._life)

    def end(self) -> None:
        """The transaction in hand comes to its end."""
        while not self.idle:
            next(self._life)

    def crash(self) -> None:
        """What is open is aborted, and somebody else goes on from where Kafka says. A sink whose batches are promised
        would write the same one again: it ends what it has in hand."""
        if self.committing or isinstance(self, Ingest | Archiving):
            self.end()
        for log in [log for log in self.world.logs.values() if self in log.open]:
            log.abort(self)
        self.idle = True
        self.take_over()
        self._life = self.live()

    def take_over(self) -> None:
        self.next_offset = self.world.offsets.get((self.group, self.topic, self.partition), 0)

    def finish(self) -> None:
        """All there is."""
        self.number = 7
        for _ in range(1000):
            self.end()
            before = self.next_offset
            next(self._life)
            if self.idle and self.next_offset == before:
                return
        raise AssertionError("it does not come to an end")

    def live(self) -> Iterator[None]:
        while True:
            log = self.world.logs[self.topic, self.partition]
            records = log.read(self.next_offset, log.stable())[: 1 + self.number % 8]
            self.idle = False
            yield from self.chunk(records)
            if records:
                self.next_offset = records[-1].offset + 1
            self.idle, self.committing = True, False
            yield

    def chunk(self, records: list[Record]) -> Iterator[None]:
        raise NotImplementedError

    def transact(self, transaction: Transaction) -> Iterator[None]:
        """One Kafka transaction. Its parts become visible one after the other, in an order of their own."""
        world, number = self.world, self.partition
        for key, row in transaction.writes.items():
            if self.changelog is not None:
                self._write(self.changelog, number, key, row)
        for sent in transaction.sends:
            self._write(sent.topic, sent.partition, sent.key, sent.value)
        yield
        marks: list[Callable[[], object]] = [partial(log.end, self) for log in world.logs.values() if self in log.open]
        if transaction.next_offset is not None:
            offset = transaction.next_offset
            marks.append(partial(world.offsets.update, {(self.group, self.topic, number): offset}))
        self.committing = True
        for _ in range(len(marks)):
            marks.pop(self.number % len(marks))()
            yield

    def _write(self, topic: str, number: int, key: bytes | None, value: bytes | None) -> None:
        log = self.world.logs[topic, number]
        log.open.setdefault(self, len(log.records))
        log.written.setdefault(self, []).append(len(log.records))
        log.records.append(Record(topic, number, len(log.records), self.world.now_ms, key, value))

    def met(self, records: list[Record]) -> list[Record]:
        """The records as a group meets them that a fault befalls: some not at all, some twice, as two events."""
        world, found = self.world, []
        for record in records:
            if self.group != world.at_fault or record[:3] not in world.lost:
                found.append(record)
            if self.group == world.at_fault and record[:3] in world.doubled:
                found.append(record._replace(value=(record.value or b"").replace(b'"id":"', b'"id":"again-')))
        return found

    def letters(self, refusals: Iterable[Refusal]) -> list[Send]:
        return letters_of(refusals, self.place, self.world.now_ms)


class Folding(Owner):
    """A windowed table."""

    def __init__(self, world: World, partition: int) -> None:
        super().__init__(world, partition)
        self.store = self.new_store()
        self.task = self.make()

    def take_over(self) -> None:
        super().take_over()
        self.task = self.make()

    def new_store(self) -> MemoryStore:
        raise NotImplementedError

    def make(self) -> Any:
        raise NotImplementedError

    def left_behind(self) -> tuple[NowProducer, StoredPosition | None]:
        """A producer, and where the owner before has been."""
        return NowProducer(self.store.checkpoint()), stored_position(self.store)

    def chunk(self, records: list[Record]) -> Iterator[None]:
        met = self.met(records)
        if met:
            transaction = self.task.fold([as_rec(record) for record in met], self.world.now_ms)
            yield from self.transact(transaction._replace(next_offset=records[-1].offset + 1))
            now(self.task.commit(transaction))
        elif records:
            yield from self.transact(Transaction({}, (), records[-1].offset + 1))
        else:
            idle = self.task.tick(self.world.now_ms)
            if idle is not None:
                yield from self.transact(idle)
                now(self.task.commit(idle))


class BillingAgg(Folding):
    group, topic = "billing-agg", USAGE

    def make(self) -> Any:
        admission = usage_log.make_admission(self.partition, PARTITIONS[USAGE])
        limits = usage_log.SetLimits(**{key: {"soft": "0.3", "hard": "1.1"} for key in KEYS})
        return UsageTask(usage_parts(RULES, admission, limits), self.place, self.store, *self.left_behind())

    def new_store(self) -> MemoryStore:
        return HourStore()


class Metrics(Folding):
    group, topic, changelog = "llm-metrics", USAGE, "llm-metrics-latency-changelog"

    def make(self) -> Any:
        admission = usage_log.make_admission(self.partition, PARTITIONS[USAGE])
        place = replace(self.place, outputs={})  # the dead letters are billing-agg's
        return LatencyTask(latency_parts(RULES, admission, LIMITS), place, self.store, *self.left_behind())

    def new_store(self) -> MemoryStore:
        return MemoryStore(always_settled)


class RpcBilling(Folding):
    group, topic, changelog = "rpc-billing", METERING, "rpc-billing-rpc_hourly-changelog"

    def make(self) -> Any:
        admission = rpc_log.make_admission(self.partition, PARTITIONS[METERING])
        parts = calls_parts(RULES, Decimal("0.05"), admission)
        return CallsTask(parts, self.place, self.store, *self.left_behind())

    def new_store(self) -> MemoryStore:
        return MemoryStore(is_unsettled)


class Keeping(Owner):
    """The ledger's group: rows and the offset behind them, then the group's own."""

    group, topic = "billing-ledger", BILLS

    def take_over(self) -> None:
        self.next_offset = self.world.ledger.kept_offsets.get(self.partition, 0)

    def chunk(self, records: list[Record]) -> Iterator[None]:
        if not records:
            return
        rows = [to_row(BILLS, self.partition, record.offset, record.value) for record in records]
        assert not any(isinstance(row, Rejected) for row in rows), rows
        kept = [row for row in rows if isinstance(row, Bill | Settlement)]
        next_offset = records[-1].offset + 1
        self.world.ledger.keep(self.partition, next_offset, self._meet(kept))
        yield
        yield from self.transact(Transaction({}, (), next_offset))

    def _meet(self, rows: list[Bill | Settlement]) -> list[Bill | Settlement]:
        world = self.world
        if rows and world.pending:
            world.pending -= 1
            world.faults += 1
            return rows[1:] if world.fault == LOST else [replace(rows[0], id=rows[0].id + "_copy"), *rows]
        return rows


class Ingest(Owner):
    """Captured events: rows, then dead letters and the offset."""

    group, topic = "analytics-ingest", EVENTS

    def chunk(self, records: list[Record]) -> Iterator[None]:
        if not records:
            return
        refusals = []
        for record in self.met(records):
            row = event_row(record)
            if row is None:
                refusals.append(Refusal(as_rec(record), Reason.MALFORMED_JSON, "is cut off"))
            else:
                self.world.rows.rows.append((self.partition, record.offset, row))
        yield
        yield from self.transact(Transaction({}, self.letters(refusals), records[-1].offset + 1))


class Archiving(Owner):
    """Audit records: an object, its entry, then dead letters and the offset."""

    group, topic = "audit-archive", TRAIL

    def __init__(self, world: World, partition: int) -> None:
        super().__init__(world, partition)
        self.sink = ArchiveSink(cast(ArchiveStore, Writing(world.store.objects)), self.place, 1)
        self.state = b""

    def chunk(self, records: list[Record]) -> Iterator[None]:
        if not records:
            return
        lines, refusals = READ(self.place, [as_rec(record) for record in self.met(records)])
        if lines:
            extent = Extent(records[0].offset, records[-1].offset, len(records))
            sealed = self.sink.seal(self.place, extent, lines, self.state)
            self.state = sealed.state
            yield from each_step(self.sink.write(self.place, extent, sealed))
        yield from self.transact(Transaction({}, self.letters(refusals), records[-1].offset + 1))


def owners(kind: type[Owner]) -> Callable[[World], list[Owner]]:
    return lambda world: [kind(world, number) for number in range(PARTITIONS[kind.topic])]


GROUPS = {kind.group: owners(kind) for kind in (BillingAgg, Metrics, RpcBilling, Keeping, Ingest, Archiving)}


def as_rec(record: Record) -> Rec:
    """A record as workers get it."""
    return Rec(record.key, record.value, record.timestamp_ms, record.offset, record.partition, record.topic)


# -- what is kept elsewhere ------------------------------------------------------------------------------------------


@dataclass
class KeptLedger:
    """The ledger's database (`sinks.ledger.Ledger`, as far as it is read)."""

    world: World
    kept_rows: dict[str, Bill | Settlement] = field(default_factory=dict)
    kept_offsets: dict[int, int] = field(default_factory=dict)

    def keep(self, partition: int, next_offset: int, rows: Iterable[Bill | Settlement]) -> None:
        for row in rows:
            self.kept_rows.setdefault(row.id, row)
        self.kept_offsets[partition] = next_offset

    def restore_backup(self) -> None:
        """An older database is put in place of this one."""
        self.kept_rows.clear()
        self.kept_offsets.clear()

    async def open(self, *, create: bool = True) -> None:
        self.world.between()
        assert not create, "a check makes no ledger"

    async def close(self) -> None:
        pass

    async def offsets(self, topic: str) -> dict[int, int]:
        self.world.between()
        return dict(self.kept_offsets)

    async def rows(self, topic: str, partition: int, start: int, end: int) -> list[Bill]:
        self.world.between()
        mine = [row for row in self.kept_rows.values() if isinstance(row, Bill) and row.partition == partition]
        return sorted((row for row in mine if start <= row.offset < end), key=lambda row: (row.offset, row.id))

    async def kept(self, ids: Sequence[str]) -> dict[str, Bill]:
        self.world.between()
        found = {id: self.kept_rows.get(id) for id in ids}
        return {id: row for id, row in found.items() if isinstance(row, Bill)}

    async def settlements(self, limit: int = 0) -> list[Settlement]:
        self.world.between()
        return [row for row in self.kept_rows.values() if isinstance(row, Settlement)]


@dataclass
class KeptRows:
    """ClickHouse's `events` (`events_clickhouse.Rows`): of rows that are alike a merge leaves the newest."""

    world: World
    rows: list[tuple[int, int, Row]] = field(default_factory=list)

    def merge(self) -> None:
        newest = {(number, row.merged_by, row.uuid): offset for number, offset, row in self.rows}
        self.rows = [one for one in self.rows if newest[one[0], one[2].merged_by, one[2].uuid] == one[1]]

    def below(self, partition: int, span: Span) -> dict[int, list[Row]]:
        self.world.between()
        found: dict[int, list[Row]] = {}
        for number, offset, row in self.rows:
            if number == partition and span.start <= offset < span.end:
                found.setdefault(offset, []).append(row)
        return found

    def newest(self, uuids: Collection[str]) -> dict[Row, At]:
        self.world.between()
        return {row: At(number, offset) for number, offset, row in self.rows if row.uuid in uuids}

    def close(self) -> None:
        pass


@dataclass
class KeptObjects:
    """The archive's store (`ArchiveStore`, as far as it is read)."""

    world: World
    objects: dict[str, bytes] = field(default_factory=dict)
    url: str = "memory:"

    async def get(self, name: str) -> bytes | None:
        self.world.between()
        return self.objects.get(name)

    async def names(self, prefix: str, after: str | None = None) -> AsyncIterator[tuple[str, int]]:
        self.world.between()
        for name, data in [*self.objects.items()]:
            if name.startswith(prefix):
                yield name, len(data)


class Writing:
    """The same store for the group's own writing, one object at a time."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    async def create(self, name: str, data: bytes) -> None:
        await Pause()
        assert self._objects.setdefault(name, data) == data

    async def replace(self, name: str, data: bytes) -> None:
        await Pause()
        self._objects[name] = data

    async def get(self, name: str) -> bytes | None:
        return self._objects.get(name)

    async def names(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        for name, data in [*self._objects.items()]:
            if name.startswith(prefix):
                yield name, len(data)


class Pause:
    """A moment between two steps."""

    def __await__(self) -> Generator[None]:
        yield


def each_step(work: Coroutine[Any, Any, None]) -> Iterator[None]:
    """A coroutine from pause to pause."""
    while True:
        try:
            work.send(None)
        except StopIteration:
            return
        yield


def event_row(record: Record) -> Row | None:
    """The row of a captured event; None for one that cannot be read."""
    try:
        event = json.loads(record.value or b"")
    except ValueError:
        return None
    data = event["data"]
    uuid = data.get("uuid", f"own-{record.partition}-{record.offset}")
    return Row(event["team_id"], data["event"], data["distinct_id"], usage_log.at(event["timestamp"][:-1]), uuid)
