"""A consumer that could not be started is closed all the same."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

from aiokafka.errors import KafkaConnectionError

from streamapp.processes.child import free_port
from streamapp.settings import KafkaSettings
from streamapp.store.reading import reading


async def _given_up() -> list[str]:
    said: list[str] = []

    def handler(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        said.append(str(context["message"]))

    asyncio.get_running_loop().set_exception_handler(handler)
    nowhere = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}")
    for patience_s in (0.01, 5):  # given up while it starts, and an error of its own
        try:
            async with asyncio.timeout(patience_s), reading(nowhere):
                raise AssertionError("nobody listens there")
        except (TimeoutError, KafkaConnectionError):
            pass
    gc.collect()
    return said


def test_nothing_stays_unclosed() -> None:
    with warnings.catch_warnings(action="always", category=ResourceWarning):  # an error would end aiokafka's own report
        assert asyncio.run(_given_up()) == []
