"""Putting the table of latencies right: a row that is not what the log says is replaced; nothing was stated of it.

Windows are compared where all their calls lie in the range; totals, which are for ever, where the range holds every
record that there ever was. Names that earned a place, and counts of records passed over, are left as they are. Which
models are told apart depends on everything before: where some are not, only the row of all together is compared,
unless the places are the same.
"""

from __future__ import annotations

from streamapp.exact.correction import Comparison, Kept, Range, Reach, Shadow, compare_rows
from streamapp.meters.latency import codec
from streamapp.store.rows import Store
from tables.latency.tally import ALL, OTHERS, REST
from tables.latency.windows import HOUR, MINUTE, WindowKey
from tables.window import HOUR_MS, MINUTE_MS, hour_of

Hour = int


def compare(kept: Kept, shadow: Shadow, range_: Range) -> Comparison:
    """Windows and totals beside the shadow's."""
    counted, reach_ms = shadow.task.store, kept.reach_ms(range_)
    whole = reach_ms < 0
    alike = whole and _places(kept.store) == _places(counted)
    mixed = set() if alike else _mixed(kept.store) | _mixed(counted)
    disputed = _disputed(kept, shadow)

    def reach(key: bytes) -> Reach:
        if key[:1] == b"t":
            if disputed:
                return Reach.DISPUTED
            return Reach.IN if whole and not mixed else Reach.OUT
        window = codec.unpack_window_key(key)
        if window.start_ms <= reach_ms or (window.series != ALL and hour_of(window.start_ms) in mixed):
            return Reach.OUT
        return Reach.DISPUTED if _touched(window, disputed) else Reach.IN

    return compare_rows(kept, counted, (b"h", b"m", b"t"), reach, _right)


def _right(key: bytes, table: bytes | None, shadow: bytes | None) -> bytes | None:
    if table is None or shadow is None:
        return shadow
    return table if codec.unpack_tally(table) == codec.unpack_tally(shadow) else shadow


def _places(store: Store) -> list[tuple[bytes, bytes]]:
    return [*store.scan(codec.FREQUENT_KEY, b"g"), *store.scan(b"n", b"o")]


def _mixed(store: Store) -> set[Hour]:
    """Hours in which some models, or currencies, are not told apart."""
    mixed: set[Hour] = set()
    for kind in (codec.KIND[HOUR], codec.KIND[MINUTE]):
        for key, value in store.scan(kind, bytes([kind[0] + 1])):
            window = codec.unpack_window_key(key)
            if window.series.name == OTHERS or (window.series == ALL and REST in codec.unpack_tally(value).cost):
                mixed.add(hour_of(window.start_ms))
    return mixed


def _disputed(kept: Kept, shadow: Shadow) -> set[int | None]:
    """The times of events that were counted and would be refused now; None: of any time."""
    decode = shadow.task.memory.admission.decode
    events = (decode(record.value) for record in shadow.contradicted)
    times: set[int | None] = {None if isinstance(event, tuple) else event.at_ms for event in events}
    return times | {None} if shadow.unreadable else times


def _touched(window: WindowKey, times: set[int | None]) -> bool:
    span_ms = HOUR_MS if window.span == HOUR else MINUTE_MS
    return None in times or any(at_ms - at_ms % span_ms == window.start_ms for at_ms in times if at_ms is not None)
