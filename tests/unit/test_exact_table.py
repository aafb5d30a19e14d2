"""A declared table in Faust's hands: its commands tell what is there, and refuse what would do harm."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import PROJECT
from usage_log import Table as UsageLog
from usage_log import event

from streamapp.access.wanted import of_group
from streamapp.agents.registry import AGENTS
from streamapp.exact.table import ExactTable
from streamapp.meters.registry import TABLES, declared
from streamapp.topics import registry

WITH_TABLE = [declared(name) for name, _ in TABLES]
AGENT_OF = {group: module for group, module, _ in AGENTS}
PROTOCOL = {
    "place",
    "store",
    "producer",
    "position",
    "takeover",
    "admission",
    "transaction",
    "task",
    "partition",
    "poison",
}


def faust(app: str, *command: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "faust", "-A", app, *command]
    where = {**os.environ, "COLUMNS": "200", "STREAM_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    return subprocess.run(arguments, capture_output=True, text=True, cwd=PROJECT, env=where, check=False)


def test_every_declared_table_has_its_changelog_and_follows_its_source() -> None:
    topics = registry.tables()
    for table in WITH_TABLE:
        assert topics[table.name].name == table.changelog
        assert (topics[table.name].follows, topics[table.name].producers) == (table.source.topic, (table.group,))
        assert table.source.topic in registry.group(table.group).topics
        assert table.source.retention_ms == registry.topic(table.source.topic).retention_ms
        assert set(table.origin.outputs) <= {acl.name for acl in of_group(table.group) if acl.operation == "WRITE"}
    assert {name for name, topic in topics.items() if topic.keyed} == {table.name for table in WITH_TABLE}


@pytest.mark.parametrize("table", WITH_TABLE, ids=lambda table: table.group)
def test_an_agent_is_a_short_declaration(table: Any) -> None:
    path = PROJECT / f"{AGENT_OF[table.group].replace('.', '/')}.py"
    text = path.read_text()
    assert len(text.splitlines()) <= 60
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    assert not {part for node in imports for part in (node.module or "").split(".")} & PROTOCOL


def test_faust_s_commands_tell_what_is_there() -> None:
    app = AGENT_OF["billing-agg"]
    listed = faust(app, "tables")
    assert "usage_hourly" in listed.stdout, listed.stderr
    assert "stated as bills" in listed.stdout
    assert "llm_usage" in faust(app, "agents").stdout
    assert faust(app, "models").returncode == 0


@pytest.mark.parametrize(
    ("command", "instead"),
    [(("reset",), "streamapp replay --group billing-agg"), (("send", "@bill", "{}"), "streamapp.kafka.producer")],
)
def test_faust_s_commands_that_do_harm_say_what_to_use_instead(command: tuple[str, ...], instead: str) -> None:
    done = faust(AGENT_OF["billing-agg"], *command)
    assert done.returncode == 1
    assert instead in done.stderr
    assert "Traceback" not in done.stderr


def test_rows_of_the_partitions_in_hand_are_read_and_not_written() -> None:
    log = UsageLog()
    log.apply(event("10:30"), event("11:05"))
    table = object.__new__(ExactTable)
    table.declaration = declared("usage_hourly")
    table.name = table.declaration.name
    table.app = SimpleNamespace(ownership=SimpleNamespace(partitions={0: SimpleNamespace(task=log.task)}))
    keys = [key for key in table if key[0] == "hour"]
    assert len(keys) == 2
    assert table[keys[0]]["revision"] == 0
    assert (keys[0] in table, ("month", "2030-01", "o", "t", "USD") in table, "nonsense" in table) == (
        True,
        False,
        False,
    )
    assert len(table) == len(list(table.items()))
    assert json.dumps(table[("position",)])
    with pytest.raises(TypeError, match="in chunks only"):
        table[keys[0]] = 1
    with pytest.raises(TypeError, match="in chunks only"):
        del table[keys[0]]
    asyncio.run(table.on_start())
