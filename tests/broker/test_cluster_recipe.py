"""The standard's way from one broker to three loses every topic; ours does not, in whatever order nodes start."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from itertools import permutations
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic
from conftest import wait_until
from nodes import Nodes, ended, flowing

from streamapp.broker.broker import Broker
from streamapp.broker.quorum import VOTERS, Member
from streamapp.broker.tools import TOOLS
from streamapp.cluster.grow import Progress, grow
from streamapp.cluster.live import Live
from streamapp.cluster.plan import Want, plan, refusals
from streamapp.errors import Refused, Unavailable
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.log.reader import read

TOPIC = "llm_usage"
CLUSTER = "c3RhdGljLXZvdGVycy0wMA"  # 16 bytes, base64
MOVED = ["UpgradeQuorum", "Bootstrap", "Bootstrap", "Bootstrap"]
CLUSTER_ID = re.compile(r"^cluster\.id=(.*)$", re.MULTILINE)


class Careless(Broker):
    """A broker that starts with any voters, as a container does."""

    def _refuse(self, rows: Mapping[str, str]) -> None:
        pass


def topics(broker: Broker) -> set[str]:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    return set(admin.list_topics(timeout=20).topics)


def make_topic(broker: Broker, replicas: int) -> None:
    admin = AdminClient({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    admin.create_topics([NewTopic(TOPIC, 8, replicas)])[TOPIC].result(60)


@pytest.mark.long
def test_static_voters_lose_every_topic_and_the_guard_refuses_them(tmp_path: Path, cache_dir: Path) -> None:
    with ended(Nodes(tmp_path, cache_dir)) as nodes:
        three = {VOTERS: ",".join(f"{n}@{address}" for n, address in enumerate(nodes.controllers))}
        first = nodes.make(0, None)
        first.start(120)
        make_topic(first, 1)
        cluster_id = cluster_id_of(first)
        first.stop()
        for number in (1, 2):
            join(nodes.make(number, None, Careless, three), cluster_id)
        with pytest.raises(Refused, match="elect each other with an empty log"):
            nodes.make(1, None, more=three).launch()
        with pytest.raises(Refused, match="drops every topic"):
            nodes.make(0, None, more=three).launch()
        # Two elections: in the epoch of the first node's only one, nodes 1 and 2 would end as soon as it is there.
        for _ in range(2):
            for number in (1, 2):
                nodes.make(number, None, Careless, three).launch()
            for number in (1, 2):
                nodes.brokers[number].await_ready(120)
        assert [topics(nodes.brokers[number]) for number in (1, 2)] == [set()] * 2, "a cluster without the topic"
        zero = nodes.make(0, None, Careless, three)
        with suppress(
            Unavailable
        ):  # it ends where the log that it now follows does not fit what it has read of its own
            zero.start(120)
            wait_until(lambda: topics(zero) == set())
            wait_until(lambda: any(path.name.endswith("-stray") for path in (tmp_path / "0" / "log").iterdir()), 60)


def cluster_id_of(broker: Broker) -> str:
    (found,) = CLUSTER_ID.findall((broker.data_dir / "log" / "meta.properties").read_text())
    return str(found)


def join(broker: Broker, cluster_id: str) -> None:
    """Format an empty node with the cluster's id, as the standard's containers do."""
    meta = broker.format() / "meta.properties"
    meta.write_text(CLUSTER_ID.sub(f"cluster.id={cluster_id}", meta.read_text()))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_cold_start_in_any_order_keeps_every_topic(tmp_path: Path, cache_dir: Path) -> None:
    with ended(Nodes(tmp_path, cache_dir)) as nodes:
        quorum_of_three(nodes, cache_dir)
        make_topic(nodes.brokers[0], 3)
        wait_until(nodes.in_sync, 120)
        for order in permutations(range(3)):
            for broker in nodes.brokers.values():
                broker.kill()
            nodes.brokers[order[0]].launch()
            nodes.brokers[order[1]].launch()
            for number in order[:2]:  # two are a majority
                nodes.brokers[number].await_ready(120)
            assert TOPIC in topics(nodes.brokers[order[0]])
            nodes.brokers[order[2]].start(120)
            wait_until(nodes.in_sync, 120)
            assert [topics(broker) for broker in nodes.brokers.values()] == [{TOPIC}] * 3, order


def quorum_of_three(nodes: Nodes, cache_dir: Path) -> None:
    """A node of a dynamic quorum, and two more as `cluster grow` wants them."""
    nodes.make(0, Member(0, nodes.controllers, first=True)).start(120)

    def operate(progress: Progress) -> None:
        if progress.step.kind.by_operator and not progress.left:
            nodes.operate(str(progress.step))

    grow(Live(nodes.kafka, cache_dir), Want(3), operate, throttle=10_000_000, wait_s=120)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_three_static_voters_become_a_quorum_that_may_grow(tmp_path: Path, cache_dir: Path) -> None:
    with ended(Nodes(tmp_path, cache_dir)) as nodes:
        three = {VOTERS: ",".join(f"{n}@{address}" for n, address in enumerate(nodes.controllers))}
        for number in range(3):
            join(nodes.make(number, None, Careless, three), CLUSTER)
        for broker in nodes.brokers.values():
            broker.launch()
        for broker in nodes.brokers.values():
            broker.await_ready(120)
        make_topic(nodes.brokers[0], 3)
        live = Live(nodes.kafka, cache_dir)
        assert [step.kind.label for step in plan(live.seen(), Want(3))[:4]] == MOVED
        done: list[str] = []

        def operate(progress: Progress) -> None:
            done.append(progress.step.kind.label)
            if progress.step.kind.by_operator and not progress.left:
                nodes.operate(str(progress.step))

        with flowing(nodes.kafka, 100) as feed:
            grow(live, Want(3), operate, throttle=10_000_000, wait_s=120)
        print(done, {"acknowledged": feed.count, "longest pause": feed.pause_s()})
        assert (feed.failed, plan(live.seen(), Want(3))) == (0, ())
        assert all(not node.settings.get(VOTERS) for node in live.seen().nodes.values() if node.settings is not None)
        read_back = Counter(hash((row.key, row.value)) for row in read({"bootstrap.servers": nodes.bootstrap}, TOPIC))
        assert (len(read_back - feed.acked), len(feed.acked - read_back)) == (0, 0)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_node_whose_disk_is_lost_comes_back_with_everything(tmp_path: Path, cache_dir: Path) -> None:
    with ended(Nodes(tmp_path, cache_dir)) as nodes:
        quorum_of_three(nodes, cache_dir)
        make_topic(nodes.brokers[0], 3)
        wait_until(nodes.in_sync, 120)
        live = Live(nodes.kafka, cache_dir)
        nodes.brokers[2].kill()
        shutil.rmtree(nodes.brokers[2].data_dir)
        nodes.make(2, Member(2, nodes.controllers, cluster_id=live.admin.cluster_id())).start(120)
        wait_until(lambda: refusals(live.seen(), Want(3)), 120)
        (reason,) = refusals(live.seen(), Want(3))
        command = reason[reason.index("remove-controller") :].split()
        done = nodes.brokers[0].tool(dict(TOOLS)["kafka-metadata-quorum"], *command)
        assert done.returncode == 0, done
        assert grow(live, Want(3), lambda progress: None, throttle=10_000_000, wait_s=120) > 0
        wait_until(nodes.in_sync, 120)
        assert topics(nodes.brokers[2]) == {TOPIC}
        assert plan(live.seen(), Want(3)) == ()
