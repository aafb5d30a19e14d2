"""Faust's recovery of tables, which is not used: it waits for offsets that nobody delivers under transactions."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from aiokafka.errors import IllegalStateError
from faust.tables.manager import TableManager
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped
from mode import Service

from streamapp.exact.table import ExactTable


class NoRecovery(Recovery):
    """`Ownership` restores instead, when `on_rebalance_complete` is sent, before the streams resume."""

    @Service.task
    async def _restart_recovery(self) -> None:
        while not self.should_stop:
            if await self.wait_for_stopped(self.signal_recovery_start):
                return
            self.signal_recovery_start.clear()
            # Another rebalance, or the end of the worker, may come while the partitions are sought.
            with suppress(RebalanceAgain, IllegalStateError, ServiceStopped):
                await self._resume_streams(generation_id=self._generation_id)


class ExactTables(TableManager):
    """Keeps Faust's hands off changelogs: rows are restored by `Ownership`."""

    _recovery: Recovery | None

    def add(self, table: Any) -> Any:
        """Know an exact table by its name, and none of its changelog."""
        assert isinstance(table, ExactTable), "a table of Faust's loses rows (docs/adr/0001); use app.ExactTable"
        self[table.name] = table
        return table

    @property
    def recovery(self) -> Recovery:
        if self._recovery is None:
            self._recovery = NoRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery

    async def _update_channels(self) -> None:
        self._tables_finalized.set()
        self._tables_registered.set()
