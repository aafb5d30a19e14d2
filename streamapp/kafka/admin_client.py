"""confluent-kafka's `AdminClient`, which no garbage collector ends.

Its answers come in a thread of librdkafka's. Where Python's collector runs in that thread and finds the client among
the garbage, librdkafka aborts the process: a client must not be ended by its own thread.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from confluent_kafka import admin


class AdminClient(admin.AdminClient):  # type: ignore[misc]
    """The same; one that nobody refers to any more is ended by whoever makes the next one."""

    def __init__(self, config: dict[str, Any]) -> None:
        _left.clear()
        super().__init__(config)

    def __del__(self) -> None:
        _left.append(self)


_left: deque[AdminClient] = deque()
