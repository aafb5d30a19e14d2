"""The only broker loses its disk: who refuses, what is lost and kept, and how billing goes on (docs/runbook.md)."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import forked
import pytest
from archives import audit_event, lines, org
from capture_calls import TOKEN
from captures import Capture, captures
from documented import code
from ingests import Ingest
from ingests import event as captured
from rpc_log import value as call
from test_billing_ledger import kept
from test_watch import scraped
from usage_log import value
from workers import Cluster, Sent, cluster

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import monotonic_s, wall_ms
from streamapp.kafka.admin import Admin
from streamapp.settings import ClickHouseSettings
from streamapp.simulate.usage import HOUR_MS
from streamapp.sinks.clickhouse.client import ClickHouse
from streamapp.topics.registry import GROUPS
from streamapp.watch.metrics import WatchMetrics
from streamapp.watch.watcher import Watcher

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
TEAMS = [f"team_{number}" for number in range(8)]
FIRST = wall_ms() // HOUR_MS - 6  # the hour that tests call 0
CAPTURED = 34  # of forty events that others sends; the others cannot be kept
SETTLED = 8  # agents whose first hour is settled
LEDGER, ARCHIVE = "billing-ledger", "audit-archive"


class World:
    """Every group on one broker, with its sinks, and what was sent."""

    def __init__(self, stack: Cluster, ingest: Ingest, capture: Capture) -> None:
        self.stack, self.ingest, self.capture = stack, ingest, capture
        self.sent = 0
        self.places = {
            "STREAM_LEDGER_URL": f"sqlite:///{stack.folder / 'ledger.db'}",
            "STREAM_ARCHIVE__URL": (stack.folder / "archive").as_uri(),
            "STREAM_CLICKHOUSE__URL": f"http://127.0.0.1:{ingest.port}",
            "STREAM_WEB__PORT": "0",
        }
        self.watcher = Watcher(stack.kafka, wall_ms, 15)

    def start(self, group: str, **places: str) -> WorkerProcess:
        quick = {"STREAM_ARCHIVE__FLUSH_SECONDS": "0.5", "STREAM_CLICKHOUSE__FLUSH_SECONDS": "0.2"}
        agent = f"streamapp.agents.{group.replace('-', '_')}"
        return self.stack.start_agent(agent, None, **{**self.places, **quick, **places})

    def usage(self, hour: int, count: int) -> None:
        """So many events of each team in an hour."""
        at_ms = (FIRST + hour) * HOUR_MS + HOUR_MS // 2
        self.stack.send(
            Sent(team.encode(), value(f"evt_{team}_{self.sent + number}", at_ms, team))
            for number in range(count)
            for team in TEAMS
        )
        self.sent += count

    def others(self, first: int) -> None:
        """Forty audit records and captured events, a call of each agent in two hours, and what is no usage."""
        numbers = range(first, first + 40)
        self.stack.send((Sent(org(number).encode(), audit_event(number)) for number in numbers), "audit_log")
        events = (Sent(f"team_{number % 40}".encode(), captured(number)) for number in numbers)
        self.stack.send(events, "events_plugin_ingestion")
        for hour in (0, 3):
            at_ms = (FIRST + hour) * HOUR_MS
            calls = (call(f"call_{first}_{hour}_{n}", at_ms, f"agent_{n}", price="0.25") for n in range(8))
            self.stack.send((Sent(b"agent_%d" % n, one) for n, one in enumerate(calls)), "agent_rpc_metering")
        self.stack.send([Sent(b"team_0", b"{")])

    def bills(self, name: str = "ledger.db") -> Counter[tuple[int, int, int]]:
        """(hour, revision, requests) → of how many teams the ledger has such a bill."""
        found = kept(f"sqlite:///{self.stack.folder / name}")
        return Counter((bill.period_start_ms // HOUR_MS - FIRST, bill.revision, bill.requests) for bill in found)

    def captured(self) -> int:
        """How many captured events ClickHouse has."""
        clickhouse = ClickHouse(ClickHouseSettings(url=self.places["STREAM_CLICKHOUSE__URL"]))
        found = clickhouse.rows("SELECT total_rows FROM system.tables WHERE database = 'stream' AND name = 'events'")
        clickhouse.close()
        return sum(int(count) for (count,) in found)

    def mark(self, statement: str) -> None:
        """Run a statement of the runbook's on ClickHouse."""
        clickhouse = ClickHouse(ClickHouseSettings(url=self.places["STREAM_CLICKHOUSE__URL"]))
        clickhouse.command(statement)
        clickhouse.close()

    def command(self, *words: str, **places: str) -> subprocess.CompletedProcess[str]:
        servers = {"STREAM_KAFKA__BOOTSTRAP_SERVERS": self.stack.broker.bootstrap}
        return forked.command(*words, environment={**self.places, **servers, **places})

    def expired(self) -> float:
        """How many records the watch says Kafka deleted before a group had read them."""
        asyncio.run(self.watcher.look())
        assert self.watcher.known.problem == ""
        told = scraped(WatchMetrics(lambda: self.watcher.known).exposition())
        return sum(value for name, value in told.items() if name.startswith("stream_records_expired_unread"))


