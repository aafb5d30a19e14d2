"""A group is added by following docs/adding-a-group.md: its blocks, as they stand, in a copy of the project.

Then it has to do what the page promises: exact statements, though it is killed half-way and its offsets are set back.
What is right is counted here, from the log, by rules of the test's own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import msgspec
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from conftest import PROJECT, wait_until

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import wall_ms
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.log.reader import Record, read
from streamapp.processes.child import free_port
from streamapp.schemas.values.timestamp import format_ms
from streamapp.settings import KafkaSettings

PAGE = PROJECT / "docs/adding-a-group.md"
COPIED = [
    "streamapp",
    "tables",
    "docs",
    "tests/tidy",
    "tests/conftest.py",
    "tests/emptied.py",
    "tests/fork_server.py",
    "tests/go_programs.py",
    "tests/forked.py",
    "tests/order.py",
    "tests/real_postgres.py",
    "tests/real_s3.py",
    "tests/searches.py",
]
TESTS = ["tests/unit/test_topics_registry.py", "tests/unit/test_simulate_streams.py", "tests/contract/test_catalog.py"]
COPIED += [*TESTS, "tests/golden", "Procfile", "docker-compose.yml", "pyproject.toml", ".gitignore"]
GROUP, TOPIC, STATED, PARTITIONS = "image-billing", "image_usage", "billing_events", 4
BLOCK = re.compile(r"^```\w*\n# ([\w./-]+)(?:: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IMPORTS = re.compile(r"\A.*^from streamapp[^\n]*?(?: \(\n.*?^\)|[^\n(]*)$\n", re.MULTILINE | re.DOTALL)
LINES_MAX, TOUCHED_MAX = 450, 6
READERS = """
import sys
from streamapp.schemas.catalog import CATALOG
from streamapp.schemas.values.strict_json import parse
from streamapp.sinks.ledger.rows import to_row
models = {entry.event_type: entry.model for entry in CATALOG}
for value in sys.stdin.buffer.read().splitlines():
    tree, _ = parse(value)
    models[tree["type"]].model_validate(tree)
    assert to_row("billing_events", 0, 0, value) is None
"""
"""Each statement is what the catalog says, and the ledger passes over it."""
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
SIZES = {"256x256", "512x512", "1024x1024", "1024x1792", "1792x1024"}


class Block(NamedTuple):
    """A block of the page: the file it belongs to, the list in it, its text."""

    path: str
    where: str
    text: str


def blocks() -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(PAGE.read_text())]


def put(block: Block, project: Path) -> None:
    """Do with a block what its first line says."""
    path = project / block.path
    if not block.where:
        path.write_text(block.text)
        return
    lines = block.text.splitlines(keepends=True)
    imports = [line for line in lines if line.startswith("from ")]
    text = path.read_text()
    found = re.search(rf"^{block.where}: [^\n]* = [({{]$.*?(?=^[)}}]$)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{block.path} has no list {block.where}"
    text = text[: found.end()] + "".join(line for line in lines if line not in imports) + text[found.end() :]
    head = IMPORTS.match(text)
    assert head is not None or not imports
    path.write_text(text if head is None else text[: head.end()] + "".join(imports) + text[head.end() :])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project to which the page was done."""
    copy = tmp_path_factory.mktemp("guide") / "project"
    for name in COPIED:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / name, copy / name)
    there = {block.path for block in blocks() if (copy / block.path).exists()}
    assert all((block.path in there) == bool(block.where) for block in blocks()), "new files, and lists"
    assert len(there) <= TOUCHED_MAX
    assert sum(1 + block.text.count("\n") for block in blocks()) <= LINES_MAX
    for block in blocks():
        put(block, copy)
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)  # its tests of tidiness look at tracked files
    run(copy, "streamapp", "docs")
    return copy


def environment(project: Path, **more: str) -> dict[str, str]:
    """That of a process which finds the copy, and nothing beside it."""
    return {**os.environ, "PYTHONPATH": str(project), "PYTHONSAFEPATH": "1", **more}


