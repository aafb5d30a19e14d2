"""A declared table in Faust's hands: its commands tell what is there, and refuse what would do harm."""

from __future__ import annotations

import ast
import asyncio
import json
import operator
import subprocess
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import forked
import pytest
from conftest import PROJECT
from faust.events import Event
from usage_log import Table as UsageLog
from usage_log import at, event

from streamapp.access.wanted import of_group, topics_of
from streamapp.agents.registry import AGENTS
from streamapp.exact.table import ExactTable
from streamapp.meters.registry import TABLES, declared
from streamapp.sinks import registry as sinks
from streamapp.topics import registry

WITH_TABLE = [declared(name) for name, _ in TABLES]
SINKS_DECLARED = [sinks.declared(name) for name, _ in sinks.SINKS]
AGENT_OF = {group: module for group, module, _ in AGENTS}
DECLARING = {
    "__future__",
    "typing",
    "streamapp.agents.pages",
    "streamapp.exact.app",
    "streamapp.meters.registry",
    "streamapp.sinks.registry",
}


def faust(app: str, *command: str) -> subprocess.CompletedProcess[str]:
    where = {"COLUMNS": "200", "SHELL": "/bin/bash", "STREAM_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    return forked.ran("faust", "-A", app, *command, environment=where)


def test_every_declared_table_has_its_changelog_and_follows_its_source() -> None:
    topics = registry.tables()
    for table in WITH_TABLE:
        assert topics[table.name].name == table.changelog
        assert (topics[table.name].follows, topics[table.name].producers) == (table.source.topic, (table.group,))
        assert table.source.topic in registry.group(table.group).topics
        assert table.source.retention_ms == registry.topic(table.source.topic).retention_ms
        assert set(table.origin.outputs) <= {acl.name for acl in of_group(table.group) if acl.operation == "WRITE"}
    assert {name for name, topic in topics.items() if topic.keyed} == {table.name for table in WITH_TABLE}


def test_every_declared_sink_has_its_changelog_and_follows_its_source() -> None:
    for sink in SINKS_DECLARED:
        topic = registry.topic(sink.changelog)
        assert (topic.follows, topic.producers, topic.keyed) == (sink.source.topic, (sink.group,), False)
        assert sink.source.topic in registry.group(sink.group).topics
        assert set(sink.origin.outputs) <= set(topics_of(sink.group))


def test_every_group_with_an_agent_is_declared_once() -> None:
    assert sorted(one.group for one in (*WITH_TABLE, *SINKS_DECLARED)) == sorted(AGENT_OF)


@pytest.mark.parametrize("module", AGENT_OF.values(), ids=lambda module: module.rpartition(".")[2])
def test_an_agent_is_a_short_declaration(module: str) -> None:
    text = (PROJECT / f"{module.replace('.', '/')}.py").read_text()
    assert len(text.splitlines()) <= 60
    nodes = list(ast.walk(ast.parse(text)))
    assert not [node for node in nodes if isinstance(node, ast.Import)]
    assert {node.module for node in nodes if isinstance(node, ast.ImportFrom)} <= DECLARING


def test_faust_s_commands_tell_what_is_there() -> None:
    app = AGENT_OF["billing-agg"]
    listed = faust(app, "tables")
    assert "usage_hourly" in listed.stdout, listed.stderr
    assert "stated as bills" in listed.stdout
    assert "llm_usage" in faust(app, "agents").stdout
    models = faust(app, "models").stdout
    assert "llm.usage.completed" in models
    assert "billing.usage.revised" in models
    assert "agent.rpc.metered" not in models
    completion = faust(app, "completion")
    assert "_FAUST_COMPLETE=bash_complete" in completion.stdout, completion.stderr


def test_a_sink_is_there_as_a_table_is() -> None:
    listed = faust(AGENT_OF["audit-archive"], "tables")
    assert "how far the archive has every audit record" in listed.stdout, listed.stderr


@pytest.mark.parametrize(
    ("group", "command", "instead"),
    [
        ("billing-agg", ("reset",), "streamapp replay --group billing-agg"),
        ("billing-agg", ("send", "@bill", "{}"), "streamapp.kafka.producer"),
        ("billing-ledger", ("reset",), "an empty database"),
    ],
)
def test_faust_s_commands_that_do_harm_say_what_to_use_instead(
    group: str, command: tuple[str, ...], instead: str
) -> None:
    done = faust(AGENT_OF[group], *command)
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


def in_hand(log: UsageLog, now_ms: int) -> ExactTable:
    """The table of hourly usage with one partition in hand."""
    table = object.__new__(ExactTable)
    table.declaration = declared("usage_hourly")
    table.name = table.declaration.name
    partitions = {3: SimpleNamespace(task=log.task)}
    table.app = SimpleNamespace(ownership=SimpleNamespace(partitions=partitions), clock=lambda: now_ms)
    return table


def test_windows_are_read_as_faust_s_users_read_theirs() -> None:
    log = UsageLog()
    log.apply(event("10:30"), event("11:05"), event("11:50"), event("12:01", "team_b"))
    table = in_hand(log, at("10:59"))
    team = table["org_a", "team_a", "USD"]
    assert table["hour", "org_a", "team_a", "USD"].at(at("10:00") / 1000) == team.at(at("10:59:59.999") / 1000)
    assert team.at(datetime(2025, 1, 15, 11, 59, tzinfo=UTC))["lines"][0][2] == 2
    assert team.now() == team.at(at("10:00") / 1000)
    assert team.delta(timedelta(hours=1)) == team.delta(3600.0) == team.at(at("11:00") / 1000)
    assert table["org_a", "team_b", "USD"].current()["lines"][0][2] == 1
    with pytest.raises(KeyError):
        team.current()
    assert (("org_a", "team_b", "USD") in table, ("org_a", "team_a", "USD") in table) == (True, False)
    eleven = Event(None, None, None, {}, SimpleNamespace(timestamp=at("11:20") / 1000))
    assert team.current(eleven) == team.value(eleven) == team[eleven].value() == team[at("11:00") / 1000, 0.0]
    with pytest.raises(ValueError, match="has no time zone"):
        team.at(datetime(2025, 1, 15, 11, tzinfo=UTC).replace(tzinfo=None))
    assert table.get(("no", "such"), "default") == "default"


def test_a_partition_s_rows_are_iterated() -> None:
    log = UsageLog()
    log.apply(event("10:30"), event("11:05"))
    table = in_hand(log, 0)
    assert dict(table.items(3)) == dict(table.items()) == dict(zip(table.keys(3), table.values(3), strict=True))
    assert list(table.keys(4)) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table.update({}),
        lambda table: table.clear(),
        lambda table: table.pop("key", None),
        lambda table: table.setdefault("key", 1),
        lambda table: table["org_a", "team_a", "USD"].apply(max, 1),
        lambda table: table["org_a", "team_a", "USD"].__iadd__(1),
        lambda table: operator.setitem(table["org_a", "team_a", "USD"], (0.0, 1.0), 1),
    ],
)
def test_whoever_changes_rows_is_told_what_to_do_instead(change: Any) -> None:
    with pytest.raises(TypeError, match=r"fold\(chunk\).*--recompute --table usage_hourly"):
        change(in_hand(UsageLog(), 0))
    with pytest.raises(TypeError, match="declared with the table"):
        in_hand(UsageLog(), 0).tumbling(3600.0)