@pytest.fixture
def world(new_broker: Callable[..., Broker], tmp_path: Path) -> Iterator[World]:
    broker = new_broker()  # no copy of another: it has a cluster id of its own
    broker.start()
    with cluster(broker, tmp_path) as stack, captures(tmp_path) as begin:
        ingest = Ingest(broker, tmp_path)
        try:
            yield World(stack, ingest, begin(broker, kafka__delivery_timeout_seconds=3))
        finally:
            ingest.end()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_group_refuses_the_empty_broker_and_the_runbook_begins_anew(world: World) -> None:
    figures: dict[str, object] = {}
    running = billed(world)
    figures["ledger before"] = str(world.bills())
    assert world.expired() == 0
    began_s = monotonic_s()
    figures |= lost(world)
    words = r"the rows in \S+/{}/\S+ are of another cluster"
    for group, worker in running.items():
        refused(world, group, words.format(group) + "|topics are missing", worker)  # it may be there before its topics
    for group, worker in {group.name: world.start(group.name) for group in GROUPS}.items():
        refused(world, group, words.format(group), worker)
    figures["all refused twice, seconds after the kill"] = monotonic_s() - began_s
    assert world.expired() == 0
    runbook = section(RUNBOOK.read_text(), "The only broker's disk is lost")
    by_shell(world, [line for kind, line in runbook if kind == "sh"])
    world.others(105)
    refused(world, LEDGER, "the destination of billing-ledger holds it up to", world.start(LEDGER))
    refused(
        world,
        ARCHIVE,
        "has objects, and this group has archived nothing|is there with other bytes",
        world.start(ARCHIVE),
    )
    for line in (line for kind, line in runbook if kind == "sql"):
        world.mark(line)
    figures["ledger after"] = str(anew(world))
    assert world.expired() == 0
    print(json.dumps(figures, indent=1))


def billed(world: World) -> dict[str, WorkerProcess]:
    """Three hours of usage, two of them on bills that the ledger keeps. It stops, and hour 1 is revised."""
    for hour in (0, 1, 3):
        world.usage(hour, 20)
    world.others(0)
    running = {group.name: world.start(group.name) for group in GROUPS}
    stack, workers = world.stack, [*running.values()]
    stack.wait(lambda: world.bills() == {(0, 0, 20): len(TEAMS), (1, 0, 20): len(TEAMS)}, 120, *workers)
    stack.wait(lambda: len(lines(stack.folder / "archive")) == 40 and world.captured() == CAPTURED, 60, *workers)
    assert running.pop(LEDGER).stop() == 0
    world.usage(1, 5)
    stack.wait(lambda: len(stack.bills()) == 3 * len(TEAMS) + SETTLED, 60, *running.values())
    stack.drain(running["billing-agg"])
    return running


def lost(world: World) -> dict[str, object]:
    """kill -9, the folder deleted, an empty broker in its place, topics applied. What producers were told meanwhile."""
    broker, capture = world.stack.broker, world.capture
    assert capture.ask(batch("before"))[0] == 200
    world.stack.wait(lambda: world.captured() == CAPTURED + 1)
    began_s = monotonic_s()
    broker.kill()
    shutil.rmtree(broker.data_dir)
    status, said = capture.ask(batch("away"))
    assert (status, json.loads(said)["slug"]) == (503, "kafka_away")
    broker.start()
    slugs = (json.loads(capture.ask(batch("empty"))[1])["slug"] for _ in repeat(None))
    assert next(slug for slug in slugs if slug != "kafka_away") == "topic_missing"
    world.stack.admin = Admin(world.stack.kafka)  # the old one remembers the epochs of topics that are gone
    assert world.command("topics", "apply").returncode == 0
    tries = Counter(iter(lambda: capture.ask(batch("after"))[0], 200))
    return {"seconds without a topic": monotonic_s() - began_s, "capture, until it took an event": dict(tries)}


