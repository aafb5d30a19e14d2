"""Every sink that is declared: its name, and the module whose `SINK` it is. Agents find it here.

Its changelog is in `streamapp/topics/registry.py`; the agent that reads its topic is in `streamapp/agents/registry.py`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from streamapp.sinks.declaration import SinkDeclaration

SINKS: tuple[tuple[str, str], ...] = (
    # sink      module
    ("kept", "streamapp.sinks.ledger.sink"),
    ("archive", "streamapp.sinks.archive.sink"),
    ("ingest", "streamapp.sinks.clickhouse.sink"),
)


def declared(name: str) -> SinkDeclaration[Any]:
    """The sink of this name. Raises KeyError."""
    declaration = import_module(dict(SINKS)[name]).SINK
    assert isinstance(declaration, SinkDeclaration), f"{name} is not declared"
    return declaration
