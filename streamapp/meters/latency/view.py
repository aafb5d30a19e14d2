"""The latency table's worker as the pages and Prometheus see it. What is shown is read from the committed rows."""

from __future__ import annotations

from collections.abc import Iterator

from streamapp.facts.worker import CallFacts, Span
from streamapp.meters.latency import codec, exposition
from streamapp.meters.latency.exposition import PartitionCounts
from streamapp.meters.view import TableView
from streamapp.store.rows import Store
from tables.latency.fold import DUPLICATE
from tables.latency.tally import ALL, Series, Tally
from tables.latency.windows import SPANS_MS, WindowKey


class LatencyView(TableView):
    """Pages of a group with a table, its counters, and calls by minute and hour."""

    def metrics(self, openmetrics: bool = False, more: bytes = b"") -> bytes:
        counts = [_counts(number, store) for number, store in self._stores().items()]
        return super().metrics(openmetrics, exposition.counters(counts, openmetrics).encode() + more)

    def calls(self, partition: int, span: Span, from_ms: int, until_ms: int, each: bool) -> list[CallFacts]:
        store = self._stores().get(partition)
        if store is None:
            return []
        rows = _each(store, span, from_ms, until_ms) if each else _together(store, span, from_ms, until_ms)
        return [_call(key, tally) for key, tally in rows]


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