def refused(world: World, group: str, words: str, worker: WorkerProcess, tries: int = 5, /, **places: str) -> None:
    """It ends with 78. A takeover that a slow broker does not answer in time ends with 69; its supervisor begins it
    again."""
    world.stack.wait(lambda: not worker.runs, 120)
    if worker.exit_code == 69 and tries:
        refused(world, group, words, world.start(group, **places), tries - 1, **places)
        return
    said = f"{group}: {worker.said()[-6000:]}"  # a text: of anything else pytest shows little
    assert worker.exit_code == 78, said
    assert re.search(words, worker.said()), said


def section(text: str, title: str) -> list[tuple[str, str]]:
    """The code under a heading."""
    return [*code(text.partition(f"### {title}\n")[2].partition("\n#")[0])]


def by_shell(world: World, block: list[str]) -> None:
    """Run a block of the runbook's as it stands."""
    given = {"STREAM_STATE_DIR": str(world.stack.folder / "state"), **world.places}
    given |= {"STREAM_KAFKA__BOOTSTRAP_SERVERS": world.stack.broker.bootstrap}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euc", "\n".join(block)], env={**given, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done


def anew(world: World) -> Counter[tuple[int, int, int]]:
    """Late events, the open hour, one event that is sent again: a new ledger counts what the old one does not."""
    stack, old = world.stack, world.bills()
    stack.send([Sent(b"team_0", value("evt_team_0_0", FIRST * HOUR_MS, "team_0"))])
    for hour, count in ((1, 3), (3, 10), (4, 1)):
        world.usage(hour, count)
    groups = [group.name for group in GROUPS if group.name != LEDGER]
    places = {
        "STREAM_LEDGER_URL": f"sqlite:///{stack.folder / 'ledger-2.db'}",
        "STREAM_ARCHIVE__URL": (stack.folder / "archive-2").as_uri(),
    }
    running = [world.start(group, **places) for group in groups]
    stack.drain(*running)
    the_old_ledger_cannot_go_on(world)
    running.append(world.start(LEDGER, **places))
    expected = {(0, 0, 1): 1, (1, 0, 3): len(TEAMS), (3, 0, 10): len(TEAMS)}
    stack.wait(lambda: (stack.folder / "ledger-2.db").exists() and world.bills("ledger-2.db") == expected, 60, *running)
    stack.wait(lambda: len(lines(stack.folder / "archive-2")) == 40, 60, *running)
    stack.wait(lambda: world.captured() == 2 * CAPTURED + 2, 60, *running)  # and two that capture took
    stack.wait(lambda: world.command("verify", **places).returncode == 0, 120, *running)
    assert world.command("archive", "verify", "--no-kafka").returncode == 0, "the archive of before is whole"
    assert world.bills() == old, "nobody writes to the old ledger"
    return world.bills("ledger-2.db")


def the_old_ledger_cannot_go_on(world: World) -> None:
    """Its offsets taken away: the first late event of an hour that it has claims the id of a bill that is there."""
    copy = world.stack.folder / "copy.db"
    source, target = sqlite3.connect(world.stack.folder / "ledger.db"), sqlite3.connect(copy)
    source.backup(target)
    with target:
        target.execute("DELETE FROM ledger_offsets")
    source.close()
    target.close()
    place = {"STREAM_LEDGER_URL": f"sqlite:///{copy}"}
    refused(world, LEDGER, "is in the ledger with other bytes", world.start(LEDGER, **place), **place)


def batch(name: str) -> bytes:
    event = {"event": "seen", "distinct_id": "u", "uuid": str(uuid5(NAMESPACE_OID, name)), "properties": {"n": name}}
    return json.dumps({"api_key": TOKEN, "batch": [event]}).encode()
