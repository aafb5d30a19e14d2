"""A worker whose pages list what its partitions have: read once after a takeover, listed at most once a second."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from typing import Any, ClassVar, Generic, TypeVar

from streamapp.clock import Clock, monotonic_s
from streamapp.exact.faust.failstop import failstop
from streamapp.exact.partition.owned import Partition
from streamapp.exact.partition.task import TableTask
from streamapp.meters.view import Sums, TableView, add
from streamapp.metrics import GroupMetrics
from streamapp.store.table import Table
from tables.window import DAY_MS

FRESH_S = 1.0
SLICE = 500  # rows read between two turns of the event loop

Key = TypeVar("Key")
Kept = TypeVar("Kept")
Facts = TypeVar("Facts")


class PartitionRows(ABC, Generic[Key, Kept]):
    """One partition's rows as they are listed, and the money that it stated. `rows`: at most `rows_max`, in the order
    of change. `stated`: day → what was stated for the first time, and what revisions of it added."""

    def __init__(self, task: TableTask[Any, Any], rows_max: int) -> None:
        self.task = task
        self.rows: dict[Key, Kept] = {}
        self.stated: dict[int, tuple[Sums, Sums]] = defaultdict(lambda: ({}, {}))
        self.live: set[str] | None = set()  # stated since the takeover, until `load` has left them alone
        self._rows_max = rows_max

    @abstractmethod
    def landed(self, outcome: Any) -> None:
        """A chunk has committed."""

    @abstractmethod
    def _stored(self, now_ms: int) -> Iterator[tuple[Key, Kept] | None]:
        """What is stored of each row that is listed, the most wanted first; None: a row that is not listed."""

    @abstractmethod
    def _stated_on(self, day_ms: int) -> tuple[bytes, bytes]:
        """Between which keys the statements of a day lie."""

    @abstractmethod
    def _amount(self, statement: bytes) -> tuple[bool, str, Decimal]:
        """Whether a statement is a revision, and the currency and the amount by which it changes the sums."""

    async def load(self, now_ms: int) -> None:
        """Read what was there before the takeover, a slice at a time, between the chunks."""
        for number, found in enumerate(self._stored(now_ms)):
            if len(self.rows) >= self._rows_max:
                break
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            if found is not None:
                self.rows.setdefault(*found)
        today = now_ms - now_ms % DAY_MS
        for key, value in self.task.store.scan(*self._stated_on(today)):
            await asyncio.sleep(0)
            if key[1:].decode() not in (self.live or ()):
                is_revision, currency, amount = self._amount(value)
                add(self.stated[today][is_revision], currency, amount)
        self.live = None

    def _forget_oldest(self) -> None:
        for key in list(islice(self.rows, max(0, len(self.rows) - self._rows_max))):
            del self.rows[key]


View = TypeVar("View", bound=PartitionRows[Any, Any])


class ListedView(TableView, Generic[View, Facts]):
    """`_view` makes the view of a partition, `_facts` the list of what `listed` names. A row that cannot be read is
    damage: it stops the worker, as wherever else it is met."""

    listed: ClassVar[str]

    def __init__(self, app: Any, metrics: GroupMetrics, clock: Clock, table: Table) -> None:
        super().__init__(app, metrics, clock, table)
        self._views: dict[int, View] = {}
        self._made: tuple[float, list[Facts]] = (-FRESH_S, [])
        self._loading: asyncio.Task[None] | None = None

    def _view(self, task: TableTask[Any, Any], partitions: int) -> View:
        """Of one of so many partitions in hand."""
        raise NotImplementedError

    def _facts(self) -> list[Facts]:
        """Of all partitions, as of the newest chunks."""
        raise NotImplementedError

    def taken(self, partitions: dict[int, Partition]) -> None:
        if self._loading is not None:
            self._loading.cancel()
        self._views, self._made = {}, (-FRESH_S, [])
        for number, partition in partitions.items():
            assert isinstance(partition.task, TableTask)
            self._views[number] = self._view(partition.task, len(partitions))
        super().taken(partitions)
        self._loading = asyncio.create_task(self._load([*self._views.values()]))

    def _landed(self, task: Any, outcome: Any) -> None:
        view = self._views.get(task.place.partition)
        if view is not None:  # else the partition goes, and this was its last chunk
            view.landed(outcome)
        super()._landed(task, outcome)

    def _listed(self) -> list[Facts]:
        made_s, facts = self._made
        if monotonic_s() - made_s >= FRESH_S:
            facts = self._facts()
            self._made = (monotonic_s(), facts)
        return list(facts)

    def _stated_today(self) -> tuple[Sums, Sums]:
        """Of the UTC day: what was stated for the first time, and what revisions of it added."""
        today = self.clock() // DAY_MS * DAY_MS
        sums: tuple[Sums, Sums] = {}, {}
        for view in self._views.values():
            for total, part in zip(sums, view.stated.get(today, ({}, {})), strict=True):
                for currency, amount in part.items():
                    add(total, currency, amount)
        return sums

    def _summing(self) -> bool:
        return self._loading is not None and not self._loading.done()

    async def _load(self, views: Iterable[View]) -> None:
        try:
            for view in views:
                await view.load(self.clock())
        except Exception as error:
            failstop(error, f"reading the {self.listed} for the pages")
