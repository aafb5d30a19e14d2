"""A group is added by following docs/adding-a-group.md: its blocks, as they stand, in a copy of the project.

Then it has to do what the page promises: exact counts, though it is killed half-way.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pytest
from confluent_kafka import Producer
from conftest import PROJECT, wait_until

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import wall_ms
from streamapp.kafka.admin import Admin
from streamapp.kafka.log.reader import read
from streamapp.processes.child import free_port
from streamapp.settings import KafkaSettings
from streamapp.simulate.audit import audit_stream
from streamapp.simulate.poison import BROKEN
from streamapp.simulate.stream import HOUR_MS, SimulatedRecord, StreamSpec

PAGE = PROJECT / "docs/adding-a-group.md"
COPIED = [
    "streamapp",
    "tables",
    "docs",
    "tests/tidy",
    "tests/conftest.py",
    "tests/real_postgres.py",
    "tests/searches.py",
]
COPIED += ["Procfile", "docker-compose.yml", "pyproject.toml", ".gitignore"]
GROUP, TOPIC, PARTITIONS = "logins-count", "audit_log", 4
BLOCK = re.compile(r"^```\w*\n# ([\w./-]+)(?:: (\w+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
UNREADABLE = {poison.name for poison in BROKEN} | {"no moment", "no data"}
LOGINS = {"iam.auth.login_success": (1, 0), "iam.auth.login_failed": (0, 1)}


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
        path.write_text((path.read_text() if path.exists() else "") + block.text)
        return
    ends = {  # of a list: the text before its end, its end
        ".py": rf"(^{block.where}: tuple\[.*?)(^\)$)",
        ".yml": rf"(^{block.where}:\n(?:^ .*\n|^\n)*?)(^\n\w)",
        ".md": rf"(^## {block.where}\n\n(?:^\|.*\n)+)(^\n)",
    }
    text = path.read_text()
    found = re.search(ends[path.suffix], text, re.MULTILINE | re.DOTALL if path.suffix == ".py" else re.MULTILINE)
    assert found is not None, f"{block.path} has no list {block.where}"
    path.write_text(text[: found.end(1)] + block.text + text[found.start(2) :])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project to which the page was done."""
    copy = tmp_path / "project"
    for name in COPIED:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(PROJECT / name, copy / name)
    new = [block.path for block in blocks() if not (copy / block.path).exists()]
    assert sorted(Path(path).parts[-2] for path in new) == ["agents", "meters", "tables"], "one file in each, and lists"
    for block in blocks():
        put(block, copy)
    subprocess.run(["git", "init", "--quiet"], cwd=copy, check=True)  # its tests of tidiness look at tracked files
    return copy


def environment(project: Path, **more: str) -> dict[str, str]:
    """That of a process which finds the copy, and nothing beside it."""
    return {**os.environ, "PYTHONPATH": str(project), "PYTHONSAFEPATH": "1", **more}


