"""The only place that reads the time and randomness of the system. Elsewhere they are arguments: `Clock`, `Entropy`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns milliseconds since the Unix epoch, UTC."""

Entropy = Callable[[int], bytes]
"""Returns so many bytes that nobody can guess."""


def entropy(count: int) -> bytes:
    """So many bytes of the system's randomness."""
    return os.urandom(count)


def wall_ms() -> int:
    """Milliseconds since the epoch by the system's wall clock. May step."""
    return time.time_ns() // 1_000_000


def monotonic_s() -> float:
    """Seconds by a clock that never steps; only differences mean something."""
    return time.monotonic()


def cpu_s() -> float:
    """CPU seconds this process has used."""
    return time.process_time()
