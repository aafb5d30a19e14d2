"""docs/runbook.md: each command in it is run here on a real broker, or is named with the test that runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import forked
import pytest
from archives import audit_event, objects, org
from documented import commands
from workers import Cluster, Sent, cluster

from streamapp.broker.broker import Broker
from streamapp.clock import wall_ms
from streamapp.schemas.values.timestamp import format_ms
from streamapp.schemas.values.ulid import event_id
from streamapp.simulate.usage import HOUR_MS

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
TEAM = "team_a"
DONE, FOUND = {0}, {0, 1}  # exit codes: done; a check may have found something
SHORT = {"broker tool", "dead-letters redrive", "replay --group G", "replay --recompute"}  # named, not spelled

ELSEWHERE = {
    "access": "a secured broker: test_access.py",
    "broker start": "test_broker.py and test_broker_metrics.py",
    "broker tool kafka-features": "an upgrade of Kafka: test_upgrade_kafka.py",
    "capture": "test_capture.py",
    "chaos": "test_chaos_finds.py; minutes of faults",
    "clickhouse": "test_analytics_ingest.py",
    "cluster": "three brokers: test_cluster_grow.py",
    "reconcile": "test_reconcile.py",
    "registry": "test_registry_clients.py",
    "run": "test_run_twice.py",
    "simulate": "test_access.py",
    "stop": "a group of `streamapp run`: test_run_twice.py",
    "watch": "test_watch.py",
}


class Placed(NamedTuple):
    """What stands for the placeholders of the runbook."""

    letter: str
    event: str
    cause: str
    folder: Path

    def words(self, command: list[str]) -> list[str]:
        known = {
            "G": "billing-agg",
            "ID": self.letter,
            "evt_…": self.event,
            "NAME": "usage_hourly",
            "16ee76c2313d90af": self.cause,
            "llm_usage:3": "llm_usage:0",
            "12345": "0",
        }
        known |= {name: str(self.folder / name) for name in ("fix.json", "sent.jsonl", "replicas.json")}
        left_out = {"--pair": "bills=ledger", "--from": "yesterday", "--to": "now"}
        pairs = zip(("", *command), command, strict=False)
        return [left_out[before] if word == "…" else known.get(word, word) for before, word in pairs]


class Stage:
    """A broker on which a group has billed, refused and archived, and is stopped."""

    def __init__(self, stack: Cluster, cache_dir: Path) -> None:
        self.stack = stack
        self.environment = {
            "STREAM_KAFKA__BOOTSTRAP_SERVERS": stack.broker.bootstrap,
            "STREAM_STATE_DIR": str(stack.folder / "state"),
            "STREAM_LEDGER_URL": f"sqlite:///{stack.folder / 'ledger.db'}",
            "STREAM_ARCHIVE__URL": (stack.folder / "archive").as_uri(),
            "STREAM_CACHE_DIR": str(cache_dir),
        }

    def fill(self) -> Placed:
        now_ms = wall_ms()
        hour_ms = now_ms // HOUR_MS * HOUR_MS - 4 * HOUR_MS
        self.stack.send(
            [
                Sent(TEAM.encode(), _usage(event_id(now_ms, number.to_bytes(10)), hour_ms + number))
                for number in range(1, 21)
            ]
        )
        self.stack.send([Sent(TEAM.encode(), _usage(event_id(now_ms, bytes(10)), hour_ms, cost_usd="much"))])
        self.stack.send([Sent(org(number).encode(), audit_event(number)) for number in range(40)], "audit_log")
        own = {name: value for name, value in self.environment.items() if name != "STREAM_STATE_DIR"}
        billing = self.stack.start_ready(billing__idle_seconds=1, **own)
        archiver = self.stack.start_agent(
            "streamapp.agents.audit_archive", None, STREAM_ARCHIVE__FLUSH_SECONDS="0.5", **own
        )
        ledger = self.stack.start_agent("streamapp.agents.billing_ledger", None, **own)
        workers = (billing, archiver, ledger)
        self.stack.drain(*workers)
        self.stack.wait(lambda: self.stack.bills() and objects(self.stack.folder / "archive"), 60, *workers)
        self.stack.wait(lambda: self.run(["verify", "--pair", "bills=ledger"]) == 0, 60, *workers)
        for worker in workers:
            worker.stop()
        groups = ("billing-agg", "audit-archive", "billing-ledger")
        self.stack.wait(lambda: all(self.stack.admin.group(name).state == "Empty" for name in groups))
        (letter,) = json.loads(self.told(["dead-letters", "list", "--json"]))["letters"]
        (self.stack.folder / "fix.json").write_text('[{"op": "replace", "path": "/data/cost_usd", "value": 0.5}]')
        return Placed(letter["id"], event_id(now_ms, (1).to_bytes(10)), letter["cause"], self.stack.folder)

    def run(self, words: list[str]) -> int:
        return forked.command(*words, environment=self.environment).returncode

    def told(self, words: list[str]) -> str:
        done = forked.command(*words, environment=self.environment)
        assert done.returncode == 0, (words, done)
        return done.stdout


def _usage(event: str, at_ms: int, **data: object) -> bytes:
    tokens = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    facts = {"model": "zen-72b", "provider": "together", "cost_usd": 0.25, **tokens, **data}
    envelope = {
        "schema": "hanzo.stream.v1",
        "id": event,
        "type": "llm.usage.completed",
        "source": "llm-gateway",
    }
    return json.dumps(
        {**envelope, "timestamp": format_ms(at_ms), "org_id": "org_a", "team_id": TEAM, "data": facts}
    ).encode()


@pytest.fixture
def stage(ready_broker: Broker, tmp_path: Path, cache_dir: Path) -> Iterator[Stage]:
    with cluster(ready_broker, tmp_path) as stack:
        yield Stage(stack, cache_dir)


@pytest.mark.long  # each command has its own shorter test
@pytest.mark.timeout(600)
def test_every_command_of_the_runbook(stage: Stage) -> None:
    placed = stage.fill()
    plan = {"version": 1, "partitions": [{"topic": "llm_usage", "partition": 0, "replicas": [1]}]}
    (placed.folder / "replicas.json").write_text(json.dumps(plan))
    wrong = []
    for command in commands(RUNBOOK.read_text(), "streamapp"):
        if " ".join(command) in SHORT or any(" ".join(command).startswith(name) for name in ELSEWHERE):
            continue
        words = placed.words(command)
        done = forked.command(*words, answer="y\n", environment=stage.environment)
        if done.returncode not in _codes(words) or "Traceback" in done.stderr:
            wrong.append(f"{' '.join(words)}: {done.returncode} {done.stdout[-300:]}{done.stderr[-300:]}")
    assert not wrong, "\n".join(wrong)


def _codes(words: list[str]) -> set[int]:
    return FOUND if words[0] in {"verify", "topics"} or words[1:] == ["redrive", "--dry-run"] else DONE
