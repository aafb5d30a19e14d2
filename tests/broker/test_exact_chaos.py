"""The plan of a chaos run, what it does to files and clocks, and how the counter beside it is judged. The run itself is
`make chaos`; what it finds is in `test_chaos_finds.py`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from itertools import cycle
from pathlib import Path

import pytest

from streamapp.chaos.clock import SteppedClock
from streamapp.chaos.files import HARMS, RUBBISH, spoil, turn_bit
from streamapp.chaos.plan import (
    OUTAGES_FROM_MINUTES,
    OUTAGES_S,
    SCALES,
    WORKERS_FIRST,
    Fault,
    Step,
    plan,
    possible,
)
from streamapp.chaos.stock import StockReport, compare
from streamapp.kafka.log.reader import Record

LONG = 7.5  # minutes of load in ten minutes


@pytest.mark.parametrize("minutes", [0.5, 1, 2, LONG, 45])
def test_a_plan_does_only_what_is_possible_while_the_load_runs(minutes: float) -> None:
    for seed in range(50):
        workers, scales = WORKERS_FIRST, cycle(SCALES)
        steps = plan(seed, minutes)
        assert [step.at for step in steps] == sorted(step.at for step in steps)
        assert steps[0].at > 0
        assert steps[-1].at < 1
        for step in steps:
            assert possible(step.fault, workers)
            assert step.which < workers
            if step.fault is Fault.SCALE:
                workers = next(scales)
            assert step.workers == workers


@pytest.mark.parametrize("minutes", [2, LONG, 45])
def test_every_kind_of_fault_happens(minutes: float) -> None:
    for seed in range(50):
        faults = Counter(step.fault for step in plan(seed, minutes))
        assert {*faults} >= {*Fault} - {Fault.OUTAGE}
        assert faults[Fault.OUTAGE] == (len(OUTAGES_S) if minutes >= OUTAGES_FROM_MINUTES else 0)


def test_the_long_run_has_all_that_was_promised() -> None:
    for seed in range(50):
        steps = plan(seed, LONG)
        assert sum(step.fault is Fault.BROKER for step in steps) >= 3
        assert {step.workers for step in steps} == {1, 2, 4}
        assert {step.seconds for step in steps if step.fault is Fault.OUTAGE} == {25, 60}
        assert {abs(step.seconds) for step in steps if step.fault is Fault.CLOCK} == {7200}
        assert all(2 <= step.seconds <= 6 for step in steps if step.fault is Fault.REFUSES)
        for kind in (Fault.DISK_FULL, Fault.REFUSES, Fault.COMPACTED, Fault.PUT_BACK):
            assert sum(step.fault is kind for step in steps) >= 2


def test_a_plan_of_one_kind_has_only_that_and_what_it_needs() -> None:
    assert {step.fault for step in plan(1, 1, [Fault.KILL])} == {Fault.KILL}
    assert {step.fault for step in plan(1, 1, [Fault.FREEZE])} == {Fault.SCALE, Fault.FREEZE}
    assert {step.seconds for step in plan(1, 1, [Fault.OUTAGE])} == {*OUTAGES_S}


def test_the_seed_makes_the_plan() -> None:
    assert plan(1, 10) == plan(1, 10)
    assert plan(1, 10) != plan(2, 10)


def test_a_step_says_what_it_is() -> None:
    assert str(Step(0, Fault.SCALE, 0, workers=4)) == "scaled to 4"
    assert str(Step(0, Fault.CLOCK, 0, -7200)) == "clock stepped by -2 h"
    assert str(Step(0, Fault.OUTAGE, 0, 25.0)) == "broker away for 25 s"
    assert str(Step(0, Fault.KILL, 0)) == "kill -9"
    assert str(Step(0, Fault.REFUSES, 0, 2.5)) == "changelog takes no rows for 2.5 s"


def test_broken_files_are_one_kind_in_each_partition(tmp_path: Path) -> None:
    tables = [tmp_path / f"group/worker-0/table-{number}" for number in range(len(HARMS) + 1)]
    for table in tables:
        table.mkdir(parents=True)
        for name in ("CURRENT", "MANIFEST-1", "2.log", "OPTIONS-3", "4.sst"):
            (table / name).write_bytes(b"sound")
    first = HARMS.index(("*.sst", turn_bit))
    assert spoil(tmp_path, first) == first + len(tables)
    found = [{file.name: file.read_bytes() for file in table.iterdir()} for table in tables]
    broken = [{name: data for name, data in files.items() if data != b"sound"} for files in found]
    assert broken == [
        {"4.sst": b"sotnd"},
        {"2.log": RUBBISH},
        {"OPTIONS-3": RUBBISH},
        {"4.sst": RUBBISH},
        {"2.log": b"sotnd"},
        {"CURRENT": RUBBISH},
        {"MANIFEST-1": RUBBISH},
        {"4.sst": b"sotnd"},
    ]


def test_a_clock_is_off_by_what_its_file_says(tmp_path: Path) -> None:
    file = tmp_path / "clock"
    clock = SteppedClock(file)
    assert abs(clock.time() - time.time()) < 60
    file.write_text("-7200")
    clock.look()
    assert abs(time.time() - clock.time() - 7200) < 60
    assert abs(time.time_ns() - clock.time_ns() - 7200 * 10**9) < 60 * 10**9
    file.write_text("")  # as it is for a moment while somebody writes it
    clock.look()
    assert abs(time.time() - clock.time() - 7200) < 60


def test_a_worker_runs_with_a_stepped_clock(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streamapp.chaos.clock", str(tmp_path / "none"), "--version"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "faust" in told.stdout.lower(), told


def test_the_stock_counter_is_judged_by_its_newest_counts() -> None:
    rows = [(b'"a"', b"1"), (b'"b"', b"9"), (b'"a"', b"5"), (b'"c"', b"2")]
    changelog = [Record("log", 0, offset, 0, key, value) for offset, (key, value) in enumerate(rows)]
    report = compare({b"a": 7, b"b": 8, b"c": 2, b"d": 1}, changelog, 0)
    assert report == StockReport(expected=18, counted=16, lost=3, doubled=1)
