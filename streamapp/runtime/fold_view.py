"""A fold's worker as the pages and Prometheus see it: its rows as they are stored, and how far event time is."""

from __future__ import annotations

from dataclasses import replace

from streamapp.facts import PartitionFacts
from streamapp.runtime.fold_task import FoldTask
from streamapp.runtime.partition import Partition
from streamapp.runtime.view import TableView
from tables.fold import FoldOutcome


class FoldView(TableView):
    """Pages of a group whose task is a fold."""

    def landed(self, outcome: FoldOutcome) -> None:
        """A chunk has committed."""
        self._metrics.events.inc(outcome.counted)
        self._metrics.duplicates.inc(outcome.repeated)
        for refusal in outcome.refusals:
            self._metrics.rejected(refusal.reason)

    def _partition_facts(self, partition: Partition, now_s: float) -> PartitionFacts:
        facts = super()._partition_facts(partition, now_s)
        assert isinstance(partition.task, FoldTask)
        watermark_ms = partition.task.fold_.position.watermark_ms
        return replace(facts, watermark_ms=None if watermark_ms < 0 else watermark_ms)
