"""Databases of ClickHouse: `pytest_plugins = ("clickhouse_fixtures",)` in a module that needs one."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from clickhouses import Events
from conftest import wait_until

from streamapp.processes.child import Child, free_port, listens
from streamapp.settings import ClickHouseSettings
from streamapp.sinks.clickhouse.client import ClickHouse

_numbers = count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `streamapp clickhouse`."""
    folder, port = tmp_path_factory.mktemp("clickhouse"), free_port()
    variables = [f"STREAM_STATE_DIR={folder}", f"STREAM_CLICKHOUSE__PORT={port}"]
    child = Child("/usr/bin/env", [*variables, sys.executable, "-m", "streamapp", "clickhouse"], folder / "log")
    try:
        wait_until(lambda: listens(port), 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        child.end(signal.SIGTERM, 20)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the engine in this process. It takes one folder for as long as the process lives."""
    return f"chdb://{tmp_path_factory.mktemp('chdb')}"


@pytest.fixture(params=["engine", "server"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., ClickHouse]]:
    """`connect()` → a client of the same new database each time."""
    url, database, made = request.getfixturevalue(request.param), f"test_{next(_numbers)}", list[ClickHouse]()

    def one(**changed: Any) -> ClickHouse:
        settings: dict[str, Any] = {"url": url, "database": database, **changed}
        made.append(ClickHouse(ClickHouseSettings(**settings)))
        return made[-1]

    yield one
    for each in made:
        each.close()


@pytest.fixture
def events(connect: Callable[..., ClickHouse]) -> Events:
    return Events(connect())
