"""Kafka answers a commit before the markers of its transaction are in every log: what was committed shows later."""

from __future__ import annotations

import threading

from streamapp.clock import monotonic_s
from streamapp.kafka.admin import Admin

OPEN_S = 2.0  # a transaction of a worker that was killed stays open for longer than anybody waits
POLL_S = 0.02


def await_markers(admin: Admin, topic: str) -> None:
    """Wait until no transaction is open in the topic, or for `OPEN_S`."""
    partitions = [(topic, number) for number in range(admin.describe((topic,), ())[topic].partitions)]
    end_s = monotonic_s() + OPEN_S
    while admin.end_offsets(partitions, committed=True) != admin.end_offsets(partitions) and monotonic_s() < end_s:
        threading.Event().wait(POLL_S)
