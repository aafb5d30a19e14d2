"""Offsets put back, by `streamapp replay` and by Kafka's own tool: no group counts, keeps or sends anything twice."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archives import objects
from click.testing import CliRunner
from conftest import wait_until
from workers import GROUP_TOOL, NEVER_S, USAGE, Cluster, Sent, cluster

from streamapp import settings as settings_module
from streamapp.agents.registry import AGENTS
from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.cli.tables.replay import command
from streamapp.clock import wall_ms
from streamapp.meters.letters.codec import unpack_count
from streamapp.processes.child import Child, free_port, listens
from streamapp.settings import ClickHouseSettings
from streamapp.simulate.audit import audit_stream
from streamapp.simulate.insights import insights_stream
from streamapp.simulate.rpc import rpc_stream
from streamapp.simulate.stream import HOUR_MS, StreamSpec
from streamapp.simulate.usage import usage_stream
from streamapp.sinks.clickhouse.client import ClickHouse
from streamapp.store.position import POSITION_KEY
from streamapp.topics import registry

EVENTS = 400
SOURCES = {
    "llm-metrics": (USAGE, usage_stream),
    "rpc-billing": ("agent_rpc_metering", rpc_stream),
    "audit-archive": ("audit_log", audit_stream),
    "analytics-ingest": ("events_plugin_ingestion", insights_stream),
}
MONITOR = "dead-letter-monitor"  # reads what the others refuse
BY_KAFKAS_TOOL = ("llm-metrics", "audit-archive")
Kept = dict[str, Any]


class Site:
    """A cluster with every group but those of bills, whose settings keep them quiet."""

    def __init__(self, stack: Cluster, clickhouse: int) -> None:
        self.stack = stack
        self.archive = stack.folder / "archive"
        self.clickhouse = ClickHouseSettings(url=f"http://127.0.0.1:{clickhouse}")
        self.settings: dict[str, Any] = {
            "settlement__idle_seconds": NEVER_S,
            "archive__url": self.archive.as_uri(),
            "archive__flush_seconds": 0.5,
            "clickhouse__url": self.clickhouse.url,
            "clickhouse__flush_seconds": 0.5,
            "alerts__threshold": 100_000,
        }
        now_ms = wall_ms()
        spec = StreamSpec(now_ms - 3 * HOUR_MS, now_ms, EVENTS, teams=20, duplicates=0.05, bad=0.03)
        for topic, stream in SOURCES.values():
            stack.send((Sent(record.key, record.value) for record in stream(spec)), topic)

    def start(self) -> dict[str, WorkerProcess]:
        modules = {group: module for group, module, _ in AGENTS}
        return {
            group: self.stack.start_agent(modules[group], None, "state", **self.settings)
            for group in (*SOURCES, MONITOR)
        }

    def done(self) -> bool:
        """Whether everything that was sent is committed, and every dead letter is counted."""
        for group, (topic, _) in SOURCES.items():
            partitions = [(topic, number) for number in range(registry.topic(topic).partitions)]
            ends = {place: end for place, end in self.stack.admin.end_offsets(partitions).items() if end}
            if not self.stack.admin.committed(group).items() >= ends.items():
                return False
        tallies = (unpack_count(row) for (_, key), row in self.rows("letters").items() if key[:1] == b"t")
        return sum(tallies) == len(self.stack.read("dead_letter"))

    def rows(self, table: str) -> dict[tuple[int, bytes], bytes]:
        """A table as its changelog has it, but its position."""
        log = self.stack.read(registry.tables()[table].name)
        held = {(record.partition, record.key or b""): record.value for record in log if record.key != POSITION_KEY}
        return {place: row for place, row in held.items() if row is not None}

    def kept(self) -> Kept:
        """Everything that the groups have made of what they have read."""
        clickhouse = ClickHouse(self.clickhouse)
        rows = clickhouse.rows("SELECT _topic, _partition, _offset FROM stream.events ORDER BY ALL")
        clickhouse.close()
        return {
            "tables": {table: self.rows(table) for table in registry.tables()},
            "sent": [self.stack.read(topic) for topic in ("billing_events", "dead_letter")],
            "archive": {path.name: path.read_bytes() for path in objects(self.archive)},
            "clickhouse": rows,
        }


@pytest.fixture
def site(ready_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    port = free_port()
    variables = [f"STREAM_STATE_DIR={tmp_path}", f"STREAM_CLICKHOUSE__PORT={port}"]
    words = [*variables, sys.executable, "-m", "streamapp", "clickhouse"]
    engine = Child("/usr/bin/env", words, tmp_path / "engine.log")
    monkeypatch.setenv("STREAM_KAFKA__BOOTSTRAP_SERVERS", ready_broker.bootstrap)
    monkeypatch.setenv("STREAM_CLICKHOUSE__URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("STREAM_ARCHIVE__URL", (tmp_path / "archive").as_uri())
    settings_module.current.cache_clear()
    with cluster(ready_broker, tmp_path) as stack:
        wait_until(lambda: listens(port), 60)
        yield Site(stack, port)
    engine.end(signal.SIGKILL, 10)
    settings_module.current.cache_clear()


@pytest.mark.long
def test_no_group_does_anything_twice(site: Site) -> None:
    stack = site.stack
    workers = site.start()
    stack.wait(site.done, 120, *workers.values())
    refused = CliRunner().invoke(command, ["--group", "rpc-billing", "--to-earliest", "--yes"])
    assert "group rpc-billing runs" in str(refused.exception)
    for worker in workers.values():
        worker.ask_to_stop()
    stack.wait(lambda: not any(worker.runs for worker in workers.values()))
    stack.wait(lambda: all(stack.admin.group(group).state == "Empty" for group in workers))
    committed, kept = {group: stack.admin.committed(group) for group in workers}, site.kept()
    assert len(kept["clickhouse"]) > EVENTS * 0.9

    for group in workers:
        put_back(stack, group, committed[group])
        assert sum(stack.admin.committed(group).values()) == 0

    workers = site.start()
    for group in workers:
        wanted = committed[group].items()  # Kafka's tool has put partitions to 0 that were never committed
        stack.wait(lambda: stack.admin.committed(group).items() >= wanted, 60, *workers.values())  # noqa: B023
    assert site.kept() == kept
    for worker in workers.values():
        assert "was put back to 0 of" in worker.said()
        assert "they are read again and skipped" in worker.said()
    for group in ("analytics-ingest", "audit-archive"):  # the workers run
        nothing_differs(group, sum(committed[group].values()))
    assert site.kept() == kept


def nothing_differs(group: str, records: int) -> None:
    """The same code reads the same: a rewrite finds every record's row as it is, and writes nothing."""
    words = ["--group", group, "--rewrite", "--from", "yesterday", "--to", "now", "--yes", "--json"]
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, (done, done.exception)
    found = json.loads(done.stdout)["rewrite"]
    assert found["records"] == found["same"] + found["refused"] == records, found
    assert (found["changed"], found["missing"], found["left_alone"], found["removed"]) == (0, 0, 0, 0)


