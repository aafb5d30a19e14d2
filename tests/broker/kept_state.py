"""The state of an earlier version: made once by its own code, kept in the repository, opened by every later version.

    PYTHONPATH=.:tests:tests/broker:tests/registry python tests/broker/kept_state.py COMMIT

writes `kept_state.tar.xz`: a broker's disk (usage, bills, changelogs, committed offsets, the registry's log), a billing
worker's rows, the ledger, and `kept.json`: the time it thought it was, and what its registry answered. RocksDB's own
log is left out: it names folders of the machine. What is here was made by 0.1.0 before its release. The history of the
repository is needed to make it, not to open it. Its time is a month ago: what opens it today opens it next year, with
the clock set back and a broker that expires nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from conftest import wait_until
from registries import RegistryProcess
from workers import Cluster, Sent, cluster

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import wall_ms
from streamapp.simulate.usage import HOUR_MS, UsageSpec, usage_stream

FILE = Path(__file__).with_name("kept_state.tar.xz")
PROJECT = Path(__file__).parents[2]
CODE = (".", "tests", "tests/broker", "tests/registry")
LEDGER = "streamapp.agents.billing_ledger"
EVENTS, UNREAD = 400, 40
MONTH_MS = 30 * 24 * HOUR_MS
# A broker expires old records half a minute after its start, and the offsets of a group that is empty.
UNCHANGED = {
    "log.initial.task.delay.ms": str(10**9),
    "log.retention.check.interval.ms": str(10**9),
    "offsets.retention.check.interval.ms": str(10**9),
    "log.cleaner.enable": "false",
}


class Kept:
    """A folder with the state in it, and the time in which its workers live."""

    def __init__(self, folder: Path, cache_dir: Path, at_ms: int) -> None:
        self.folder, self.at_ms, self._cache_dir = folder, at_ms, cache_dir
        self._clock = folder / "clock"
        self._clock.write_text(str((at_ms - wall_ms()) // 1000))

    @contextmanager
    def cluster(self) -> Iterator[Cluster]:
        with (
            Broker(self.folder / "broker", cache_dir=self._cache_dir, properties=UNCHANGED) as broker,
            cluster(broker, self.folder, how=self._worker) as one,
        ):
            yield one

    def _worker(self, log: Path, environment: Mapping[str, str], agent: str, code: Path | None) -> WorkerProcess:
        return WorkerProcess(log, environment, agent, code, self._clock)

    @property
    def settings(self) -> dict[str, str]:
        """Of the ledger."""
        return {"STREAM_LEDGER_URL": f"sqlite:///{self.folder / 'ledger.db'}"}

    def ledger(self) -> list[bytes]:
        """The bills in it, as they stand in the log."""
        with closing(sqlite3.connect(self.folder / "ledger.db")) as ledger:
            if not ledger.execute("SELECT name FROM sqlite_master WHERE name = 'bills'").fetchone():
                return []  # not yet
            return [event.encode() for (event,) in ledger.execute("SELECT event FROM bills")]

    def usage(self, seed: int) -> list[Sent]:
        """Events of the last hours of its time."""
        spec = UsageSpec(self.at_ms - 6 * HOUR_MS, self.at_ms, EVENTS, teams=10, late=0.03, duplicates=0.05, seed=seed)
        return [Sent(one.key, one.value, record_ms=self.at_ms) for one in usage_stream(spec)]

    def work(self, one: Cluster, records: list[Sent]) -> WorkerProcess:
        """Bill these and whatever was left, and write the bills to the ledger. Returns the billing worker, stopped."""
        billing = one.start_ready(billing__idle_seconds=1)
        ledger = one.start_agent(LEDGER, None, **self.settings)
        one.send(records)
        one.drain(billing, ledger)
        one.wait(lambda: one.bills(), 60, billing)
        assert billing.stop() == 0, billing.said()[-3000:]
        one.wait(lambda: {*one.bills()} <= {*self.ledger()}, 120, ledger)
        assert ledger.stop() == 0, ledger.said()[-3000:]
        assert self._agree(one)
        return billing

    def _agree(self, one: Cluster) -> bool:
        command = [sys.executable, "-m", "streamapp", "verify", "--pair", "bills=ledger"]
        own = {"STREAM_KAFKA__BOOTSTRAP_SERVERS": one.broker.bootstrap, **self.settings}
        return not subprocess.run(command, env=os.environ | own, capture_output=True, check=False).returncode


@contextmanager
def registry(one: Cluster) -> Iterator[RegistryProcess]:
    made = RegistryProcess(one.broker.bootstrap).start()
    try:
        wait_until(lambda: made.health() == "ok", 60)
        yield made
    finally:
        made.kill()


def answers(made: RegistryProcess) -> dict[str, Any]:
    """Subject → every version of it, with its id and its schema."""
    found = {}
    for subject in made.ask("GET", "/subjects")[1]:
        versions = made.ask("GET", f"/subjects/{subject}/versions")[1]
        found[subject] = [made.ask("GET", f"/subjects/{subject}/versions/{version}")[1] for version in versions]
    return found


def unpack(folder: Path) -> dict[str, Any]:
    """Put the state below a folder. Returns `kept.json`."""
    with tarfile.open(FILE) as file:
        file.extractall(folder, filter="data")
    found: dict[str, Any] = json.loads((folder / "kept.json").read_text())
    return found


def _needed(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Neither RocksDB's own log nor the name of who made it. Kafka's segments end in `.log`."""
    return None if Path(entry.name).name.startswith("LOG") else entry.replace(uname="", gname="", uid=0, gid=0)


def make() -> None:
    """Run by the code of an earlier commit."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        kept = Kept(folder, PROJECT / ".cache", wall_ms() - MONTH_MS)
        with kept.cluster() as one:
            records = kept.usage(seed=16)
            kept.work(one, records[:-UNREAD])
            one.send(records[-UNREAD:])
            with registry(one) as made:
                made.register("theirs-value", {"type": "object", "properties": {"n": {"type": "integer"}}})
                told = {"at_ms": kept.at_ms, "registry": answers(made)}
                assert made.stop() == 0
        (folder / "kept.json").write_text(json.dumps(told, indent=1))
        with tarfile.open(FILE, "w:xz", preset=9) as file:
            for name in ("broker/log", "state", "ledger.db", "kept.json"):
                file.add(folder / name, name, filter=_needed)
    sys.stdout.write(f"{FILE.stat().st_size} bytes\n")


def main(commit: str) -> None:
    """Take the code of that commit, and make the state with it."""
    with tempfile.TemporaryDirectory() as temporary:
        code = Path(temporary)
        told = subprocess.run(["git", "archive", commit], cwd=PROJECT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(code)], input=told, check=True)
        own = {"PYTHONPATH": os.pathsep.join(str(code / folder) for folder in CODE)}
        for command in ([str(code / "streamapp/lane/build.py")], [str(Path(__file__).resolve()), "--make"]):
            subprocess.run([sys.executable, *command], env=os.environ | own, cwd=code, check=True)


if __name__ == "__main__":
    make() if sys.argv[1] == "--make" else main(sys.argv[1])
