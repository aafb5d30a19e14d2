"""What every test may ask for. A real broker costs about two seconds: one serves the whole session.

`make test` runs several sessions at once (pytest-xdist). They share nothing but `.cache`: each has a broker, a
PostgreSQL, folders and a block of ports of its own.

- `broker`: shared; give topics and groups names of their own (`unique`), or make topics with `make_topic`.
- `ready_broker`: alone, with the registry's topics, for tests of workers, of restarts and of crashes. The broker of the
  test before, emptied, while it runs.
- `fresh_broker`: the same without a topic.
- `postgres_url`: an empty database on a real PostgreSQL.
- `s3`: a real S3 server with an empty bucket.
- `new_broker`: makes such brokers with other properties.
- `until`: waits for a condition.
"""

from __future__ import annotations

import gc
import itertools
import os
import resource
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

import forked
import order
import psycopg
import pytest
import searches
from confluent_kafka.admin import NewTopic
from emptied import QUIET, SOON, Emptied
from real_postgres import postgres_server
from real_s3 import S3

from streamapp.broker.broker import Broker
from streamapp.broker.train import train
from streamapp.clock import monotonic_s
from streamapp.kafka.clients.admin_client import AdminClient

PROJECT = Path(__file__).parent.parent
CACHE_DIR = PROJECT / ".cache"

_began_s = monotonic_s()
_numbers = itertools.count(1)
_sessions: list[int] = []  # the processes of pytest-xdist that run the tests


