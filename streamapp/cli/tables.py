"""A group's table, as the group's own module makes it."""

from __future__ import annotations

from importlib import import_module

from streamapp.agents.registry import AGENTS
from streamapp.exact.takeover import TableTakeover


def table_of(group: str) -> TableTakeover:
    """How the partitions of a group with a table are taken over, with all that its settings say."""
    (module,) = (module for name, module, _ in AGENTS if name == group)
    takes_over = import_module(module).app.takes_over
    assert isinstance(takes_over, TableTakeover), f"{group} has no table"
    return takes_over
