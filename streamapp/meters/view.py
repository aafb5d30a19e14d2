"""One worker as the pages see it: implements `facts.WorkerView` over the partitions in hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, TypeVar

from streamapp.clock import Clock, monotonic_s
from streamapp.exact.partition.owned import Partition
from streamapp.exact.partition.task import Keeps, TableTask
from streamapp.facts.events import PlaceFacts, WindowFacts
from streamapp.facts.worker import CallFacts, HourFacts, PartitionFacts, RawRow, Span, TeamFacts, WorkerFacts
from streamapp.meters.members import Members
from streamapp.meters.places import place
from streamapp.metrics import VERSION, GroupMetrics
from streamapp.settings.told import changed
from streamapp.store.rows import Store
from streamapp.store.table import RowKey, Table
from tables.counters import EXACT, NOTHING
from tables.fold import Fold
from tables.outcome import Waiting
from tables.window import HOUR_MS

Sums = dict[str, Decimal]
"""Currency → money."""

K = TypeVar("K")


def add(sums: dict[K, Decimal], key: K, amount: Decimal) -> None:
    """Add money, exactly."""
    sums[key] = EXACT.add(sums.get(key, NOTHING), amount)


UNREADABLE = "unreadable"
SILENT_MS = 60_000


def count_stated(metrics: GroupMetrics, now_ms: int, statements: Sequence[Any]) -> None:
    """Statements of hours: those of revision 0, with how long ago their hours ended, and the later ones."""
    ages_s = [(now_ms - one.key.start_ms - HOUR_MS) / 1000 for one in statements if not one.revision]
    metrics.stated("revised", len(statements) - len(ages_s))
    metrics.stated("hourly", len(ages_s), ages_s)


class TableView:
    """What is true of every group's worker: its partitions, and its rows as they are stored. A row that nobody can
    read, though it is what was written, stands there with its bytes: this is where people look for it."""

    bills: ClassVar[bool] = False  # whether its open rows are hours that are billed

    def __init__(self, app: Any, metrics: GroupMetrics, clock: Clock, table: Table) -> None:
        self.app = app
        self._table = table
        self.clock = clock
        self._metrics = metrics
        self._started_ms = clock()
        self._members = Members()

    def worker(self) -> WorkerFacts:
        now_s = monotonic_s()
        partitions = self._partitions()
        recent = [partition.rate.recent(now_s) for partition in partitions.values()]
        open_cost, closed, revised = self._money()
        return WorkerFacts(
            group=self.app.conf.id,
            name=self.app.slot.instance_id,
            url=str(self.app.conf.canonical_url),
            started_ms=self._started_ms,
            partitions=tuple(self._partition_facts(partition, now_s) for partition in partitions.values()),
            open_cost=open_cost,
            closed_cost_today=closed,
            revised_cost_today=revised,
            dead_letters=self._metrics.letters,
            partition_count=self.app.consumer.topic_partitions(self.app.ownership.topic),
            missing_topics=self.app.needs.missing,
            version=VERSION,
            gone=self._members.gone(),
            taking=self.app.ownership.taking,
            joined=bool(self.app.assignor.external_topics_metadata()),
            summing=self._summing(),
            open_events=self._open_events(),
            recent_events_per_s=tuple(float(sum(counts)) for counts in zip(*recent, strict=True)),
        )

    def peers(self) -> tuple[str, ...]:
        """Faust's assignor tells every member who has what."""
        mine = str(self.app.conf.canonical_url)
        return tuple(sorted(url for url in self.app.assignor.external_topics_metadata() if url != mine))

    def taken(self, partitions: dict[int, Partition]) -> None:
        """Other partitions are in hand now."""
        for partition in partitions.values():
            if isinstance(partition.task, Keeps):
                partition.task.landed = partial(self._landed, partition.task)

    def rebalanced(self) -> None:
        """The leader has given the partitions out anew."""
        self._members.are(self._owners(), self.clock())

    def _owners(self) -> dict[str, frozenset[int]]:
        """Every member with its partitions of the group's topic, as the leader gave them out."""
        topic = self.app.ownership.topic
        given = self.app.assignor.external_topics_metadata()
        return {str(url): frozenset(topics.get(topic, ())) for url, topics in given.items()}

    def settings(self) -> list[tuple[str, str]]:
        return changed(self.app.settings)

    def mark_seen(self, url: str, at_ms: int) -> bool:
        return self._members.mark_seen(url, at_ms)

    def _landed(self, task: Any, outcome: Any) -> None:
        """A chunk of a task that `Keeps` rows has committed. A table that also states says more."""
        metrics = self._metrics
        metrics.events.inc(outcome.accepted)
        metrics.duplicates.inc(outcome.duplicates)
        metrics.rounded.inc(outcome.rounded)
        metrics.others.inc(outcome.others)
        if task.letters:
            for refusal in outcome.refusals:
                metrics.rejected(refusal.reason)

    def hours(self) -> list[HourFacts]:
        return []

    def team(self, org: str, team: str) -> list[TeamFacts]:
        return []

    def bill(self, bill_id: str) -> list[bytes]:
        return []

    def calls(self, partition: int, span: Span, from_ms: int, until_ms: int, each: bool) -> list[CallFacts]:
        return []

    async def places(self, event_id: str, starts: Mapping[int, int]) -> list[PlaceFacts]:
        partitions = [(number, partition.task) for number, partition in self._partitions().items()]
        asked = [(number, task) for number, task in partitions if not starts or number in starts]
        found = [
            await place(number, task, event_id, starts.get(number))
            for number, task in asked
            if isinstance(task, TableTask)
        ]
        return [one for one in found if one is not None]

    def window(self, names: tuple[str, ...], at_ms: int) -> list[WindowFacts]:
        return []

    def rows(self, table: str, after: tuple[Any, ...] | None, limit: int, partition: int | None) -> list[RawRow]:
        rows: list[RawRow] = []
        kept = self._table
        start = kept.first if after is None else self._stored_key(after) + b"\0"
        for number, store in self._stores().items():
            if table != kept.name or partition not in (None, number):
                continue
            for key, value in store.scan(start, kept.last):
                if len(rows) >= limit:
                    return rows
                if key[0] in kept.kinds:
                    parts, row = self._readable(key, value)
                    last = row.get("last_offset") if isinstance(row, dict) else None
                    rows.append(RawRow(parts, row, number, last))
        return rows

    def tables(self) -> tuple[str, ...]:
        return (self._table.name,)

    def metrics(self, openmetrics: bool = False, more: bytes = b"") -> bytes:
        self._metrics.forget()
        partitions = self.worker().partitions
        self._metrics.owns(self.app.ownership.topic, len(partitions))
        for facts in partitions:
            self._shown(facts)
        return self._metrics.exposition(openmetrics, more)

    def _shown(self, facts: PartitionFacts) -> None:
        """Gauges of a partition."""
        self._metrics.at(
            facts.topic,
            facts.partition,
            lag=facts.lag,
            watermark_ms=facts.watermark_ms,
            open_rows=facts.open_rows,
        )

    def _partitions(self) -> dict[int, Partition]:
        partitions: dict[int, Partition] = self.app.ownership.partitions
        return partitions

    def _partition_facts(self, partition: Partition, now_s: float) -> PartitionFacts:
        task = partition.task
        assert isinstance(task, Keeps)
        memory = getattr(task, "memory", None)
        waiting = memory.waiting() if isinstance(memory, Fold) else Waiting()
        silent = partition.last_record_ms is None or self.clock() - partition.last_record_ms > SILENT_MS
        return PartitionFacts(
            topic=self.app.ownership.topic,
            partition=partition.number,
            state="idle" if silent else "running",
            watermark_ms=None if task.watermark_ms < 0 else task.watermark_ms,
            position=partition.position(),
            high_water=partition.high_water,
            last_commit_ms=partition.last_commit_ms,
            events_per_s=partition.rate.per_s(now_s),
            open_hours=waiting.open_rows if self.bills else 0,
            open_rows=waiting.open_rows,
            pending_revisions=waiting.pending_revisions,
            next_mark_ms=waiting.next_mark_ms,
            last_record_ms=partition.last_record_ms,
            caught_up_ms=partition.caught_up_ms,
            duplicates=task.duplicates,
            rejected=task.rejected,
        )

    def _open_events(self) -> dict[str, int] | None:
        """Currency → events in the open sum of `_money`; None for a table that does not tell money."""
        return None

    def _money(self) -> tuple[Sums, Sums, Sums]:
        return {}, {}, {}

    def _summing(self) -> bool:
        """Whether `_money` lacks something that was stated before the takeover."""
        return False

    def _readable(self, key: bytes, value: bytes) -> tuple[RowKey, Any]:
        try:
            return self._table.readable(key, value)
        except Exception as error:  # whatever it is, a person wants to see the row all the more
            return (UNREADABLE, key.hex()), {"value_hex": value.hex(), "why": f"{type(error).__name__}: {error}"}

    def _stored_key(self, parts: RowKey) -> bytes:
        """Raises ValueError for what is no key."""
        if len(parts) == 2 and parts[0] == UNREADABLE:
            return bytes.fromhex(str(parts[1]))
        return self._table.readable_key(parts)

    def _stores(self) -> dict[int, Store]:
        """The rows of each partition in hand."""
        tasks = {number: partition.task for number, partition in self._partitions().items()}
        return {number: task.store for number, task in tasks.items() if isinstance(task, Keeps)}
