"""The usage ledger's rows, read as what they are: hours and months."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streamapp.meters.usage import codec
from streamapp.store import rows
from streamapp.store.rows import Store, unsettled_rows
from streamapp.store.table import Table
from tables.usage.hourly import HourKey, MonthKey, MonthRow, UsageRow
from tables.window import HOUR_MS, month_end


def is_unsettled(key: bytes, value: bytes) -> bool | None:
    """An hour that is open, or has usage that is not stated yet."""
    return not codec.is_settled(value) if key[:1] == b"h" else None


USAGE = Table(
    "usage_hourly",
    b"bhimp",
    codec.readable,
    codec.readable_key,
    is_unsettled,
    home=codec.team_of,
    windows={"hour": HOUR_MS},
)


class Overlay(rows.Overlay):
    """The ledger's rows, with those that are on their way to the store."""

    def hour(self, key: HourKey) -> UsageRow | None:
        raw = codec.hour_key(key)
        value = self.get(raw)
        return None if value is None else codec.unpack_hour(raw, value)

    def month(self, key: MonthKey) -> MonthRow:
        value = self.get(codec.month_key(key))
        return MonthRow() if value is None else codec.unpack_month(value)

    def hours_ending(self, after_ms: int, until_ms: int) -> Iterable[UsageRow]:
        start, stop = after_ms - HOUR_MS + 1, until_ms - HOUR_MS + 1
        rows = self.scan(codec.hour_prefix(start), codec.hour_prefix(stop))
        return [codec.unpack_hour(key, value) for key, value in rows.items()]

    def months_ending(self, until_ms: int) -> Iterable[MonthKey]:
        months = map(codec.unpack_month_key, self.scan(b"m", b"n"))
        return [key for key in months if month_end(key.month) <= until_ms]


def unsettled(store: Store) -> Iterator[UsageRow]:
    """The hours that are open or have usage not stated yet."""
    return (codec.unpack_hour(key, value) for key, value in unsettled_rows(store, b"h"))
