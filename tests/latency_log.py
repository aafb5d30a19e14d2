"""One partition's latency table that lives on usage records: what tests of it speak in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple

from memory_store import MemoryStore
from usage_log import NowProducer, Rec, make_admission, now

from streamapp.exact.partition.place import Place
from streamapp.meters.latency import codec
from streamapp.meters.latency.parts import LatencyTask, latency_parts
from streamapp.store.rows import Store, always_settled, stored_position
from tables.fast_path import NoFastPath
from tables.latency.fold import LIMITS, Limits
from tables.latency.lane import Sum
from tables.latency.tally import ALL, Name, Series, Tally
from tables.latency.windows import LatencyOutcome, WindowKey
from tables.window import Rules


class NoTallyLane(NoFastPath):
    """The lane that takes nothing: the table counts every record."""

    def open(self, hour_ms: int, expiry_ms: int) -> None:
        pass

    def close(self, hour_ms: int) -> None:
        pass

    def learn(self, name: Name, currency: str) -> None:
        pass

    def forget(self) -> None:
        pass

    def take(self) -> Iterable[Sum]:
        return ()


class Numbers(NamedTuple):
    """What must agree with the bills."""

    requests: int
    errors: int
    cache_hits: int
    prompt_tokens: int
    completion_tokens: int
    cost: dict[str, Decimal]


@dataclass
class LatencyTable:
    """Every chunk commits at once; `restart` forgets what is in memory."""

    rules: Rules = field(default_factory=Rules)
    limits: Limits = LIMITS
    partition: int = 0
    partitions: int = 1
    store: Store = field(default_factory=lambda: MemoryStore(always_settled))
    outcomes: list[LatencyOutcome] = field(default_factory=list)
    log: list[Rec] = field(default_factory=list)
    lane: bool = True

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new process on the same store."""
        place = Place("llm-metrics", "llm_usage", self.partition, "topic-id", self.partitions, {}, entropy=bytes)
        producer = NowProducer(self.store.checkpoint())
        admission = make_admission(self.partition, self.partitions)
        position = stored_position(self.store)
        parts = latency_parts(self.rules, admission, self.limits)
        self.task = LatencyTask(parts, place, self.store, producer, position)
        if not self.lane:
            self.task.memory.lane = NoTallyLane()
        self.task.landed = self.outcomes.append

    def apply(self, *records: Rec) -> LatencyOutcome:
        """One chunk. Records without an offset are appended to the log."""
        placed = []
        for record in records:
            if record.offset < 0:
                record = replace(record, offset=len(self.log))
                self.log.append(record)
            placed.append(record)
        now(self.task.commit(self.task.fold(placed, placed[-1].timestamp)))
        return self.outcomes[-1]

    def windows(self) -> dict[WindowKey, Tally]:
        """Every stored window."""
        rows = [*self.store.scan(b"h", b"i"), *self.store.scan(b"m", b"n")]
        return {codec.unpack_window_key(key): codec.unpack_tally(value) for key, value in rows}

    def totals(self) -> dict[Series, Tally]:
        """Every stored total."""
        rows = self.store.scan(b"t", b"u")
        return {codec.unpack_total_key(key): codec.unpack_tally(value) for key, value in rows}

    def rows(self) -> dict[object, object]:
        """Every stored row, as it reads, but the ids, whose cutting is the chunks'."""
        stored = (codec.LATENCY.readable(key, value) for key, value in self.store.scan(b"d", b"z") if key[:1] != b"i")
        return dict(stored)


def numbers(tally: Tally) -> Numbers:
    """What must agree with the bills."""
    tokens = tally.prompt_tokens, tally.completion_tokens
    return Numbers(tally.requests, tally.errors, tally.cache_hits, *tokens, tally.cost)


def summed(windows: dict[WindowKey, Tally], span: str) -> dict[int, Tally]:
    """The series of each window together, added up anew."""
    sums: dict[int, Tally] = {}
    for key, tally in windows.items():
        if key.span == span and key.series != ALL:
            sums.setdefault(key.start_ms, Tally()).add(tally)
    return sums
