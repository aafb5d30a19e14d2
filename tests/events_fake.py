"""Events on topics in memory, and a worker that has counted them: what the pages of events ask."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from usage_log import value
from web_fake import GRACE_MS, HOUR_MS, FakeWorker, World

from streamapp.events.event import event_of
from streamapp.events.log import EventLog, Stretch, within
from streamapp.facts.events import PlaceFacts, WindowFacts
from streamapp.kafka.log.reader import Record, Span
from streamapp.schemas.values.ulid import event_id
from streamapp.topics.partitioner import partition_for

CHUNK = 10
READ_TO = 1_000_000


class FakeEventLog(EventLog):
    """Topics of eight partitions, in memory."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.records = list(records)
        self.failure: Exception | None = None

    async def spans(self, topic: str) -> dict[int, Span]:
        return {number: Span(0, len(self._of(topic, number))) for number in range(8)}

    async def offsets(self, topic: str, at_ms: int) -> dict[int, int]:
        found = {}
        for number in range(8):
            later = (one.offset for one in self._of(topic, number) if one.timestamp_ms >= at_ms)
            found[number] = next(later, len(self._of(topic, number)))
        return found

    async def read(self, topic: str, upto: Mapping[int, Span]) -> Stretch:
        if self.failure is not None:
            raise self.failure
        bounded = within(upto)
        records = [
            one
            for number, span in sorted(bounded.items())
            for one in self._of(topic, number)
            if one.offset in range(*span)
        ]
        return Stretch(records, upto, {number: span.end for number, span in bounded.items()})

    def _of(self, topic: str, partition: int) -> list[Record]:
        return [one for one in self.records if (one.topic, one.partition) == (topic, partition)]


def behind_a_bill(world: World) -> tuple[FakeEventLog, str]:
    """The calls of the newest closed hour of the first team, with one duplicate; the bill's id."""
    bucket = next(one for one in world.buckets if not one.open and len(one.stages) == 1)
    partition = bucket.partition
    records: list[Record] = []

    def add(name: str, at_ms: int, team: str, **more: Any) -> None:
        body = value(name, at_ms, team, bucket.org, **more)
        key = team.encode()
        records.append(Record("llm_usage", partition, len(records), at_ms + 500, key, body))

    for number in range(bucket.first_offset):
        add(f"other-{number}", bucket.start_ms, "team_other")
    for (provider, model), (usage, cost) in bucket.lines().items():
        for number in range(usage["requests"]):
            share = cost - cost.__class__(0) if number == 0 else cost * 0
            at_ms = bucket.start_ms + number * 1000
            name = event_id(at_ms, f"{model[-5:]}{number}".encode().ljust(10, b"-")[:10])
            more = {"provider": provider, "model": model, "cost": f"{share:f}"}
            add(name, at_ms, bucket.team, **more)
            if number == 1:
                add(name, at_ms, bucket.team, **more)
    return FakeEventLog(records), bucket.bill_id(0)


class TracingWorker(FakeWorker):
    """A worker that has counted what is on the log, and stated what the world has stated."""

    def __init__(self, world: World, name: str, log: FakeEventLog) -> None:
        super().__init__(world, name)
        self.log = log
        self.changed = {number: {"position": READ_TO, "high_water": READ_TO} for number in self.owned}

    async def places(self, event_id: str, starts: Mapping[int, int]) -> list[PlaceFacts]:
        await asyncio.sleep(0)
        made = []
        for number in sorted(starts or self.owned):
            found = [one.offset for one in self.log.records if one.partition == number and event_of(one).id == event_id]
            chunk = found[0] // CHUNK * CHUNK if found else None
            made.append(PlaceFacts(number, bool(found), chunk, 0, READ_TO, READ_TO))
        return made

    def window(self, names: tuple[str, ...], at_ms: int) -> list[WindowFacts]:
        org, team, currency = names
        hour = at_ms // HOUR_MS * HOUR_MS
        found = [one for one in self._mine() if (one.org, one.team, one.start_ms) == (org, team, hour)]
        made = []
        for bucket in found:
            number = 0 if bucket.open else self.world.revisions(bucket)
            stated = tuple(self.world.statement(bucket, revision).decode() for revision in range(number))
            state: Any = "open" if bucket.open else "pending" if bucket.pending else "stated"
            due_ms = hour + HOUR_MS + GRACE_MS if bucket.open else self.world.now_ms // 300_000 * 300_000 + 300_000
            watermark_ms = self.world.now_ms - 900
            facts = bucket.partition, state, (org, team, currency), hour, watermark_ms, due_ms, stated
            made.append(WindowFacts(*facts))
        return made


def home(team: str) -> int:
    """The partition of a team."""
    return partition_for(team.encode(), 8)