def put_back(stack: Cluster, group: str, committed: dict[tuple[str, int], int]) -> None:
    """To the beginning, by one tool or the other."""
    if group in BY_KAFKAS_TOOL:
        (topic,) = registry.group(group).topics
        how = ("--group", group, "--reset-offsets", "--topic", topic, "--to-earliest", "--execute")
        assert stack.broker.tool(GROUP_TOOL, *how).returncode == 0
        return
    done = CliRunner().invoke(command, ["--group", group, "--to-earliest", "--json", "--yes"])
    assert done.exit_code == 0, done
    answer = json.loads(done.stdout)
    assert answer["partitions_moved"] == len(committed)
    assert sum(move["records"] for move in answer["moves"]) == sum(committed.values())


def test_what_has_no_table_is_not_recomputed() -> None:
    refused = CliRunner().invoke(command, ["--group", "audit-archive", "--to-earliest", "--recompute", "--yes"])
    assert "--recompute is for tables, and audit-archive has none" in str(refused.exception)
    tables = CliRunner().invoke(command, ["--group", "rpc-billing", "--rewrite", "--from", "yesterday", "--to", "now"])
    assert "--rewrite is for analytics-ingest and audit-archive; the table of" in str(tables.exception)
    half = CliRunner().invoke(command, ["--group", "analytics-ingest", "--rewrite", "--from", "yesterday"])
    assert "--rewrite needs --group, --from and a later --to" in half.output
    both = CliRunner().invoke(command, ["--group", "llm-metrics", "--table", "latency", "--to-earliest"])
    assert both.exit_code == 2
    assert "one of --group and --table" in both.output
