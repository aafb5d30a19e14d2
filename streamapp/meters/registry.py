"""Every table that is declared: its name, and the module whose `TABLE` it is. Commands and agents find it here.

A table's changelog is in `streamapp/topics/registry.py`; the agent that reads its topic is in
`streamapp/agents/registry.py`.
"""

from __future__ import annotations

from importlib import import_module

from streamapp.exact.declaration import TableDeclaration

TABLES: tuple[tuple[str, str], ...] = (
    # table         module
    ("usage_hourly", "streamapp.meters.usage.table"),
    ("rpc_hourly", "streamapp.meters.calls.table"),
    ("latency", "streamapp.meters.latency.table"),
    ("letters", "streamapp.meters.letters.table"),
)


def declared(name: str) -> TableDeclaration:
    """The table of this name. Raises KeyError."""
    declaration = import_module(dict(TABLES)[name]).TABLE
    assert isinstance(declaration, TableDeclaration), f"{name} is not declared"
    return declaration
