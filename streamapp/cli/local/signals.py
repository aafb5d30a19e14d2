"""What ends a command that runs until it is ended."""

from __future__ import annotations

import signal
import threading


def ended_by_signal() -> threading.Event:
    """What is set by Ctrl-C and by SIGTERM, for a command that then ends in its own way."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
