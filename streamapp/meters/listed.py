"""A worker whose pages list what its partitions have: read once after a takeover, listed at most once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from streamapp.clock import Clock, monotonic_s
from streamapp.exact.faust.failstop import failstop
from streamapp.exact.partition.owned import Partition
from streamapp.exact.partition.task import TableTask
from streamapp.meters.view import TableView
from streamapp.metrics import GroupMetrics
from streamapp.store.table import Table

FRESH_S = 1.0


class PartitionView(Protocol):
    """What one partition has."""

    async def load(self, now_ms: int) -> None:
        """Read what was there before the takeover, a slice at a time, between the chunks."""


View = TypeVar("View", bound=PartitionView)
Facts = TypeVar("Facts")


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

    def _listed(self) -> list[Facts]:
        made_s, facts = self._made
        if monotonic_s() - made_s >= FRESH_S:
            facts = self._facts()
            self._made = (monotonic_s(), facts)
        return list(facts)

    def _summing(self) -> bool:
        return self._loading is not None and not self._loading.done()

    async def _load(self, views: Iterable[View]) -> None:
        try:
            for view in views:
                await view.load(self.clock())
        except Exception as error:
            failstop(error, f"reading the {self.listed} for the pages")