def run(project: Path, *command: str, **more: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=project,
        env=environment(project, **more),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


class Site:
    """A broker, and the workers of the new group."""

    def __init__(self, project: Path, broker: Broker) -> None:
        self.project = project
        self.kafka = {"STREAM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap}
        self.config = {"bootstrap.servers": broker.bootstrap}
        self.admin = Admin(KafkaSettings(bootstrap_servers=broker.bootstrap))
        self.port = str(free_port())
        self.workers: list[WorkerProcess] = []

    def start(self) -> None:
        where = environment(self.project, **self.kafka) | {
            "STREAM_STATE_DIR": str(self.project / ".state"),
            "STREAM_WEB__PORT": self.port,
            "STREAM_WORKER__SESSION_TIMEOUT_SECONDS": "3",
            "STREAM_WORKER__CHUNK_RECORDS": "50",
            "STREAM_WORKER__FETCH_WAIT_MS": "100",
        }
        log = self.project / f"worker-{len(self.workers)}.log"
        self.workers.append(WorkerProcess(log, where, "streamapp.agents.logins_count", self.project))

    def send(self, records: list[SimulatedRecord]) -> None:
        producer = Producer({**self.config, "partitioner": "murmur2_random", "enable.idempotence": True})
        for record in records:
            producer.produce(TOPIC, record.value, record.key)
        assert producer.flush(60) == 0

    def done(self) -> int:
        """How many records the group has committed."""
        return sum(offset for (topic, _), offset in self.admin.committed(GROUP).items() if topic == TOPIC)

    def wait(self, records: int) -> None:
        def done() -> bool:
            assert self.workers[-1].runs, self.workers[-1].said()[-3000:]
            return self.done() >= records

        wait_until(done, 60)

    def rows(self) -> dict[tuple[str, int], tuple[int, int]]:
        """The table as its page's JSON twin has it: org, hour → succeeded, failed."""
        (address,) = set(re.findall(r"http://[0-9.]+:\d+", self.workers[-1].said()))
        found, path = {}, "/tables/logins_hourly?limit=200"
        while path:
            twin = self._get(address + path)
            assert twin["silent"] == []
            for row in twin["rows"]:
                if row["key"][0] == "row":
                    found[row["key"][1], row["key"][2]] = (row["row"]["succeeded"], row["row"]["failed"])
            path = twin["next"]
        return found

    def letters(self) -> Counter[str]:
        """Dead letters of the group by reason."""
        letters = [json.loads(record.value or b"")["data"] for record in read(self.config, "dead_letter")]
        return Counter(letter["reason"] for letter in letters if letter["group"] == GROUP)

    @staticmethod
    def _get(url: str) -> Any:
        with urlopen(url.replace("?", ".json?", 1), timeout=5) as answer:
            return json.load(answer)


@pytest.fixture
def site(project: Path, fresh_broker: Broker) -> Iterator[Site]:
    made = Site(project, fresh_broker)
    yield made
    for worker in made.workers:
        worker.kill()


def plain(records: list[SimulatedRecord]) -> tuple[dict[tuple[str, int], tuple[int, int]], Counter[str]]:
    """Rows and dead letters as they have to be."""
    rows: dict[tuple[str, int], tuple[int, int]] = {}
    letters: Counter[str] = Counter()
    seen: dict[str, bytes] = {}
    for record in records:
        if record.name in UNREADABLE:
            letters[str(record.reason)] += 1
            continue
        value = record.value or b""
        event = json.loads(value)
        if event["type"] not in LOGINS:
            continue
        if event["id"] in seen:
            letters["conflicting_duplicate"] += seen[event["id"]] != value
            continue
        seen[event["id"]] = value
        key = event["org_id"], hour_ms(event["timestamp"])
        before, more = rows.get(key, (0, 0)), LOGINS[event["type"]]
        rows[key] = before[0] + more[0], before[1] + more[1]
    return rows, +letters


def hour_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) // 3600 * HOUR_MS


def test_the_lists_of_the_page_are_all_that_the_project_asks_for(project: Path) -> None:
    run(project, "streamapp", "docs")
    run(project, "pytest", "tests/tidy/test_groups.py", "-x")
    (row,) = [block.text for block in blocks() if block.path == "docs/runbook.md"]
    code = (
        "from streamapp.topics.registry import port_offset as at; import sys; sys.exit(at('logins-count') + 6066 != %s)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code % row.split("|")[-2]], env=environment(project), cwd=project, check=False
    )
    assert done.returncode == 0, "the port in the row of the runbook"


def test_the_group_of_the_page_counts_exactly_though_it_is_killed(site: Site) -> None:
    run(site.project, "streamapp", "topics", "apply", **site.kafka)
    now_ms = wall_ms()
    spec = StreamSpec(now_ms - 6 * HOUR_MS, now_ms, 3_000, teams=15, late=0.02, duplicates=0.05, bad=0.03)
    records = list(audit_stream(spec))
    site.send(records[:1_500])
    site.start()
    site.wait(300)
    site.workers[-1].kill()
    site.send(records[1_500:])
    site.start()
    site.wait(len(records))
    rows, letters = plain(records)
    assert site.rows() == rows
    assert site.letters() == letters
    assert sum(letters.values()) > 30
