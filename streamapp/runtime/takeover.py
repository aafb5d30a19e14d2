"""Taking partitions over, in this order:

1  start each partition's transactional producer      fences every former owner, aborts what it left open
2  ask Kafka what the topic is and what was committed   now nobody else can move it
3  restore the local rows to the end of the changelog
4  compare: what the table counted, what the group committed   refuse to start where they contradict
5  rebuild the open hours, the watermark and the recent ids from the rows
6  go: Faust seeks to the committed offsets
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from aiokafka import TopicPartition

from streamapp.clock import Clock, monotonic_s
from streamapp.errors import Misconfigured, Unavailable
from streamapp.kafka.admin import Admin
from streamapp.runtime.codec import StoredPosition
from streamapp.runtime.ledger_task import LedgerTask, Place
from streamapp.runtime.partition import Partition
from streamapp.runtime.restore import restore
from streamapp.runtime.store import RocksStore, stored_position
from streamapp.runtime.transaction import PartitionProducer
from streamapp.settings import Settings

log = logging.getLogger(__name__)

MakeTask = Callable[[Place, RocksStore, StoredPosition | None], LedgerTask]


@dataclass(frozen=True, slots=True)
class Source:
    """The topic that a group's table is made from, and where the table's rows go."""

    group: str
    topic: str
    table: str
    changelog: str
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Situation:
    """What Kafka says, once the partitions are ours."""

    topic_id: str
    partitions: int
    outputs: dict[str, int]
    committed: dict[int, int]
    ends: dict[int, int]


async def take_over(
    source: Source,
    numbers: Iterable[int],
    *,
    settings: Settings,
    folder: Path,
    make_task: MakeTask,
    clock: Clock,
    on_commit: Callable[[int, float], None],
) -> dict[int, Partition]:
    """Take these partitions of the source over. Raises `Misconfigured` when going on would be wrong.

    Cancelled or failed half-way it leaves nothing open.
    """
    began, kafka = monotonic_s(), settings.kafka
    producers = {
        number: PartitionProducer(kafka, source.group, TopicPartition(source.topic, number), source.changelog)
        for number in sorted(numbers)
    }
    stores: dict[int, RocksStore] = {}
    try:
        await asyncio.gather(*(producer.start() for producer in producers.values()))
        situation = await asyncio.to_thread(survey, source, producers, Admin(kafka))
        for number in producers:
            stores[number] = open_store(folder / f"{source.table}-{number}")
        restored = await restore(kafka, source.changelog, stores)
        partitions = {}
        for number, producer in producers.items():
            position = stored_position(stores[number])
            check(source, number, position, situation)
            place = Place(
                source.group, source.topic, number, situation.topic_id, situation.partitions, situation.outputs
            )
            partitions[number] = Partition(
                number,
                make_task(place, stores[number], position),
                producer,
                fetch_from=situation.committed.get(number),
                silent_since_ms=clock() if position is None else position.active_ms,
                idle_ms=int(settings.billing.idle_seconds * 1000),
                clock=clock,
                on_commit=on_commit,
            )
    except BaseException:
        for store in stores.values():
            store.close()
        await asyncio.gather(*(producer.stop() for producer in producers.values()), return_exceptions=True)
        raise
    seconds = monotonic_s() - began
    log.info("took over %s partitions %s in %.2f s, %d rows restored", source.topic, [*partitions], seconds, restored)
    return partitions


def survey(source: Source, numbers: Iterable[int], admin: Admin) -> Situation:
    """Ask Kafka about the source, the outputs and the group. Blocks."""
    states = admin.describe((source.topic, source.changelog, *source.outputs))
    missing = sorted({source.topic, source.changelog, *source.outputs} - set(states))
    if missing:
        raise Misconfigured(f"topics are missing: {', '.join(missing)}; run `streamapp topics apply`")
    topic = states[source.topic]
    if states[source.changelog].partitions != topic.partitions:
        raise Misconfigured(
            f"{source.topic} has {topic.partitions} partitions, its table's changelog {source.changelog} has "
            f"{states[source.changelog].partitions}: move the table with `streamapp repartition` first"
        )
    ends = admin.end_offsets([(source.topic, number) for number in numbers])
    committed = admin.committed(source.group)
    return Situation(
        topic_id=topic.topic_id,
        partitions=topic.partitions,
        outputs={name: states[name].partitions for name in source.outputs},
        committed={number: offset for (name, number), offset in committed.items() if name == source.topic},
        ends={number: end for (_, number), end in ends.items()},
    )


def open_store(path: Path) -> RocksStore:
    """The partition's local rows. A folder that cannot be opened is wiped: the changelog has everything."""
    try:
        return RocksStore(path)
    except Unavailable as error:
        log.warning("%s; its rows are read again from the changelog", error)
        RocksStore.wipe(path)
        return RocksStore(path)


def check(source: Source, number: int, position: StoredPosition | None, situation: Situation) -> None:
    """Refuse a table that does not belong to the topic as it is; say so when offsets were put back (decision 14)."""
    where = f"{source.topic}-{number}"
    committed = situation.committed.get(number)
    if position is None:
        if committed:
            raise Misconfigured(
                f"group {source.group} has committed offset {committed} of {where}, but its table has counted nothing: "
                f"the changelog {source.changelog} was lost or the group was set ahead; put the group back with "
                f"`kafka-consumer-groups --group {source.group} --topic {source.topic} --reset-offsets --to-earliest`"
            )
        return
    if position.topic_id != situation.topic_id:
        raise Misconfigured(
            f"{source.topic} was deleted and created again: its offsets start over and the table {source.table} "
            f"counted other records; restore the topic, or delete {source.changelog} and the group to start a new table"
        )
    if position.partitions != situation.partitions:
        raise Misconfigured(
            f"{source.topic} has {situation.partitions} partitions, the table {source.table} was built with "
            f"{position.partitions}: move the table with `streamapp repartition`"
        )
    if committed is not None and committed > position.next_offset:
        raise Misconfigured(
            f"group {source.group} was set ahead: committed offset {committed} of {where}, counted up to "
            f"{position.next_offset}; put it back with `kafka-consumer-groups --group {source.group} --topic "
            f"{source.topic}:{number} --reset-offsets --to-offset {position.next_offset}`"
        )
    if situation.ends[number] < position.next_offset:
        raise Misconfigured(
            f"{where} ends at {situation.ends[number]}, the table counted up to {position.next_offset}: "
            f"records were lost from the topic"
        )
    if committed is None or committed < position.next_offset:
        log.warning(
            "group %s was put back to %s of %s: records up to %d were counted before, they are read again and skipped",
            source.group,
            "the beginning" if committed is None else committed,
            where,
            position.next_offset,
        )
