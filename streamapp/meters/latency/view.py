"""The latency table's worker as the pages and Prometheus see it. What is shown is read from the committed rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from streamapp import llm_exposition
from streamapp.clock import Clock
from streamapp.exact.partition import Partition
from streamapp.facts import CallFacts, PartitionFacts, Span
from streamapp.llm_exposition import PartitionCounts
from streamapp.meters.latency import codec
from streamapp.meters.latency.task import LatencyTask
from streamapp.meters.view import TableView
from streamapp.metrics import GroupMetrics
from streamapp.store.rows import Store
from streamapp.store.table import Table
from tables.latency import DUPLICATE
from tables.latency_windows import SPANS_MS, LatencyOutcome, WindowKey
from tables.tally import ALL, Series, Tally


class LatencyView(TableView):
    """Pages of a group with a table, its counters, and calls by minute and hour."""

    def __init__(self, app: Any, metrics: GroupMetrics, clock: Clock, table: Table) -> None:
        super().__init__(app, metrics, clock, table)
        self._tasks: dict[int, LatencyTask] = {}

    def taken(self, partitions: dict[int, Partition]) -> None:
        """Other partitions are in hand now."""
        self._tasks = {}
        for number, partition in partitions.items():
            assert isinstance(partition.task, LatencyTask)
            self._tasks[number] = partition.task
            partition.task.landed = self._landed

    def metrics(self) -> bytes:
        counts = [_counts(number, task.store) for number, task in self._tasks.items()]
        return super().metrics() + llm_exposition.counters(counts).encode()

    def calls(self, partition: int, span: Span, from_ms: int, until_ms: int, each: bool) -> list[CallFacts]:
        task = self._tasks.get(partition)
        if task is None:
            return []
        rows = _each(task.store, span, from_ms, until_ms) if each else _together(task.store, span, from_ms, until_ms)
        return [_call(key, tally) for key, tally in rows]

    def _landed(self, outcome: LatencyOutcome) -> None:
        self._metrics.events.inc(outcome.accepted)
        self._metrics.duplicates.inc(outcome.duplicates)

    def _partition_facts(self, partition: Partition, now_s: float) -> PartitionFacts:
        task = self._tasks[partition.number]
        watermark_ms = task.latency.position.watermark_ms
        silent = partition.last_record_ms is None or self.clock() - partition.last_record_ms > 60_000
        return dataclasses.replace(
            super()._partition_facts(partition, now_s),
            state="idle" if silent else "running",
            watermark_ms=None if watermark_ms < 0 else watermark_ms,
            duplicates=task.duplicates,
            rejected=task.rejected,
        )


def _counts(number: int, store: Store) -> PartitionCounts:
    refused = {key[1:].decode(): codec.unpack_count(value) for key, value in store.scan(b"r", b"s")}
    duplicates = refused.pop(DUPLICATE, 0)
    totals = {codec.unpack_total_key(key): codec.unpack_tally(value) for key, value in store.scan(b"t", b"u")}
    return PartitionCounts(number, totals, refused, duplicates)


def _together(store: Store, span: Span, from_ms: int, until_ms: int) -> Iterator[tuple[WindowKey, Tally]]:
    for start_ms in range(from_ms, until_ms, SPANS_MS[span]):
        key = WindowKey(span, start_ms, ALL)
        value = store.get(codec.window_key(key))
        if value is not None:
            yield key, codec.unpack_tally(value)


def _each(store: Store, span: Span, from_ms: int, until_ms: int) -> Iterator[tuple[WindowKey, Tally]]:
    for raw, value in store.scan(codec.window_prefix(span, from_ms), codec.window_prefix(span, until_ms)):
        key = codec.unpack_window_key(raw)
        if key.series != ALL:
            yield key, codec.unpack_tally(value)


def _call(key: WindowKey, tally: Tally) -> CallFacts:
    series: Series = key.series
    return CallFacts(
        key.start_ms,
        *series,
        tally.requests,
        tally.errors,
        tally.cache_hits,
        tally.prompt_tokens,
        tally.completion_tokens,
        tally.cost,
        tally.latency.bins,
        tally.ttft.bins,
    )
