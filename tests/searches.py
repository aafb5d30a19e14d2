"""How long a search goes on: a sixteenth of its examples in `make test`, at least eight; all in `make test-all`.

Hypothesis's own option chooses: `pytest --hypothesis-profile=long`. Tests that are marked `long` run in that profile
only; `docs/long-tests.md` names the shorter test of each promise.
"""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings

LONG = "long"
SHORT = "short"
LEAST = 8  # Hypothesis begins with the simplest example: a few alone try next to nothing


def register() -> None:
    """Make both profiles known. `conftest.py` calls it before any test is collected."""
    # How fast inputs are made says something of the machine only: the first makes Hypothesis's table of Unicode.
    base = settings(suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile(SHORT, base)
    settings.register_profile(LONG, base)
    settings.load_profile(SHORT)


def is_long() -> bool:
    """Whether searches run at their full length."""
    return bool(settings.get_current_profile_name() == LONG)


def of(number: int, least: int = LEAST) -> int:
    """How many of `number` examples or histories are tried in this run. `least`: fewer where each is dear."""
    return number if is_long() else min(number, max(least, number // 16))


def search(examples: int, least: int = LEAST, **more: Any) -> settings:
    """The settings of a property test that tries `examples` inputs when it is long."""
    return settings(**{"max_examples": of(examples, least), "deadline": None, "database": None, **more})
