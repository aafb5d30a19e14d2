"""The interpreter of a program that only sends events: of what is installed here it sees the base dependencies of
pyproject.toml, and what those need themselves. What the extras bring cannot be imported."""

from __future__ import annotations

import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parent.parent
_HOOK = """
import sys
from importlib.abc import MetaPathFinder
UNSEEN = frozenset(sys.argv[1].split(","))
class Bare(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in UNSEEN:
            raise ModuleNotFoundError(f"No module named {{top!r}}", name=top)
sys.meta_path.insert(0, Bare())
sys.argv[1:] = []
{code}
"""


def bare(code: str) -> list[str]:
    """The command that runs this code there."""
    return [sys.executable, "-c", _HOOK.format(code=code), ",".join(sorted(unseen()))]


@cache
def packages() -> frozenset[str]:
    """The distributions that `pip install hanzo-stream` brings, by their canonical names."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    found: set[str] = set()
    wanted = [Requirement(text) for text in project["dependencies"]]
    while wanted:
        name = canonicalize_name(wanted.pop().name)
        if name not in found:
            found.add(name)
            needs = map(Requirement, requires(name) or ())
            wanted += [one for one in needs if one.marker is None or one.marker.evaluate({"extra": ""})]
    return frozenset(found)


@cache
def unseen() -> frozenset[str]:
    """The top-level modules of everything else that is installed."""
    owners = packages_distributions().items()
    kept = packages() | {"hanzo-stream"}
    return frozenset(top for top, names in owners if not kept & {canonicalize_name(name) for name in names})