# A run starts a hundred processes: each would compile everything anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# What is imported and collected stays for ever: the collector need not walk through it, neither now nor during a test.
gc.disable()
# With it jsonschema checks IRIs, whose grammar takes each process a second to make. No schema here has any but that of
# `make sbom`, whose tool checks its document itself.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
searches.register()
# What stands beside the tests asserts, too: a failure shows the values, as one in a test does.
pytest.register_assert_rewrite(
    *{file.stem for file in Path(__file__).parent.rglob("*.py") if not file.stem.startswith("test_")} - {*sys.modules}
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long `broker/test_broker_model.py` searches; `make search` passes them on. The rate of a cluster's load."""
    parser.addoption("--model-examples", type=int, default=3, help="histories that are tried")
    parser.addoption("--model-steps", type=int, default=6, help="steps of a history")
    parser.addoption("--cluster-rate", type=int, default=300, help="records a second while a cluster grows")
    parser.addoption("--model-seed", type=int, default=None, help="other histories; without it always the same")


def pytest_configure() -> None:
    """SIGTERM is a Ctrl-C: fixtures end what they started. Only the first one counts: nothing interrupts the ending."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long searches run in `make test-all` only. Slow tests begin first: one at the end of a run would keep everybody
    waiting."""
    if not searches.is_long():
        left_out = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    items[:] = order.dealt(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodeready(node: Any) -> None:
    """pytest-xdist has started a process."""
    _sessions.append(node.gateway._rinfo().pid)


def pytest_keyboard_interrupt() -> None:
    """Tell them at once: pytest-xdist would kill them before they have ended everything."""
    for pid in _sessions:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def pytest_sessionfinish() -> None:
    """No worker is left to start."""
    forked.end()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What the run took, in processor time, too: that depends little on who else works on the machine."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu_s = sum(one.ru_utime + one.ru_stime for one in used)
    terminalreporter.write_line(f"{monotonic_s() - _began_s:.0f} s, {cpu_s:.0f} s of processor time (CONTRIBUTING.md)")


@pytest.fixture(scope="session")
def cache_dir() -> Path:
    """Downloads that are shared by all test runs, the broker's fast start among them."""
    train(CACHE_DIR)
    return CACHE_DIR


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, formatted: Path) -> Iterator[Broker]:
    """One running broker for the session. Do not stop it."""
    # Tests send records of years ago; the broker looks for such every five minutes.
    keep = {**QUIET, "log.retention.ms": "-1"}
    running = Broker(tmp_path_factory.mktemp("broker"), cache_dir=cache_dir, properties=keep)
    shutil.copytree(formatted, running.data_dir / formatted.name)
    with running:
        yield running


@pytest.fixture
def new_broker(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[Callable[..., Broker]]:
    """`new_broker(properties={...})` → a broker in its own empty folder, not started; ended after the test. `logs`: it
    begins with a copy of these, `formatted`."""
    made: list[Broker] = []

    def make(logs: Path | None = None, **options: Any) -> Broker:
        made.append(Broker(tmp_path_factory.mktemp("fresh-broker"), cache_dir=cache_dir, **options))
        if logs is not None:
            shutil.copytree(logs, made[-1].data_dir / logs.name)
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture(scope="session")
def formatted(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """The logs of a broker that was never started. To format costs a start of Java, to copy what it makes nothing."""
    return Broker(tmp_path_factory.mktemp("formatted"), cache_dir=cache_dir).format()


@pytest.fixture(scope="session")
def emptied(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, formatted: Path) -> Iterator[Emptied]:
    """The broker that one test after the other has for itself."""

    def make() -> Broker:
        one = Broker(tmp_path_factory.mktemp("emptied-broker"), cache_dir=cache_dir, properties=SOON)
        shutil.copytree(formatted, one.data_dir / formatted.name)
        return one

    brokers = Emptied(make)
    yield brokers
    brokers.end()


@pytest.fixture
def fresh_broker(emptied: Emptied) -> Broker:
    """A running broker of this test alone, without a topic. The test may stop it, kill it and start it."""
    return emptied.next()


@pytest.fixture
def ready_broker(emptied: Emptied) -> Broker:
    """The same with the registry's topics, all empty."""
    return emptied.ready()


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3]:
    """A running S3 server of this test alone."""
    (tmp_path / "s3").mkdir()
    server = S3(tmp_path / "s3")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def unique() -> Callable[[str], str]:
    """`unique("usage")` → a name that nobody else in this session has."""
    return lambda stem: f"{stem}_{next(_numbers)}"


@pytest.fixture
def make_topic(broker: Broker, unique: Callable[[str], str]) -> Callable[..., str]:
    """`make_topic("usage", partitions=4, **configs)` → the name of a new topic of the shared broker."""
    return lambda stem="topic", partitions=1, **configs: create_topic(
        broker, unique(stem), partitions, {name.replace("_", "."): str(value) for name, value in configs.items()}
    )


@pytest.fixture
def until() -> Callable[..., None]:
    """`until(lambda: …)` waits for a condition; fails when it does not come true in `timeout_s`."""
    return wait_until


def wait_until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    """Ask 50 times a second until the answer is true."""
    end_s = monotonic_s() + timeout_s
    while not condition():
        assert monotonic_s() < end_s, f"not within {timeout_s:g} s"
        threading.Event().wait(0.02)


def create_topic(broker: Broker, name: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
    """Make a topic, wait until every partition has its leader, return its name."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(configs or {}))
    admin.create_topics([topic])[name].result(timeout=30)

    def led() -> bool:
        there = admin.list_topics(name, timeout=30).topics[name].partitions
        return len(there) == partitions and all(one.leader >= 0 for one in there.values())

    wait_until(led)
    return name


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a running PostgreSQL, of all tests of this session: do not stop it."""
    CACHE_DIR.mkdir(exist_ok=True)
    with postgres_server(CACHE_DIR / "postgres.lock") as server:
        yield server.url


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """The URL of an empty database."""

    with psycopg.connect(postgres, autocommit=True) as connection:
        found = connection.execute("SELECT count(*) FROM pg_database").fetchone()
        assert found is not None
        name = f"ledger_{found[0]}"
        connection.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0".encode())
    return urlsplit(postgres)._replace(path=f"/{name}").geturl()
