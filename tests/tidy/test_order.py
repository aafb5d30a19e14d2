"""How tests are dealt to processes: each of them runs, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import order
import pytest


class Item(NamedTuple):
    """What the order is made of."""

    path: Path
    number: int
    timeout: bool = False
    fixturenames: tuple[str, ...] = ()
    module: Any = None

    def get_closest_marker(self, name: str) -> Any:
        return self.timeout or None


def module(path: str, count: int = 3, **more: Any) -> list[Any]:
    return [Item(Path("tests") / path, number, **more) for number in range(count)]


ITEMS = [
    *module("unit/test_a.py"),
    *module("unit/test_b.py", timeout=True),
    *module("unit/test_c.py", fixturenames=("emptied",)),
    *module("registry/test_a.py", timeout=True),
    *module("registry/test_b.py", fixturenames=("broker",)),
    *module("broker/test_a.py", 7, fixturenames=("emptied",)),
    *module("broker/test_b.py", 2),
    *module("tidy/test_a.py", 11),
    *module("property/test_a.py", 1),
]


@pytest.mark.parametrize("processes", [1, 2, 4, 40])
@pytest.mark.parametrize("first", range(0, len(ITEMS), 5))
def test_each_test_is_dealt_once(processes: int, first: int) -> None:
    some = ITEMS[first:]
    dealt: list[Any] = order.dealt(some, processes)
    assert sorted(dealt) == sorted(some)


def test_a_module_with_a_longer_limit_is_begun_with_wherever_it_stands() -> None:
    dealt: list[Any] = order.dealt(ITEMS, 1)
    assert {item.path.name for item in dealt[-14:]} == {"test_a.py"}
    assert {str(item.path.parent.name) for item in dealt[-14:]} == {"unit", "tidy"}
