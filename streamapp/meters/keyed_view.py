"""A keyed table's worker as the pages and Prometheus see it: its rows as they are stored, and how far event time is."""

from __future__ import annotations

from dataclasses import replace

from streamapp.exact.partition import Partition
from streamapp.facts import PartitionFacts
from streamapp.meters.keyed_task import KeyedTask
from streamapp.meters.view import TableView
from tables.keyed import KeyedOutcome


class KeyedView(TableView):
    """Pages of a group that keeps rows by key."""

    def landed(self, outcome: KeyedOutcome) -> None:
        """A chunk has committed."""
        self._metrics.events.inc(outcome.counted)
        self._metrics.duplicates.inc(outcome.repeated)
        for refusal in outcome.refusals:
            self._metrics.rejected(refusal.reason)

    def _partition_facts(self, partition: Partition, now_s: float) -> PartitionFacts:
        facts = super()._partition_facts(partition, now_s)
        assert isinstance(partition.task, KeyedTask)
        watermark_ms = partition.task.keyed.position.watermark_ms
        return replace(facts, watermark_ms=None if watermark_ms < 0 else watermark_ms)
