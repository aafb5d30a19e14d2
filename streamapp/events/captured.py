"""Where ClickHouse has a captured event: its rows say from which record they come."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from streamapp.dead_letters.read import Coordinates
from streamapp.settings import ClickHouseSettings
from streamapp.sinks.clickhouse.client import ClickHouse
from streamapp.sinks.clickhouse.schema import EVENTS

ROWS_MAX = 20
SECONDS_MAX = 2  # of ClickHouse's time; the column of uuids has an index (`schema.MIGRATIONS`)


class ClickHouseStore:
    """Asks ClickHouse in a thread of its own, one question after the other."""

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._clickhouse = ClickHouse(settings)
        self._thread = ThreadPoolExecutor(1, "captured")

    async def find(self, uuid: str) -> list[Coordinates]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._find, uuid)

    def _find(self, uuid: str) -> list[Coordinates]:
        rows = self._clickhouse.rows(
            f"SELECT _topic, _partition, _offset FROM {self._clickhouse.database}.{EVENTS} "
            f"WHERE uuid = {{uuid:UUID}} ORDER BY _offset LIMIT {ROWS_MAX} SETTINGS max_execution_time = {SECONDS_MAX}",
            {"uuid": uuid},
        )
        return [(str(topic), int(partition), int(offset)) for topic, partition, offset in rows]


def captured_store(settings: ClickHouseSettings) -> ClickHouseStore | None:
    """None where ClickHouse's engine runs inside of another process, which alone can ask it. Nothing is connected
    before the first question."""
    return None if settings.url.startswith("chdb:") else ClickHouseStore(settings)