def run(project: Path, *command: str, more: Mapping[str, str] | None = None, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env=environment(project, **(more or {})),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


class Site:
    """A broker, and the workers of the new group."""

    def __init__(self, project: Path, broker: Broker) -> None:
        self.project = project
        self.kafka = {"STREAM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap}
        self.config = {"bootstrap.servers": broker.bootstrap}
        self.admin = Admin(KafkaSettings(bootstrap_servers=broker.bootstrap))
        self.workers: list[WorkerProcess] = []

    def start(self) -> None:
        where = environment(self.project, **self.kafka) | {
            "STREAM_STATE_DIR": str(self.project / ".state"),
            "STREAM_WEB__PORT": str(free_port()),
            "STREAM_WORKER__SESSION_TIMEOUT_SECONDS": "3",
            "STREAM_WORKER__CHUNK_RECORDS": "50",
            "STREAM_WORKER__FETCH_WAIT_MS": "100",
            "STREAM_BILLING__IDLE_SECONDS": "1",
        }
        log = self.project / f"worker-{len(self.workers)}.log"
        self.workers.append(WorkerProcess(log, where, "streamapp.agents.image_billing", self.project))

    def simulate(self, seed: int, events: int, hours: int, end_ms: int) -> None:
        shape = {"--seed": seed, "--events": events, "--hours": hours, "--teams": 12, "--end": format_ms(end_ms)}
        shares = {"--late": 0.1, "--duplicates": 0.05, "--bad": 0.04}
        options = [str(word) for option in (shape | shares).items() for word in option]
        run(self.project, "streamapp", "simulate", "--topic", TOPIC, "--json", *options, more=self.kafka)

    def committed(self) -> int:
        """How many records the group has committed."""
        return sum(offset for (topic, _), offset in self.admin.committed(GROUP).items() if topic == TOPIC)

    def wait(self, records: int) -> None:
        def done() -> bool:
            assert self.workers[-1].runs, self.workers[-1].said()[-3000:]
            return self.committed() >= records

        wait_until(done, 60)

    def set_back(self) -> None:
        """Behind the project's back, with Kafka's own means."""
        begin = [TopicPartition(TOPIC, number, 0) for number in range(PARTITIONS)]
        client = AdminClient(self.config)

        def done() -> bool:
            try:
                asked = client.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(GROUP, begin)])
                return all(not place.error for place in asked[GROUP].result().topic_partitions)
            except Exception:  # the group is not empty yet
                return False

        wait_until(done, 30)
        assert self.committed() == 0

    def page(self, path: str) -> Any:
        """A page of the newest worker, as JSON where it has a twin."""
        (address,) = set(re.findall(r"http://[0-9.]+:\d+", self.workers[-1].said()))
        with urlopen(address + path, timeout=5) as answer:
            text = answer.read().decode()
        return json.loads(text) if ".json" in path else text

    def rows(self) -> dict[tuple[Any, ...], dict[str, Any]]:
        """The table as its page's JSON twin has it: key → row."""
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        path = "/tables/image_hourly?limit=200"
        while path:
            twin = self.page(path.replace("?", ".json?", 1))
            assert twin["silent"] == []
            found |= {tuple(row["key"][1:]): row["row"] for row in twin["rows"] if row["key"][0] == "row"}
            path = twin["next"]
        return found

    def log(self, topic: str) -> list[Record]:
        return list(read(self.config, topic))

    def letters(self) -> Counter[str]:
        """Dead letters of the group by reason."""
        letters = [json.loads(record.value or b"")["data"] for record in self.log("dead_letter")]
        return Counter(letter["reason"] for letter in letters if letter["group"] == GROUP)

    def verdict(self, code: int) -> dict[str, int]:
        said = run(self.project, "streamapp", "verify", "--pair", "images=bills", "--json", code=code, more=self.kafka)
        (pair,) = json.loads(said)["pairs"]
        return {name: pair[name] for name in ("events", "waiting", "lost", "doubled", "wrong")}


@pytest.fixture
def site(project: Path, ready_broker: Broker) -> Iterator[Site]:
    made = Site(project, ready_broker)
    yield made
    for worker in made.workers:
        worker.kill()


Sums = dict[str, Any]
Key = tuple[Any, ...]
"""start, org, team, user, currency"""


