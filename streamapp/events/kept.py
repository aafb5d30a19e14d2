"""Where events are kept for longer than on their topic: ClickHouse, whose rows say from which record they come, and the
archive, whose objects name their offsets."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from streamapp.dead_letters.read import Coordinates
from streamapp.settings import ClickHouseSettings, Settings
from streamapp.sinks.archive.chain import at_place, day_of, folder_of, named, object_name
from streamapp.sinks.archive.read import generations
from streamapp.sinks.archive.store import ArchiveStore, open_archive
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
            f"SELECT DISTINCT _topic, _partition, _offset FROM {self._clickhouse.database}.{EVENTS} "
            f"WHERE uuid = {{uuid:UUID}} ORDER BY _offset LIMIT {ROWS_MAX} SETTINGS max_execution_time = {SECONDS_MAX}",
            {"uuid": uuid},
        )
        return [(str(topic), int(partition), int(offset)) for topic, partition, offset in rows]


class ArchiveObjects:
    """Looks for the archive's object of a record, by the names of a day's objects."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store: ArchiveStore | None = None

    async def find(self, at: Coordinates, arrived_ms: int) -> str | None:
        topic, partition, offset = at
        if self._store is None:
            self._store = open_archive(self._settings.archive, self._settings.archive_url)
        for day in (day_of(arrived_ms), day_of(arrived_ms) - 1):  # a batch is filed under the day of its first record
            folder = folder_of(object_name(topic, partition, 0, 0, day))
            async for name, _ in self._store.names(folder):
                found = named(name)
                if found is not None and found.first <= offset <= found.last:
                    return await self._newest(self._store, topic, name)
        return None

    async def _newest(self, store: ArchiveStore, topic: str, name: str) -> str:
        """What stands for an object in the latest generation that has it."""
        for generation in reversed(await generations(store, topic)):
            again = at_place(generation.trail, name)
            if again in {other async for other, _ in store.names(folder_of(again))}:
                return again
        return name


def captured_store(settings: ClickHouseSettings) -> ClickHouseStore | None:
    """None where ClickHouse's engine runs inside of another process, which alone can ask it. Nothing is connected
    before the first question."""
    return None if settings.url.startswith("chdb:") else ClickHouseStore(settings)
