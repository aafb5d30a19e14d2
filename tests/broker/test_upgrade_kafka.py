"""Kafka 4.2 becomes 4.3 on the same disk, as docs/runbook.md says: nothing lost, nothing counted twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import forked
import pytest
from documented import commands
from workers import Cluster, Sent, cluster

from streamapp.broker.broker import Broker
from streamapp.broker.jars import LOCK
from streamapp.clock import wall_ms
from streamapp.cluster.live import Live
from streamapp.cluster.plan import Want, plan
from streamapp.cluster.steps import Kind
from streamapp.processes.child import free_port
from streamapp.simulate.usage import HOUR_MS, UsageSpec, usage_stream

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
OLD = Path(__file__).with_name("kafka-4.2.lock")
EVENTS = 1_500
METADATA = re.compile(r"metadata\.version\s.*FinalizedVersionLevel: (\S+)")
RESTORED = re.compile(r"(\d+) rows restored")


class Upgraded:
    """One disk, and brokers of either version on it. The address stays."""

    def __init__(self, folder: Path, cache_dir: Path) -> None:
        self.cache_dir, self.ports = cache_dir, (free_port(), free_port())
        self._folder = folder / "broker"

    @contextmanager
    def runs(self, lock: Path) -> Iterator[Broker]:
        port, controller = self.ports
        broker = Broker(
            self._folder, port=port, controller_port=controller, cache_dir=self.cache_dir, heap_mb=192, jars_lock=lock
        )
        with broker:
            yield broker

    def tool(self, *words: str) -> str:
        settings = {
            "STREAM_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{self.ports[0]}",
            "STREAM_CACHE_DIR": str(self.cache_dir),
        }
        done = forked.command(*words, environment=settings)
        assert done.returncode == 0, done
        return done.stdout


def usage(seed: int) -> list[Sent]:
    """Events of the last hours; one seed, the same ones."""
    now_ms = wall_ms() // HOUR_MS * HOUR_MS
    spec = UsageSpec(now_ms - 6 * HOUR_MS, now_ms, EVENTS, teams=20, late=0.03, duplicates=0.05, seed=seed)
    return [Sent(record.key, record.value) for record in usage_stream(spec)]


def bills_more(one: Cluster, records: list[Sent]) -> None:
    """A worker bills what is sent, from the rows that it finds on its disk."""
    worker = one.start_ready()
    one.send(records)
    one.drain(worker)
    assert worker.stop() == 0, worker.said()[-3000:]
    counts = [int(rows) for rows in RESTORED.findall(worker.said())]
    assert counts, worker.said()[-3000:]
    assert not sum(counts), counts


@pytest.mark.long
@pytest.mark.timeout(600)
def test_kafka_is_upgraded_on_its_disk_and_may_go_back_until_the_finish(tmp_path: Path, cache_dir: Path) -> None:
    both = Upgraded(tmp_path, cache_dir)
    first, second = usage(1), usage(2)
    with both.runs(OLD) as broker, cluster(broker, tmp_path) as one:
        bills_more(one, first)
        before = one.read("llm_usage")
    with both.runs(LOCK) as broker, cluster(broker, tmp_path) as one:
        assert one.read("llm_usage") == before
        assert METADATA.findall(both.tool("broker", "tool", "kafka-features", "describe"))[0].startswith("4.2")
        bills_more(one, second)
        before = one.read("llm_usage")
    with both.runs(OLD) as broker, cluster(broker, tmp_path) as one:
        assert one.read("llm_usage") == before
        bills_more(one, first[:500])
    with both.runs(LOCK) as broker, cluster(broker, tmp_path) as one:
        finish, describe = finishing()
        both.tool(*finish)
        assert METADATA.findall(both.tool(*describe))[0].startswith("4.3")
        bills_more(one, second[:500])
        one.verify()
        # KAFKA-21426: the voters went to the log as well, and the file names them still.
        assert plan(Live(one.kafka, cache_dir).seen(), Want(3))[0].kind is Kind.BOOTSTRAP


def finishing() -> tuple[list[str], list[str]]:
    """The runbook's commands that finish an upgrade, and that look at it."""
    section = RUNBOOK.read_text().partition("### Of Kafka, 4.2 to 4.3")[2].partition("\n### ")[0]
    finish, describe = (words for words in commands(section, "streamapp") if words[:2] == ["broker", "tool"])
    return finish, describe
