"""From one broker to three while usage flows and is billed: nothing lost, nothing doubled, every bill right."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest
from capture_calls import TOKEN
from captures import captures
from nodes import Acked, Nodes, ended, flowing
from workers import Cluster, cluster

from streamapp.broker.secure import Secured
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import monotonic_s
from streamapp.cluster.live import Live
from streamapp.cluster.plan import Want, plan
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import read

EVENTS_TOPIC = "events_plugin_ingestion"
LOCKED_RATE = 100
UNDER_WAY_S = 7  # of acknowledgements: as long as an election takes at most, the other brokers' partitions go on
CHUNKS: dict[str, Any] = {"worker__chunk_records": 5_000, "worker__chunk_linger_ms": 100}
STARTS_MAX = 2  # of a worker whose broker is back
DRAINED = 2_000  # records a second that are billed at least, behind a load that was faster


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_cluster_grows_under_load_and_outlives_each_of_its_brokers(
    tmp_path: Path, cache_dir: Path, request: pytest.FixtureRequest
) -> None:
    figures: dict[str, object] = {}
    with ended(Nodes(tmp_path, cache_dir)) as nodes:
        nodes.make(0, None).start(120)
        with cluster(nodes.brokers[0], tmp_path, nodes.kafka) as one:
            worker = begun(one)
            with flowing(one.kafka, request.config.getoption("--cluster-rate")) as feed:
                one.wait(lambda: feed.count > 1000, 120, worker)
                figures["kill -9 of the only broker"] = restarted(one, nodes, feed)
                figures["grow"] = grown(nodes, feed, tmp_path)
                assert plan(Live(nodes.kafka, cache_dir).seen(), Want(3)) == ()
                figures["kill -9"] = [outlived(one, nodes, feed, number) for number in (0, 1, 2)]
                figures["rolling restart"] = rolled(nodes, feed)
            figures |= {"sent": feed.sent, "acknowledged": feed.count, "refused": dict(feed.refused)}
            print(json.dumps(figures, indent=1))
            nothing_is_lost_or_doubled(one, feed)
            worker = still_there(one, worker)
            one.drain(worker, timeout_s=300 + feed.count / DRAINED)
            figures["bills"] = one.verify().as_json()
            figures["two of three gone"] = refused_by_one(one, nodes, tmp_path)
    print(json.dumps(figures, indent=1)[:6000])
    assert feed.failed == 0


def restarted(one: Cluster, nodes: Nodes, feed: Acked) -> dict[str, float]:
    """kill -9 of the only broker, and its start at once: what an outage costs at least."""
    feed.pause_s()
    before = feed.count
    nodes.brokers[0].kill()
    nodes.brokers[0].start(120)
    one.wait(lambda: feed.count > before + UNDER_WAY_S * feed.rate, 120)
    return {"pause": feed.pause_s()}


def grown(nodes: Nodes, feed: Acked, folder: Path) -> dict[str, float]:
    """From one to three, ended in every step. The operator's log is what the documentation shows."""
    feed.pause_s()
    began_s, before = monotonic_s(), feed.count
    said = nodes.grow(folder / "grow.log")
    print("\n".join(said))
    seconds = monotonic_s() - began_s
    return {"seconds": seconds, "longest pause": feed.pause_s(), "rate": (feed.count - before) / seconds}


def outlived(one: Cluster, nodes: Nodes, feed: Acked, number: int) -> dict[str, float]:
    """kill -9 of one broker: writes go on without it, it comes back and catches up."""
    feed.pause_s()
    began_s, before = monotonic_s(), feed.count
    nodes.brokers[number].kill()
    one.wait(lambda: feed.count > before + UNDER_WAY_S * feed.rate, 120)
    pause_s = feed.pause_s()
    nodes.brokers[number].start(120)
    one.wait(nodes.in_sync, 240)
    return {"pause": pause_s, "pause of the return": feed.pause_s(), "in sync after": monotonic_s() - began_s}


