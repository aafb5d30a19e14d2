"""A worker that keeps records elsewhere in batches, as the pages and Prometheus see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from streamapp.clock import Clock
from streamapp.delivery.batch_task import BatchTask
from streamapp.exact.partition import Partition
from streamapp.facts import PartitionFacts
from streamapp.meters.view import TableView
from streamapp.metrics import BatchCounts, BatchMetrics, GroupMetrics
from streamapp.store.table import Table
from tables.outcome import Refusal


class BatchView(TableView):
    """Its rows, what waits for its batch, and why the sink does not take one."""

    def __init__(self, app: Any, metrics: GroupMetrics, clock: Clock, table: Table) -> None:
        super().__init__(app, metrics, clock, table)
        metrics.registry.register(BatchMetrics(metrics.group, self.counts))

    def kept(self, records: int, refusals: Sequence[Refusal]) -> None:
        """A batch was kept: `on_kept` of every task."""
        self._metrics.events.inc(records - len(refusals))
        for refusal in refusals:
            self._metrics.rejected(refusal.reason)

    def counts(self) -> dict[tuple[str, int], BatchCounts]:
        """Of the partitions in hand, now."""
        return {
            (task.place.topic, number): BatchCounts(task.gathered, task.trouble is not None)
            for number, task in self._tasks().items()
        }

    def _partition_facts(self, partition: Partition, now_s: float) -> PartitionFacts:
        facts = super()._partition_facts(partition, now_s)
        task = self._tasks().get(partition.number)
        if task is None or task.waits_from is None:
            return facts
        # What was handed over and is not kept yet is lag.
        since_s = task.trouble_since_s
        since_ms = None if since_s is None else self.clock() - int((now_s - since_s) * 1000)
        facts = replace(facts, position=task.waits_from, gathered=task.gathered)
        return replace(facts, trouble=task.trouble, trouble_since_ms=since_ms)

    def _tasks(self) -> dict[int, BatchTask[Any]]:
        tasks = {number: partition.task for number, partition in self._partitions().items()}
        return {number: task for number, task in tasks.items() if isinstance(task, BatchTask)}
