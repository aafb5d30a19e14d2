"""Anything in any order on a real broker with real workers: the bills of the oracle, to the byte.

A few short examples, always the same ones. The thousands are in the model of the simulation; here the world is real.
A longer search is for a person, or for a night: `make search EXAMPLES=50 STEPS=12 SEED=7`. What fails is made shorter,
and printed as a history for `kept_lives.py`, which every run replays.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from kept_lives import LIVES
from lives import STATES, Life, live

from streamapp.broker.broker import Broker

pytestmark = pytest.mark.long  # `tests/simulation/test_group_model.py` makes the same promise without a broker


class Search(NamedTuple):
    """How long is searched. Without a seed always the same examples."""

    examples: int
    steps: int
    seed: int | None


class BrokerMachine(RuleBasedStateMachine):
    """One example: a broker of its own. The rules call the steps of a life."""

    new_broker: Callable[..., Broker]
    folder: Path
    numbers = itertools.count()
    life: Life | None = None

    @initialize()
    def begin(self) -> None:
        self.life = Life(type(self).new_broker(), self.folder / f"example-{next(self.numbers)}")

    @rule(minutes=st.sampled_from([7, 61, 130]), late_minutes=st.sampled_from([0, 0, 45, 200]))
    def produce(self, minutes: int, late_minutes: int) -> None:
        self._step("produce", minutes=minutes, late_minutes=late_minutes)

    @rule(count=st.sampled_from([5, 30]), conflicting=st.booleans())
    def again(self, count: int, conflicting: bool) -> None:
        self._step("again", count=count, conflicting=conflicting)

    @rule(state=st.sampled_from(STATES))
    def scale(self, state: str) -> None:
        self._step("scale", state=state)

    @rule()
    def kill(self) -> None:
        self._step("kill")

    @rule()
    def restart(self) -> None:
        self._step("restart")

    @rule(back=st.sampled_from([1, 1000]))
    def reset(self, back: int) -> None:
        self._step("reset", back=back)

    @rule()
    def bounce(self) -> None:
        self._step("bounce")

    def _step(self, name: str, **arguments: object) -> None:
        assert self.life is not None
        try:
            self.life.step(name, **arguments)
        except BaseException:
            self._keep()
            raise

    def teardown(self) -> None:
        if self.life is not None:
            try:
                self.life.finish()
            except BaseException:
                self._keep()
                raise

    def _keep(self) -> None:
        """The last one that is printed is the shortest that was found."""
        assert self.life is not None
        self.life.end()
        print(f"for kept_lives.py: {self.life.history}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A busy machine takes its time, and so does a failure that is made shorter."""
    if "search" in metafunc.fixturenames:
        option = metafunc.config.getoption
        search = Search(option("--model-examples"), option("--model-steps"), option("--model-seed"))
        limit = pytest.mark.timeout(600 + 200 * search.examples)
        metafunc.parametrize("search", [pytest.param(search, marks=limit, id=f"{search.examples}x{search.steps}")])


def test_any_history_of_real_workers_ends_in_the_bills_of_the_oracle(
    search: Search, new_broker: Callable[..., Broker], formatted: Path, tmp_path: Path
) -> None:
    class Here(BrokerMachine):
        folder = tmp_path

    Here.new_broker = staticmethod(partial(new_broker, formatted))
    run_state_machine_as_test(
        Here if search.seed is None else seed(search.seed)(Here),
        settings=settings(
            max_examples=search.examples,
            stateful_step_count=search.steps,
            phases=[Phase.generate, Phase.shrink],
            deadline=None,
            database=None,
            derandomize=search.seed is None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("name", LIVES)
def test_a_kept_life_ends_well(name: str, ready_broker: Broker, tmp_path: Path) -> None:
    live(Life(ready_broker, tmp_path), LIVES[name])
