"""billing-agg in a process whose wall clock is off by what a file says, in milliseconds: `-A stepped_billing`."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from streamapp import clock

_file = Path(os.environ["STEP_FILE"])
_right_ms = clock.wall_ms


def stepped_ms() -> int:
    """The system's time and the step."""
    return _right_ms() + int(_file.read_text())


clock.wall_ms = stepped_ms  # the only reader of the wall clock; nobody has taken it from there yet
app = import_module("streamapp.agents.billing_agg").app