def rolled(nodes: Nodes, feed: Acked) -> dict[str, float]:
    """Each node is restarted when the one before it is whole again; nobody waits for more than an election."""
    feed.pause_s()
    began_s, before = monotonic_s(), feed.count
    for number in (0, 1, 2):
        nodes.restart(number)
    nodes.settled()
    seconds = monotonic_s() - began_s
    return {"seconds": seconds, "longest pause": feed.pause_s(), "rate": (feed.count - before) / seconds}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_cluster_with_locks_on_grows_under_load(tmp_path: Path, cache_dir: Path) -> None:
    with ended(Nodes(tmp_path, cache_dir, Secured(tmp_path / "secured", cache_dir))) as nodes:
        nodes.make(0, None).start(120)
        with cluster(nodes.brokers[0], tmp_path, nodes.kafka) as one:
            worker = begun(one)
            with flowing(one.kafka, LOCKED_RATE) as feed:
                one.wait(lambda: feed.count > LOCKED_RATE, 120, worker)
                said = nodes.grow(tmp_path / "grow.log", kills=False)
                grown_s = feed.pause_s()
                nodes.brokers[0].kill()
                before = feed.count
                one.wait(lambda: feed.count > before + LOCKED_RATE, 120)
                figures = {"longest pause of growing": grown_s, "kill -9": feed.pause_s(), "acknowledged": feed.count}
            print("\n".join(said), json.dumps(figures, indent=1))
            nothing_is_lost_or_doubled(one, feed)
            nodes.brokers[0].start(120)
            nodes.settled()
            worker = still_there(one, worker)
            one.drain(worker, timeout_s=300)
            one.verify()
    assert feed.failed == 0


def begun(one: Cluster) -> WorkerProcess:
    """A worker with chunks as in use: those of other tests are small, to be hurt often."""
    return one.start_ready(**CHUNKS)


def still_there(one: Cluster, worker: WorkerProcess) -> WorkerProcess:
    """An outage of more than 30 s ends a worker with 69, and its supervisor starts it again, until it has taken over.
    Other codes are faults, and so are more starts than two."""
    starts = 0

    def there() -> object:
        nonlocal worker, starts
        if not worker.runs:
            assert worker.exit_code == 69, worker.said()[-3000:]
            starts += 1
            assert starts <= STARTS_MAX, worker.said()[-3000:]
            worker = one.start(**CHUNKS)
        return worker.takeovers()

    one.wait(there, 180)
    return worker


def nothing_is_lost_or_doubled(one: Cluster, feed: Acked) -> None:
    """Each record that was acknowledged is there as often as it was sent, and no other."""
    rows = read(confluent_config(one.kafka), "llm_usage")  # never all of them in memory: there may be millions
    found = Counter(hash((row.key, row.value)) for row in rows)
    assert (len(found - feed.acked), len(feed.acked - found)) == (0, 0)


def refused_by_one(one: Cluster, nodes: Nodes, folder: Path) -> dict[str, object]:
    """One of three brokers is left: capture says 503 and when to come again; what it took before is there."""
    with captures(folder) as begin:
        servers = nodes.kafka.bootstrap_servers
        capture = begin(nodes.brokers[0], kafka__bootstrap_servers=servers, kafka__delivery_timeout_seconds=6)
        assert capture.ask(batch("before"))[0] == 200
        for number in (1, 2):
            nodes.brokers[number].kill()
        began_s = monotonic_s()
        status, body = capture.ask(batch("during"))
        refused_s = monotonic_s() - began_s
        assert status == 503, body
        for number in (1, 2):
            nodes.brokers[number].launch()
        for number in (1, 2):
            nodes.brokers[number].await_ready(120)
        tries = Counter(iter(lambda: capture.ask(batch("during"))[0], 200))
        taken_s = monotonic_s() - began_s
        kept = Counter(json.loads(row.value or b"{}")["data"]["properties"]["n"] for row in one.read(EVENTS_TOPIC))
        assert kept.keys() == {"before", "during"}
    return {"refused": body.decode(), "after": refused_s, "503s until taken": tries[503], "taken after": taken_s}


def batch(name: str) -> bytes:
    event = {
        "event": "seen",
        "distinct_id": "someone",
        "uuid": str(uuid5(NAMESPACE_OID, name)),
        "properties": {"n": name},
    }
    return json.dumps({"api_key": TOKEN, "batch": [event]}).encode()
