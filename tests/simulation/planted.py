"""Worlds with one bug each. The simulation is worth what it finds of these."""

from __future__ import annotations

from collections.abc import Sequence

from fake_kafka import Entry, Log
from owner import Producer
from usage_log import NowProducer
from world import Process, World

from streamapp.exact.partition.chunk import Transaction
from streamapp.meters.usage.codec import unpack_hour_key
from streamapp.meters.usage.parts import UsageTask
from streamapp.store.rows import Store
from tables.fold import NEVER
from tables.outcome import Outcome, Record
from tables.usage.hourly import MonthKey, MonthRow, month_key
from tables.usage.ledger import Ledger


class StoredBeforeTheCommit(World):
    """Rows go to the local store first, and to Kafka then."""

    class task_class(UsageTask):
        async def commit(self, transaction: Transaction) -> None:
            self.store.write(transaction.writes, self.store.checkpoint())
            await super().commit(transaction)


class OffsetOutsideTheTransaction(World):
    """The group's offset is committed by itself, when the records are folded."""

    class task_class(UsageTask):
        async def commit(self, transaction: Transaction) -> None:
            assert isinstance(self.producer, Producer)
            if transaction.next_offset is not None:
                self.producer.world.kafka.offsets[self.place.partition] = transaction.next_offset
            await super().commit(transaction._replace(next_offset=None))


class DuplicatesNotRemembered(World):
    """A takeover does not read the ids back."""

    def make_task(self, partition: int, store: Store, producer: Producer | NowProducer) -> UsageTask:
        task = super().make_task(partition, store, producer)
        task.memory.seen.forget(NEVER)
        return task


class ClosedAtTheBatchEnd(World):
    """Marks are looked at when a chunk has been counted, not at the record that crosses them."""

    class LateLedger(Ledger):
        def _cross(self, watermark_ms: int) -> None:
            pass

        def apply(self, records: Sequence[Record], now_ms: int = 0) -> Outcome:
            outcome = super().apply(records)
            super()._cross(self.position.watermark_ms)
            return outcome

    def make_task(self, partition: int, store: Store, producer: Producer | NowProducer) -> UsageTask:
        task = super().make_task(partition, store, producer)
        task.memory.__class__ = self.LateLedger
        return task


class CrossingNotKept(World):
    """The month's row does not say that a limit was crossed."""

    class ForgetfulLedger(Ledger):
        def _keep_month(self, month: MonthKey, row: MonthRow) -> None:
            super()._keep_month(month, row._replace(crossed=()))

    def make_task(self, partition: int, store: Store, producer: Producer | NowProducer) -> UsageTask:
        task = super().make_task(partition, store, producer)
        task.memory.__class__ = self.ForgetfulLedger
        return task


class CrossedAtTheBatchEnd(World):
    """Limits are looked at when a chunk has been counted, not at the record that reaches them."""

    class LateLedger(Ledger):
        def _judge(self, number: int, month: MonthKey, event_id: str, offset: int) -> None:
            pass

        def apply(self, records: Sequence[Record], now_ms: int = 0) -> Outcome:
            outcome = super().apply(records)
            for month in {month_key(unpack_hour_key(key)): None for key in outcome.open}:
                super()._judge(0, month, "the-last", records[-1].offset)
            return outcome

    def make_task(self, partition: int, store: Store, producer: Producer | NowProducer) -> UsageTask:
        task = super().make_task(partition, store, producer)
        task.memory.__class__ = self.LateLedger
        return task


class NoFence(World):
    """Producers of one partition do not know of each other: a frozen owner writes on when it wakes up."""

    fencing = False

    def end(self, process: Process) -> None:
        # What a dead process left open times out; without this the world would stand still, and prove nothing.
        for owner in process.owners:
            if owner.producer is not None:
                self.kafka.time_out(owner.partition, owner.producer.epoch)
        super().end(process)


class RestoredShortOfTheEnd(World):
    """A takeover stops before the changelog's last records."""

    def to_restore(self, changelog: Log, checkpoint: int) -> list[tuple[int, Entry]]:
        return super().to_restore(changelog, checkpoint)[:-3]


PLANTED: tuple[type[World], ...] = (
    StoredBeforeTheCommit,
    OffsetOutsideTheTransaction,
    DuplicatesNotRemembered,
    ClosedAtTheBatchEnd,
    CrossingNotKept,
    CrossedAtTheBatchEnd,
    NoFence,
    RestoredShortOfTheEnd,
)
