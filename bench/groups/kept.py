"""What benchmarks of groups that keep records elsewhere have in common: the topic, and how many records were kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import msgspec

from bench.contender import Records
from bench.events import Event, Shape
from bench.groups.bare_loop import COUNTS
from bench.load import RECORDS_PER_STEP, ROOM, Prepared, Step, broker, producer
from bench.oracle import Answer
from streamapp.broker.train import train
from streamapp.kafka.admin import Admin
from streamapp.kafka.provision import apply
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import TOPICS, changelog, topic

BEGIN_MS = 1_736_937_120_000


def topic_of(source: str, events: Callable[[Shape], Iterator[Event]]) -> Callable[[Shape, Step], Prepared]:
    """Makes the topic with the records; the right answer is how many each partition has."""

    def prepared(shape: Shape, step: Step) -> Prepared:
        template = ROOM / shape.name / source
        counts = template.with_suffix(".json")
        if not counts.exists():
            counts.parent.mkdir(parents=True, exist_ok=True)
            train(ROOM.parent)
            with broker(template) as running:
                apply(Admin(KafkaSettings(bootstrap_servers=running.bootstrap)), TOPICS, 1)
                _load(running.bootstrap, source, shape, events, step)
                numbers = range(topic(source).partitions)
                ends = Admin(KafkaSettings(bootstrap_servers=running.bootstrap)).end_offsets(
                    [(source, number) for number in numbers]
                )
            counts.write_text(json.dumps({number: ends[source, number] for number in numbers}))
        expected: Answer = {(int(number),): count for number, count in json.loads(counts.read_text()).items() if count}
        return Prepared(shape, template, expected, source, topic(source).partitions)

    return prepared


def kept_by(group: str, table: str) -> Callable[[Records], Answer]:
    """The extents of every batch that the group has ended, added up."""

    def answer(records: Records) -> Answer:
        counts: dict[tuple[int], int] = {}
        for record in records(changelog(group, table)):
            if record.key == b"b" and record.value is not None:
                (_, _, count), _ = msgspec.msgpack.decode(record.value)
                counts[record.partition,] = counts.get((record.partition,), 0) + count
        return dict(counts)

    return answer


def said(records: Records) -> Answer:
    """What a bare loop says of itself."""
    counts: dict[tuple[int], int] = {}
    for record in records(COUNTS):
        key = (int(record.key or b""),)
        counts[key] = counts.get(key, 0) + int(record.value or b"")
    return dict(counts)


def _load(bootstrap: str, source: str, shape: Shape, events: Callable[[Shape], Iterator[Event]], step: Step) -> None:
    client = producer(bootstrap)
    for number, event in enumerate(events(shape)):
        if number % RECORDS_PER_STEP == 0:
            step("loading", number, shape.events)
            client.flush()
        client.produce(source, event.value, event.key, timestamp=event.at_ms)
        client.poll(0)
    client.flush()