def plain(records: list[Record]) -> tuple[dict[Key, Sums], Counter[str]]:
    """Hours and dead letters as they have to be, by the log alone."""
    hours: dict[Key, Sums] = defaultdict(
        lambda: {"requests": 0, "images": 0, "steps": 0, "cost": Decimal(0), "sizes": {}}
    )
    letters: Counter[str] = Counter()
    seen: dict[str, bytes | None] = {}
    newest = dict.fromkeys(range(PARTITIONS), 0)
    for record in records:
        event = event_of(record, newest[record.partition])
        if isinstance(event, str):
            letters[event] += 1
        elif event["id"] in seen:
            letters["conflicting_duplicate"] += seen[event["id"]] != record.value
        else:
            seen[event["id"]] = record.value
            at_ms, data = ms(event["timestamp"]), event["data"]
            newest[record.partition] = max(newest[record.partition], at_ms)
            key = at_ms // HOUR_MS * HOUR_MS, event["org_id"], event["team_id"], data["user_id"], "USD"
            hour, size = hours[key], data["size"]
            more = {"requests": 1, "images": data["images"], "steps": data["steps"], "cost": data["cost_usd"]}
            hour |= {name: hour[name] + number for name, number in more.items()}
            hour["sizes"][size] = hour["sizes"].get(size, 0) + data["images"]
    return dict(hours), +letters


def event_of(record: Record, newest_ms: int) -> Any:
    """The event in a record, or why it does not count."""
    if not record.value:
        return "empty_value"
    try:
        event = json.loads(record.value.decode(), parse_float=Decimal)
    except ValueError:
        return "malformed_json"
    if not isinstance(event, dict) or event["schema"] != "hanzo.stream.v1" or event["timestamp"] == "yesterday":
        return "invalid_envelope"
    if event["type"] != "image.generated":
        return "unknown_type"
    at_ms, data = ms(event["timestamp"]), event["data"]
    rules = {
        "invalid_envelope": "team_id" in event,
        "invalid_data": data["size"] in SIZES,
        "invalid_cost": data["cost_usd"] >= 0,
        "wrong_partition": record.key == event.get("team_id", "").encode(),
        "timestamp_in_future": at_ms <= record.timestamp_ms + 300_000,
        "too_late": at_ms >= newest_ms - 14 * DAY_MS,
    }
    return next((reason for reason, holds in rules.items() if not holds), event)


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def stated(records: list[Record]) -> dict[Key, list[dict[str, Any]]]:
    """The statements of each hour, as they stand in the log; each is what it says it is."""
    found: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        event = json.loads(record.value or b"")
        data = event["data"]
        key = ms(data["period_start"]), event["org_id"], data["team_id"], data["user_id"], data["currency"]
        number = len(found[key])
        kind = "billing.image.revised" if number else "billing.image.hourly"
        before = found[key][-1]["billing_id"] if number else None
        assert (event["type"], data["revision"], data["supersedes"]) == (kind, number, before)
        assert (event["id"], record.key) == (data["billing_id"], event["org_id"].encode())
        found[key].append(data)
    return found


def sums(totals: dict[str, Any]) -> Sums:
    """Totals with exact money, and without sizes of which there are none."""
    sizes = {size: count for size, count in totals["sizes"].items() if count}
    return {**totals, "cost": Decimal(totals["cost"]), "sizes": sizes}


def added(parts: list[Sums]) -> Sums:
    total = {name: sum(part[name] for part in parts) for name in ("requests", "images", "steps", "cost")}
    sizes: Counter[str] = Counter()
    for part in parts:
        sizes.update(part["sizes"])
    return {**total, "sizes": dict(sizes)}


def test_the_blocks_of_the_page_are_all_that_the_project_asks_for(project: Path) -> None:
    new = [block.path for block in blocks() if not block.where]
    run(project, "ruff", "check", *new)
    run(project, "ruff", "format", "--check", *new)
    run(project, "streamapp", "schemas", "release")
    run(
        project,
        "pytest",
        "tests/tidy/test_groups.py",
        *TESTS,
        "-x",
        "-k",
        "groups or released or catalog_once or image",
    )
    (row,) = re.findall(r"^\| `image-billing` .*$", (project / "docs/runbook.md").read_text(), re.MULTILINE)
    assert row.endswith("| 4, one per partition of `image_usage` | 6136 |")


