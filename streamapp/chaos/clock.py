"""Runs `faust` in a process whose wall clock can be stepped from outside: `python -m … FILE -A agent worker`.

FILE says how many seconds the clock is off; without it, none. The monotonic clock goes on, as it does when a system's
clock is set.
"""

from __future__ import annotations

import runpy
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

LOOK_S = 0.2
SECOND_NS = 1_000_000_000


class SteppedClock:
    """The system's clock and an offset."""

    def __init__(self, file: Path) -> None:
        self._file, self._offset_s = file, 0
        self._real_s, self._real_ns = time.time, time.time_ns
        self.look()

    def look(self) -> None:
        """Read the offset again; keep the old one while the file is not there."""
        with suppress(OSError, ValueError):
            self._offset_s = int(self._file.read_text())

    def time(self) -> float:
        return self._real_s() + self._offset_s

    def time_ns(self) -> int:
        return self._real_ns() + self._offset_s * SECOND_NS

    def watch(self) -> None:
        """Look again and again, for ever."""
        pause = threading.Event()
        while not pause.wait(LOOK_S):
            self.look()


def main() -> None:
    """Put the clock in the place of Python's, then run Faust."""
    clock = SteppedClock(Path(sys.argv[1]))
    time.time, time.time_ns = clock.time, clock.time_ns
    threading.Thread(target=clock.watch, name="clock", daemon=True).start()
    sys.argv = ["faust", *sys.argv[2:]]
    runpy.run_module("faust", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
