"""Rows outside Kafka made again from the log, while the group's workers go on (decision 37, docs/adr/0054).

1  the range: of each partition the records of a time, as far as the group has kept them       nothing is written
2  they are read with today's code, as the sink reads them, and compared with what is kept    nothing is written
3  what differs is written beside what is kept; readers see the new reading from then on      the next run finds right
                                                                                              what this one has written
4  what was replaced is removed

Records that were refused stay refused: a redrive is their way back. What is kept of a record that today's code would
refuse stays as it is: nothing is lost by reading again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from streamapp.errors import Misconfigured, Refused
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.reading import reading
from streamapp.kafka.admin import Admin
from streamapp.lane.records import Records, values_bytes
from streamapp.replay.offsets import chunks_of, translated
from streamapp.replay.recompute import Told, refusals
from streamapp.settings import Settings
from streamapp.sinks.declaration import SinkDeclaration
from streamapp.sinks.rewriter import Reading, Rewriter


class Range(NamedTuple):
    """Records of a partition with offsets from `first` up to and without `end`."""

    partition: int
    first: int
    end: int

    @property
    def offsets(self) -> int:
        return self.end - self.first


@dataclass
class Rewritten:
    """What a rewrite found, and did. `refused`: records with a dead letter of the group. `left_alone`: records that
    today's code would refuse. `removed`: rows that were replaced and are gone. `unreadable`: records on `dead_letter`
    that say nothing."""

    records: int = 0
    same: int = 0
    changed: int = 0
    missing: int = 0
    refused: int = 0
    left_alone: int = 0
    removed: int = 0
    unreadable: int = 0

    @property
    def differs(self) -> int:
        """How many rows are not what the log says today."""
        return self.changed + self.missing


async def ranges(settings: Settings, sink: SinkDeclaration[Any], from_ms: int, to_ms: int) -> list[Range]:
    """Of each partition the records of this time by the broker's timestamps, `to_ms` excluded, that are still in the
    log and that the group has kept. Raises `Misconfigured` for a topic that is missing."""
    admin, topic = Admin(settings.kafka), sink.source.topic
    states = await asyncio.to_thread(admin.describe, (topic,), ())
    if topic not in states:
        raise Misconfigured(f"topic {topic} is missing; run `streamapp topics apply`")
    places = [(topic, number) for number in range(states[topic].partitions)]
    kept = await asyncio.to_thread(lambda: admin.committed(sink.group, places, settled=True))
    starts = await asyncio.to_thread(admin.start_offsets, places)
    firsts = await asyncio.to_thread(admin.offsets_at, places, from_ms)
    ends = await asyncio.to_thread(admin.offsets_at, places, to_ms)
    found = []
    for place in places:
        done = kept.get(place, 0)
        first = max(starts[place], done if firsts[place] < 0 else firsts[place])
        end = done if ends[place] < 0 else min(ends[place], done)
        if first < end:
            found.append(Range(place[1], first, end))
    return found


async def rewrite(
    sink: SinkDeclaration[Any],
    settings: Settings,
    of: Sequence[Range],
    now_ms: int,
    told: Told,
    *,
    dry_run: bool = False,
) -> Rewritten:
    """Steps 2 to 4; a dry run ends behind step 2. `told`: how many offsets are done. Raises `Refused` for a sink whose
    rows cannot be made again, and what its destination raises."""
    if sink.rewriter is None:
        raise Refused(f"--rewrite is for sinks whose rows can be made again; those of {sink.group} cannot")
    rewriter, done, most = sink.rewriter(settings), Rewritten(), settings.worker.chunk_records
    try:
        refused = await asyncio.to_thread(refusals, sink, settings)
        done.unreadable = refused.unreadable
        await rewriter.begin(now_ms)
        async with translated(), reading(settings) as consumer:
            for range_ in of:
                known = refused.offsets.get(range_.partition, frozenset())
                spans = await rewriter.batches(place_of(sink, range_.partition), range_.first, range_.end)
                chunks = partial(chunks_of, consumer, most, sink.source.topic, range_.partition)
                async with aclosing(_readings(sink, settings, chunks, spans, range_, known, done)) as readings:
                    at = range_.first
                    async for each in readings:
                        await _one(rewriter, each, done, dry_run)
                        told(each.last + 1 - at)
                        at = each.last + 1
                told(range_.end - at)
        if not dry_run:
            done.removed = await rewriter.finish()
    finally:
        await rewriter.close()
    return done


async def _one(rewriter: Rewriter, each: Reading, done: Rewritten, dry_run: bool) -> None:
    difference = await rewriter.compared(each)
    done.same += difference.same
    done.changed += difference.changed
    done.missing += difference.missing
    if not dry_run:
        await rewriter.write(each, difference)


async def _readings(
    sink: SinkDeclaration[Any],
    settings: Settings,
    chunks: Callable[[int, int], AsyncIterator[Records]],
    spans: Sequence[tuple[int, int]] | None,
    of: Range,
    known: Collection[int],
    done: Rewritten,
) -> AsyncGenerator[Reading, None]:
    """A range as batches: `spans`, or of the sink's own size. `known`: offsets with a dead letter."""
    read, bounds = sink.read(settings), sink.ends(settings)
    place = place_of(sink, of.partition)
    for begin, last in [(of.first, of.end - 1)] if spans is None else spans:
        rows: list[Any] = []
        refused: set[int] = set()
        first, size, count = begin, 0, 0
        async for records in chunks(begin, last + 1):
            new, today = read(place, records)
            letters = {record.offset for record in records if record.offset in known}
            left = {refusal.record.offset for refusal in today} - letters
            rows += new
            refused |= letters | left
            done.records += len(records)
            done.refused += len(letters)
            done.left_alone += len(left)
            size, count, at = size + values_bytes(records), count + len(records), records[-1].offset
            if spans is None and at < last and (count >= bounds.records or size >= bounds.size_bytes):
                yield Reading(place, first, at, rows, refused)
                rows, refused, first, size, count = [], set(), at + 1, 0, 0
        if count:
            yield Reading(place, first, last, rows, refused)


def place_of(sink: SinkDeclaration[Any], partition: int) -> Place:
    """A partition, for what reads and writes nothing in Kafka."""
    return Place(sink.group, sink.source.topic, partition, topic_id="", partitions=0, outputs={})
