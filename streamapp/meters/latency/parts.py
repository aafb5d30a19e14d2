"""The table of latencies: outcomes become rows. It sends nothing: billing-agg writes the dead letters of its topic."""

from __future__ import annotations

from collections.abc import Iterable

from streamapp.exact.partition.task import Opening, Parts, TableTask
from streamapp.meters.latency import codec
from streamapp.meters.latency.lane import CompiledTally
from streamapp.store.ids import remembered
from streamapp.store.rows import Overlay, Writes
from tables.admission import Admission
from tables.latency.fold import LIMITS, Latency, Limits
from tables.latency.tally import Tally
from tables.latency.windows import LatencyOutcome, WindowKey
from tables.window import Rules

LatencyTask = TableTask[Latency, LatencyOutcome]


class WindowOverlay(Overlay):
    """The table's windows, with those that are on their way to the store."""

    def window(self, key: WindowKey) -> Tally | None:
        value = self.get(codec.window_key(key))
        return None if value is None else codec.unpack_tally(value)

    def windows_between(self, span: str, start_ms: int, stop_ms: int) -> Iterable[bytes]:
        return self.scan(codec.window_prefix(span, start_ms), codec.window_prefix(span, stop_ms))


def latency_parts(rules: Rules, admission: Admission, limits: Limits = LIMITS) -> Parts[Latency, LatencyOutcome]:
    """A partition of usage whose records pass `admission`."""

    def memory(at: Opening) -> Latency:
        place, store = at.place, at.rows.store
        lane = CompiledTally(at.seen, place.partition, place.partitions, rules.future_ms)
        latency = Latency(rules, admission, at.rows, at.position, at.seen, lane, limits)
        frequent = store.get(codec.FREQUENT_KEY)
        latency.restore(
            ((codec.unpack_total_key(key), codec.unpack_tally(value)) for key, value in store.scan(b"t", b"u")),
            ((key[1:].decode(), codec.unpack_count(value)) for key, value in store.scan(b"r", b"s")),
            ((codec.unpack_name_key(key), codec.unpack_count(value)) for key, value in store.scan(b"n", b"o")),
            () if frequent is None else codec.unpack_frequent(frequent).items(),
            remembered(store),
        )
        return latency

    return Parts(memory, changed, WindowOverlay)


def changed(outcome: LatencyOutcome) -> Writes:
    """Windows, totals, names and what was passed over."""
    writes: Writes = dict.fromkeys(outcome.gone)
    for key, tally in outcome.windows.items():
        writes[codec.window_key(key)] = None if tally is None else codec.pack_tally(tally)
    for series, tally in outcome.totals.items():
        writes[codec.total_key(series)] = None if tally is None else codec.pack_tally(tally)
    for name, earned in outcome.places.items():
        writes[codec.name_key(name)] = None if earned is None else codec.pack_count(earned)
    if outcome.candidates is not None:
        writes[codec.FREQUENT_KEY] = codec.pack_frequent(outcome.candidates)
    for reason, count in outcome.passed_over.items():
        writes[codec.refused_key(reason)] = codec.pack_count(count)
    return writes