@pytest.mark.long
def test_the_group_of_the_page_states_exactly_though_it_is_killed_and_set_back(site: Site) -> None:
    run(site.project, "streamapp", "topics", "apply", more=site.kafka)
    end_ms = wall_ms() - 2 * HOUR_MS  # so that the clock closes every hour
    site.simulate(1, 1_500, 6, end_ms - 3 * HOUR_MS)
    site.start()
    site.wait(300)
    site.workers[-1].kill()
    site.simulate(2, 1_500, 4, end_ms)
    site.start()
    site.wait(3_000)
    wait_until(lambda: all(row["waiting"] == 0 for row in site.rows().values()), 60)
    rows = site.rows()
    states_what_the_log_says(site, rows)
    shows_what_it_keeps(site, rows)
    assert site.verdict(0) == {"events": sum(row["events"] for row in rows.values())} | dict.fromkeys(
        ("waiting", "lost", "doubled", "wrong"), 0
    )

    count = len(site.log(STATED))
    site.workers[-1].stop()
    a_wrong_row_is_put_right(site)
    site.set_back()
    site.start()
    site.wait(3_000)
    assert site.rows() == rows
    assert len(site.log(STATED)) == count, "what is read again states nothing"

    again, other = site.log(STATED)[:2]
    producer = Producer(site.config)
    producer.produce(STATED, again.value, again.key, partition=again.partition)
    wrong = (other.value or b"").replace(b'"images":', b'"images":1', 1)
    producer.produce(STATED, wrong, other.key, partition=other.partition)
    assert producer.flush(30) == 0
    found = site.verdict(1)
    assert (found["lost"], found["doubled"], found["wrong"]) == (0, 1, 1), "the check can find something"


def a_wrong_row_is_put_right(site: Site) -> None:
    """One that counts what never was: a recomputation finds it, and a second one finds nothing."""
    changelog = "image-billing-image_hourly-changelog"
    row = next(record for record in reversed(site.log(changelog)) if record.key and record.key[:1] == b"f")
    kept = msgspec.msgpack.decode((row.value or b"")[1:])
    kept[0]["images"] += 5
    producer = Producer(site.config)
    wrong = (row.value or b"")[:1] + msgspec.msgpack.encode(kept)
    producer.produce(changelog, wrong, row.key, partition=row.partition)
    assert producer.flush(30) == 0
    words = "replay", "--table", "image_hourly", "--to-earliest", "--recompute", "--yes", "--json"
    for changes in (1, 0):
        told = json.loads(run(site.project, "streamapp", *words, more=site.kafka))
        assert told["recompute"]["changes"] == changes
        assert told["recompute"]["out_of_reach"] == told["recompute"]["contradicted"] == 0
        assert told["published"] == {"rows": changes, "statements": 0}


def states_what_the_log_says(site: Site, rows: Any) -> None:
    """The statements, counted by rules of our own, say what the log says; and other readers of the topic know them."""
    hours, letters = plain(site.log(TOPIC))
    assert sum(letters.values()) > 60
    assert len(letters) == 10, letters
    wait_until(lambda: site.letters() == letters, 30)
    bills = stated(site.log(STATED))
    assert {key: sums(chain[-1]["totals"]) for key, chain in bills.items()} == hours
    assert {key: added([sums(one["delta"]) for one in chain]) for key, chain in bills.items()} == hours
    assert sum(len(chain) > 1 for chain in bills.values()) > 20
    values = b"\n".join(record.value or b"" for record in site.log(STATED))
    known = [sys.executable, "-c", READERS]
    read_by = subprocess.run(
        known, input=values, cwd=site.project, env=environment(site.project), capture_output=True, check=False
    )
    assert read_by.returncode == 0, read_by.stderr.decode()
    assert {key: (row["events"], row["revision"], row["stated_as"]) for key, row in rows.items()} == {
        key: (chain[-1]["coverage"]["events"], len(chain) - 1, chain[-1]["billing_id"]) for key, chain in bills.items()
    }


def shows_what_it_keeps(site: Site, rows: Any) -> None:
    """The page of hours, its twin and the metrics."""
    shown = site.page("/tables/image_hourly/hours.json?hours=336&limit=500")["hours"]
    newest = sorted(rows, key=lambda key: (-key[0], key[1:]))[: len(shown)]
    assert len(shown) == min(500, len(rows))
    assert [(ms(row["start"]), *row["names"].values()) for row in shown] == newest
    assert [row["events"] for row in shown] == [rows[key]["events"] for key in newest]
    assert {row["state"] for row in shown} == {"closed", "revised"}
    assert "image_hourly" in site.page("/tables/image_hourly/hours?hours=336")
    told = dict(re.findall(r'^(stream_\w+_total){group="image-billing"[^}]*} ([0-9.]+)$', site.page("/metrics"), re.M))
    assert float(told["stream_events_duplicate_total"]) > 10
