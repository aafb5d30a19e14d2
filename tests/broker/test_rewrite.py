"""Rows of ClickHouse made again by `streamapp replay --rewrite`, while new events arrive and readers read."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_until
from ingests import GROUP, Ingest

from streamapp.broker.broker import Broker
from streamapp.processes.child import spawned
from streamapp.settings import ClickHouseSettings
from streamapp.sinks.clickhouse.client import ClickHouse

PLANTED = Path(__file__).parent / "planted"
BEFORE, LOAD = 700, 40
KEPT = len([number for number in range(BEFORE) if number % 7])


@pytest.fixture
def stack(ready_broker: Broker, tmp_path: Path) -> Iterator[Ingest]:
    made = Ingest(ready_broker, tmp_path)
    yield made
    made.end()


class Rewrites:
    """Runs of the command, and what is in ClickHouse."""

    def __init__(self, stack: Ingest) -> None:
        self._stack = stack
        self._url = f"http://127.0.0.1:{stack.port}"
        self._client = ClickHouse(ClickHouseSettings(url=self._url))
        self._runs = 0

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        self._runs += 1
        variables = {
            "STREAM_KAFKA__BOOTSTRAP_SERVERS": self._stack.broker.bootstrap,
            "STREAM_CLICKHOUSE__URL": self._url,
            "STREAM_CLICKHOUSE__BATCH_ROWS": "20",
            "STREAM_WORKER__CHUNK_RECORDS": "20",
        }
        words = [f"{name}={value}" for name, value in variables.items()]
        what = ["replay", "--group", GROUP, "--rewrite", "--from", "2026-01-01", "--to", "now", "--json", *options]
        log = self._stack.folder / f"rewrite-{self._runs}.log"
        return spawned("/usr/bin/env", [*words, sys.executable, "-m", "streamapp", *what], log)

    def ends(self, *options: str) -> dict[str, int]:
        """What a run says that comes to its end."""
        run = self.start(*options)
        run.wait(200)
        said = (self._stack.folder / f"rewrite-{self._runs}.log").read_text()
        assert run.returncode == 0, said[-3000:]
        told: dict[str, int] = json.loads(said[said.index("{") :])["rewrite"]
        return told

    def number(self, query: str) -> int:
        ((count,),) = self._client.rows(query)
        return int(count)

    @property
    def again(self) -> int:
        return self.number("SELECT count() FROM stream.events WHERE _revision > 0")


class Reader(threading.Thread):
    """Counts the events of before, again and again: each is one row, whatever happens meanwhile."""

    def __init__(self, stack: Ingest) -> None:
        super().__init__()
        self._client = ClickHouse(ClickHouseSettings(url=f"http://127.0.0.1:{stack.port}"))
        self.ended = threading.Event()
        self.seen: list[tuple[int, int]] = []

    def run(self) -> None:
        while not self.ended.is_set():
            ((rows, records),) = self._client.rows(
                "SELECT count(), uniqExact(_partition, _offset) FROM stream.events_once "
                f"WHERE toUInt32(right(toString(uuid), 12)) < {BEFORE}"
            )
            self.seen.append((int(rows), int(records)))
        self._client.close()


@pytest.mark.long
def test_a_rewrite_is_killed_twice_while_events_arrive_and_read_once(stack: Ingest) -> None:
    stack.send(BEFORE)
    older = stack.worker("older_ingest", PLANTED)
    stack.drain(older)
    older.kill()
    rewrites, reader = Rewrites(stack), Reader(stack)
    rows = "SELECT count() FROM stream.events"
    assert (rewrites.number(rows), rewrites.number(f"{rows}_once")) == (KEPT, KEPT)
    assert stack.check().difference > 0
    plan = rewrites.ends("--dry-run")
    assert (plan["records"], plan["refused"], plan["missing"], rewrites.again) == (BEFORE, BEFORE - KEPT, 0, 0)
    assert plan["changed"] > KEPT / 2
    worker = stack.worker()
    reader.start()
    for _ in range(2):
        done = rewrites.again
        killed = rewrites.start("--yes")
        stack.send(LOAD)
        wait_until(lambda at=done: rewrites.again > at + 60, 120)  # type: ignore[misc]
        killed.kill()
        killed.wait(10)
    assert rewrites.again < plan["changed"], "it was killed on its way"
    last = rewrites.ends("--yes")
    assert 0 < last["changed"] < plan["changed"] - 120
    stack.drain(worker)
    reader.ended.set()
    reader.join()
    assert set(reader.seen) == {(KEPT, KEPT)}
    assert last["removed"] > 0
    assert rewrites.ends("--dry-run")["changed"] == 0
    assert rewrites.number(rows) == rewrites.number(f"{rows}_once")
    stack.whole()
