"""Open local stores, and bring them to the end of their changelog."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from streamapp.clock import Clock, wall_ms
from streamapp.errors import Misconfigured, Unavailable
from streamapp.exact.partition.reading import reading
from streamapp.kafka.admin import Admin
from streamapp.lane.records import Records
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.settings import KafkaSettings, Settings
from streamapp.store.position import StoredPosition
from streamapp.store.rocks import RocksStore
from streamapp.store.rows import CHANGELOG, CHECKPOINT, Store, Writes, stored_position
from streamapp.store.table import Table

log = logging.getLogger(__name__)

BATCH_RECORDS = 20_000
MARKER = 1  # behind the last row of a transaction is its marker, which is in no store


def open_store(folder: Path, table: Table, number: int, changelog_id: str, topic_id: str) -> RocksStore:
    """The partition's local rows. A folder that cannot be opened, that is damaged, or whose rows come from another
    changelog than the one that is there now, is wiped: the changelog has everything. `topic_id`: of the topic
    that the rows count.

    Raises `Misconfigured` for rows of another topic and another changelog, which is another cluster: they may be all
    that is left of it."""
    path = folder / f"{table.name}-{number}"
    with ExitStack() as opened:
        try:
            store = RocksStore(path, table.unsettled)
            opened.callback(store.close)
            if store.belongs_to(changelog_id):
                opened.pop_all()
                return store
            _refuse_another_cluster(path, stored_position(store), topic_id)
            log.warning("the rows in %s are of another changelog; they are read again from the one that is there", path)
        except Unavailable as error:
            log.warning("%s; the rows are read again from the changelog", error)
    RocksStore.wipe(path)
    store = RocksStore(path, table.unsettled)
    assert store.belongs_to(changelog_id), "a new store belongs to whoever asks first"
    return store


def _refuse_another_cluster(path: Path, position: StoredPosition | None, topic_id: str) -> None:
    """`position`: of rows whose changelog is not there."""
    if position is not None and position.topic_id != topic_id:
        raise Misconfigured(
            f"the rows in {path} are of another cluster: neither the topic that they counted up to offset "
            f"{position.next_offset} nor their changelog is there. If STREAM_KAFKA__BOOTSTRAP_SERVERS or "
            f"STREAM_STATE_DIR is wrong, correct it. If Kafka lost its disk, see docs/runbook.md, The only broker's "
            f"disk is lost: these rows may be all that is left. If a new table was begun on purpose, remove "
            f"{path.parent}; see docs/runbook.md, A new table"
        )


async def restore(settings: Settings, changelog: str, stores: Mapping[int, Store], clock: Clock = wall_ms) -> int:
    """Apply what the changelog has beyond each store's checkpoint. Returns how many rows were read.

    Call it when the partitions' producers have started: then no transaction is open any more and the end does not
    move. The end is reached when the consumer's *position* is there: the last offsets are control records, which nobody
    delivers.

    Raises `Misconfigured` when the changelog begins behind a store's checkpoint, because rows were deleted from it, and
    when one of its record batches cannot be read.
    A store that was away for so long that the changelog may have forgotten deletions starts over.
    """
    async with reading(settings) as consumer:
        waiting = [TopicPartition(changelog, partition) for partition in stores]
        consumer.assign(waiting)
        ends = await consumer.end_offsets(waiting)
        behind = [at for at in waiting if 0 < stores[at.partition].checkpoint() < ends[at] - MARKER]
        if behind:
            alive_ms = await asyncio.to_thread(_tombstones_live_ms, settings.kafka, changelog)
            for at in await _outslept(consumer, behind, stores, clock() - alive_ms // 2):
                log.warning("%s-%d forgot deletions since its rows were last here: all are read again", *at)
                _start_over(stores[at.partition])
        starts = await consumer.beginning_offsets(waiting)
        for at in waiting:
            if starts[at] > stores[at.partition].checkpoint() + MARKER:
                raise Misconfigured(
                    f"the changelog {changelog}-{at.partition} begins at {starts[at]}, and the rows here end at "
                    f"{stores[at.partition].checkpoint()}: rows between were deleted, the table would not be whole; "
                    f"see docs/runbook.md, A changelog that was cut"
                )
            consumer.seek(at, min(stores[at.partition].checkpoint(), ends[at]))
        count = 0
        while waiting:
            waiting = [at for at in waiting if await consumer.position(at) < ends[at]]
            if waiting:
                for at, records in (await consumer.records(*waiting, timeout_ms=200)).items():
                    for start in range(0, len(records), BATCH_RECORDS):
                        apply_rows(at, records[start : start + BATCH_RECORDS], stores[at.partition])
                    count += len(records)
        return count


def apply_rows(at: TopicPartition, records: Records, store: Store) -> None:
    """Apply rows that follow the store's checkpoint. Raises `Misconfigured` at a batch that cannot be read."""
    writes: Writes = {}
    for record in records:
        if isinstance(record.value, UnreadableBatch):
            raise Misconfigured(
                f"the changelog {at.topic}-{at.partition} cannot be restored: {record.value.error}; its rows would be "
                f"missing from the table. Start a worker that still has them in its STREAM_STATE_DIR, or have Kafka "
                f"copy the partition from another broker; see docs/runbook.md, A changelog that cannot be read"
            )
        assert record.key is not None, "every row has a key"
        writes[record.key] = record.value
    store.write(writes, records.last_offset + 1)


def refuse_deleting(changelog: str, configs: Mapping[str, str]) -> None:
    """Raises `Misconfigured` for a changelog that Kafka does more with than to compact it."""
    policy = configs["cleanup.policy"]
    if policy != "compact":
        raise Misconfigured(
            f"the changelog {changelog} has cleanup.policy={policy}, so Kafka deletes rows of the table, and a worker "
            f"would go on with what is left; set it to compact, then see docs/runbook.md, A changelog that was cut"
        )


def _tombstones_live_ms(kafka: KafkaSettings, changelog: str) -> int:
    """How long a deletion stays in the changelog, at least."""
    return int(Admin(kafka).describe((changelog,))[changelog].configs["delete.retention.ms"])


async def _outslept(
    consumer: AIOKafkaConsumer, behind: Collection[TopicPartition], stores: Mapping[int, Store], since_ms: int
) -> list[TopicPartition]:
    """The partitions whose store lacks something that was written before `since_ms`. Had that been a deletion, it might
    be gone by now, and the store would keep for ever what was deleted: an open hour would be billed again."""
    firsts = await consumer.offsets_for_times(dict.fromkeys(behind, since_ms))
    ends = await consumer.end_offsets(behind)
    found = []
    for at in behind:
        first = ends[at] if firsts[at] is None else firsts[at].offset
        if stores[at.partition].checkpoint() + MARKER < first:
            found.append(at)
    return found


def _start_over(store: Store) -> None:
    """Empty a store. The checkpoint goes last: after a crash in between it is found too old again."""
    checkpoint = store.checkpoint()
    while gone := list(islice(_rows(store), BATCH_RECORDS)):
        store.write(dict.fromkeys(gone), checkpoint)
    store.write({}, 0)


def _rows(store: Store) -> Iterator[bytes]:
    return (key for key, _ in store.scan(b"", b"\xff") if key not in (CHECKPOINT, CHANGELOG))
