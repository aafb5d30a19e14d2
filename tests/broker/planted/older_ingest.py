"""analytics-ingest of before, which read events otherwise: other names, some days, some uuids."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from streamapp.agents import analytics_ingest
from streamapp.sinks.clickhouse.events import AnalyticsEvents

app = analytics_ingest.app
_block = AnalyticsEvents.block
MONTH_MS = 31 * 86_400_000


def block(events: AnalyticsEvents, topic: str, partition: int, rows: Any, revision: int = 0) -> Any:
    whole = _block(events, topic, partition, rows, revision)
    offsets = whole["_offset"].to_pylist()
    older = {
        "event": pa.array(
            [f"old {name}" if at % 2 else name for at, name in zip(offsets, _list(whole, "event"), strict=True)]
        ),
        "uuid": pa.array(
            [f"1{uuid[1:]}" if at % 3 == 0 else uuid for at, uuid in zip(offsets, _list(whole, "uuid"), strict=True)]
        ),
        "timestamp": pc.subtract(
            whole["timestamp"].cast(pa.int64()), pa.array([MONTH_MS if at % 5 == 0 else 0 for at in offsets])
        ).cast(whole["timestamp"].type),
    }
    for name, column in older.items():
        whole = whole.set_column(whole.schema.get_field_index(name), name, column)
    return whole.combine_chunks()


def _list(table: Any, name: str) -> list[Any]:
    values: list[Any] = table[name].to_pylist()
    return values


AnalyticsEvents.block = block  # type: ignore[method-assign,assignment]
