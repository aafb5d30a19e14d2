"""What stands in Faust's recovery's place: a rebalance that is overtaken by the next one is no crash."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import IllegalStateError
from faust.tables.recovery import RebalanceAgain, ServiceStopped

from streamapp.exact.app import StreamApp
from streamapp.exact.faust.recovery import NoRecovery
from streamapp.settings import Settings


class Overtaken(NoRecovery):
    """Resuming fails the first time, as it does when another rebalance has begun meanwhile."""

    def __init__(self, app: StreamApp, error: Exception) -> None:
        super().__init__(app, app.tables)
        self.error: Exception | None = error
        self.resumed = asyncio.Event()
        self.crashes: list[BaseException] = []

    async def _resume_streams(self, generation_id: int = 0) -> None:
        if self.error is not None:
            error, self.error = self.error, None
            self.signal_recovery_start.set()
            raise error
        self.resumed.set()

    async def crash(self, reason: BaseException) -> None:
        self.crashes.append(reason)
        self.resumed.set()


@pytest.mark.parametrize("error", [RebalanceAgain(), IllegalStateError(), ServiceStopped()], ids=repr)
def test_an_overtaken_rebalance_is_followed_by_the_next(error: Exception, tmp_path: Path) -> None:
    assert asyncio.run(crashes(error, tmp_path)) == []


def test_anything_else_is_a_crash(tmp_path: Path) -> None:
    assert [str(crash) for crash in asyncio.run(crashes(ValueError("unforeseen"), tmp_path))] == ["unforeseen"]


async def crashes(error: Exception, folder: Path) -> list[Any]:
    app = StreamApp("billing-agg", settings=Settings(state_dir=folder))
    recovery = Overtaken(app, error)
    await recovery.start()
    recovery.signal_recovery_start.set()
    async with asyncio.timeout(10):
        await recovery.resumed.wait()
    await recovery.stop()
    return recovery.crashes
