"""A worker that copies records to a destination, as the pages and Prometheus see it."""

from __future__ import annotations

from dataclasses import replace

from streamapp.exact.partition.owned import Partition
from streamapp.facts.worker import PartitionFacts
from streamapp.meters.view import TableView
from streamapp.sinks.task import SinkTask


class SinkView(TableView):
    """Its rows, what waits for its batch, and why the destination does not take one."""

    def taken(self, partitions: dict[int, Partition]) -> None:
        super().taken(partitions)
        for partition in partitions.values():
            if isinstance(partition.task, SinkTask):
                partition.task.patience.told = self._metrics.sink_asked

    def _partition_facts(self, partition: Partition, now_s: float) -> PartitionFacts:
        facts, task = super()._partition_facts(partition, now_s), partition.task
        if not isinstance(task, SinkTask) or task.waits_from is None:
            return facts
        # What was handed over and is not kept yet is lag.
        trouble, since_s = task.patience.trouble, task.patience.trouble_since_s
        since_ms = None if since_s is None else self.clock() - int((now_s - since_s) * 1000)
        facts = replace(facts, position=task.waits_from, gathered=task.gathered)
        return replace(facts, trouble=trouble, trouble_since_ms=since_ms)

    def _shown(self, facts: PartitionFacts) -> None:
        super()._shown(facts)
        trouble = facts.trouble is not None
        self._metrics.gathers(facts.topic, facts.partition, gathered=facts.gathered, trouble=trouble)
