"""Log lines that say the same again and again: each once in a while, with how many were left out.

While a broker is away, aiokafka's clients try again every ten milliseconds and say so each time: a worker with eight
partitions would write 700 lines a second.
"""

from __future__ import annotations

import logging

from streamapp.clock import monotonic_s

EVERY_S = 5.0


class Repeats(logging.Filter):
    """Lets a message of a place in the code through once in `EVERY_S`; warnings and errors only."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[
            tuple[str, int], tuple[float, int]
        ] = {}  # file and line → when it was last let through, left out since

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        place, now_s = (record.pathname, record.lineno), monotonic_s()
        said_s, left_out = self._said.get(place, (now_s - EVERY_S, 0))
        if now_s - said_s < EVERY_S:
            self._said[place] = said_s, left_out + 1
            return False
        self._said[place] = now_s, 0
        if left_out:
            record.msg = f"{record.getMessage()} (and {left_out} times before)"
            record.args = ()
        return True


def thin_out(package: str) -> None:
    """Put the filter on every logger of the package that is there now."""
    repeats = Repeats()
    for name in list(logging.root.manager.loggerDict):
        if name == package or name.startswith(f"{package}."):
            logging.getLogger(name).addFilter(repeats)
