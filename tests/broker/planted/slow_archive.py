"""audit-archive whose rebalances take a second, so that its client fetches in the middle of them: `-A slow_archive`."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

PAUSE_S = 0.5

app = import_module("streamapp.agents.audit_archive").app


async def pause(*args: Any, **kwargs: Any) -> None:
    """Take a while."""
    await asyncio.sleep(PAUSE_S)


app.on_partitions_revoked.connect(pause, weak=False)
app.on_rebalance_complete.connect(pause, weak=False)
