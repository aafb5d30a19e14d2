"""confluent-kafka's `AdminClient`, which no garbage collector ends.

Its answers come in a thread of librdkafka's. Where Python's collector runs in that thread and finds the client among
the garbage, librdkafka aborts the process: a client must not be ended by its own thread.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from confluent_kafka import KafkaError, admin

from streamapp.kafka.trouble import NOT_LET_IN


class Trouble:
    """A client's `error_cb`: the first error, or the refusal of a login. A wrong password ends as a time-out of the
    request; the reason is told here only."""

    def __init__(self) -> None:
        self.last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        if self.last is None or error.code() in NOT_LET_IN:
            self.last = error


class AdminClient(admin.AdminClient):  # type: ignore[misc]
    """The same; one that is found in a thread of librdkafka's is ended by whoever makes the next one. Nothing that it
    refers to may refer to it, its `error_cb` least of all: Python asks `__del__` once only."""

    def __init__(self, config: dict[str, Any]) -> None:
        _left.clear()
        super().__init__(config)

    def __del__(self) -> None:
        if isinstance(threading.current_thread(), threading._DummyThread):  # one that Python has not begun
            _left.append(self)


_left: deque[AdminClient] = deque()
