"""The plan of a chaos run, and how the counter beside it is judged. The run itself is `make chaos`."""

from __future__ import annotations

import pytest

from streamapp.kafka.reader import Record
from streamapp.ops.chaos_plan import WORKERS_FIRST, WORKERS_MAX, Fault, plan, possible
from streamapp.ops.chaos_stock import StockReport, compare


@pytest.mark.parametrize("minutes", [0.5, 1, 10, 60])
def test_a_plan_does_everything_that_is_possible_and_nothing_else(minutes: float) -> None:
    for seed in range(50):
        workers = WORKERS_FIRST
        steps = plan(seed, minutes)
        assert {step.fault for step in steps} == set(Fault)
        assert [step.at for step in steps] == sorted(step.at for step in steps)
        assert steps[0].at >= 0.1
        assert steps[-1].at < 1
        for step in steps:
            assert possible(step.fault, workers)
            assert step.which < workers
            workers += (step.fault is Fault.SCALE_UP) - (step.fault is Fault.SCALE_DOWN)
            assert 1 <= workers <= WORKERS_MAX


def test_the_seed_makes_the_plan() -> None:
    assert plan(1, 10) == plan(1, 10)
    assert plan(1, 10) != plan(2, 10)


def test_the_stock_counter_is_judged_by_its_newest_counts() -> None:
    rows = [(b'"a"', b"1"), (b'"b"', b"9"), (b'"a"', b"5"), (b'"c"', b"2")]
    changelog = [Record("log", 0, offset, 0, key, value) for offset, (key, value) in enumerate(rows)]
    report = compare({b"a": 7, b"b": 8, b"c": 2, b"d": 1}, changelog, 0)
    assert report == StockReport(expected=18, counted=16, lost=3, doubled=1)
