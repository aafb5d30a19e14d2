"""The entrypoint of Kafka's image, with the real Kafka: what it formats, what it refuses, that it formats once."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

from streamapp.access.passwords import noted
from streamapp.broker import users
from streamapp.broker.broker import classpath
from streamapp.broker.exporter import BEANS
from streamapp.broker.exporter import LOCK as EXPORTER
from streamapp.broker.jars import jars
from streamapp.broker.secure import ADMIN, Secured
from streamapp.extras import java
from streamapp.kafka.admin import Admin
from streamapp.processes.child import HOST, Child, free_port, listens
from streamapp.settings import KafkaSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "kubernetes"))
from manifests import one, overlay

ENTRYPOINT = Path(__file__).parents[2] / "deploy" / "kafka" / "entrypoint.sh"
CLUSTER, OTHER = "MkU3OEVBNTcwNTJENDM2Qg", "4L6g3nShT-eMCtK--X86sw"
SCRIPT = """#!/bin/sh
# What Kafka's own script does: it adds KAFKA_HEAP_OPTS and KAFKA_OPTS to the class that it starts.
exec {java} -cp {classes} -XX:TieredStopAtLevel=1 -XX:+UseSerialGC ${{KAFKA_HEAP_OPTS:-}} ${{KAFKA_OPTS:-}} {main} "$@"
"""
REFUSED = 78
VOTERS = "__cluster_metadata-0"  # made by the format of a node that founds a quorum, with the quorum's voters
ENV = "/usr/bin/env"


class Node:
    """A node of Kafka in a folder, started as a pod starts it."""

    def __init__(self, folder: Path, cache_dir: Path, number: int = 0) -> None:
        self.folder, self.number = folder, number
        self.port, self.controller, self.metrics = free_port(), free_port(), free_port()
        self.home, agent = folder / "kafka", folder / "metrics"
        (self.home / "bin").mkdir(parents=True)
        agent.mkdir()
        classes = shlex.quote(os.pathsep.join([classpath(cache_dir), str(users.compiled(cache_dir))]))
        for name, main in (("storage", "kafka.tools.StorageTool"), ("server-start", "kafka.Kafka")):
            script = self.home / "bin" / f"kafka-{name}.sh"
            script.write_text(SCRIPT.format(java=java(), classes=classes, main=main))
            script.chmod(0o755)
        (jar,) = jars(cache_dir, lock=EXPORTER)
        (agent / "jmx_prometheus_javaagent.jar").symlink_to(jar)
        (agent / "exporter.yml").symlink_to(BEANS)
        self.metrics_dir = agent

    @property
    def log(self) -> Path:
        return self.folder / "data" / "log"

    def environment(self, **changed: str) -> dict[str, str]:
        own = f"{HOST}:{self.controller}"
        return {
            "PATH": os.environ["PATH"],
            "KAFKA_HOME": str(self.home),
            "KAFKA_HEAP_OPTS": "-Xmx256m",
            "KAFKA_DATA_DIR": str(self.folder / "data"),
            "KAFKA_RUN_DIR": str(self.folder / "run"),
            "KAFKA_METRICS": f"{HOST}:{self.metrics}",
            "KAFKA_METRICS_DIR": str(self.metrics_dir),
            "KAFKA_CLUSTER_ID": CLUSTER,
            "KAFKA_CFG_NODE_ID": str(self.number),
            "KAFKA_CFG_PROCESS_ROLES": "broker,controller",
            "KAFKA_CFG_CONTROLLER_QUORUM_BOOTSTRAP_SERVERS": own,
            "KAFKA_CFG_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_CFG_LISTENERS": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{own}",
            "KAFKA_CFG_ADVERTISED_LISTENERS": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{own}",
            "KAFKA_CFG_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "KAFKA_CFG_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            **changed,
        }

    def refuses(self, **changed: str) -> str:
        """What the entrypoint says when it ends with 78; it has formatted nothing."""
        had = self.formatted()
        command = ["bash", str(ENTRYPOINT)]
        done = subprocess.run(
            command, env=self.environment(**changed), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == REFUSED, (done.returncode, done.stderr)
        assert self.formatted() == had
        return done.stderr

    def formatted(self) -> str | None:
        meta = self.log / "meta.properties"
        return meta.read_text() if meta.exists() else None

    def start(self, **changed: str) -> Child:
        """Run it in this environment and no other."""
        given = [f"{name}={value}" for name, value in self.environment(**changed).items()]
        return Child(ENV, ["-i", *given, "bash", str(ENTRYPOINT)], self.folder / "console.log")


def test_a_volume_is_formatted_once_and_no_second_quorum_is_founded(
    tmp_path: Path, cache_dir: Path, until: Callable[..., None]
) -> None:
    node = Node(tmp_path / "first", cache_dir)
    words = node.refuses()
    assert f"nobody said that cluster {CLUSTER} is new" in words
    assert "static voters" in node.refuses(KAFKA_CFG_CONTROLLER_QUORUM_VOTERS="0@x:1", KAFKA_NEW_CLUSTER=CLUSTER)
    assert "node 0 founds a cluster" in node.refuses(KAFKA_CFG_NODE_ID="1", KAFKA_NEW_CLUSTER=CLUSTER)
    assert "nobody said" in node.refuses(KAFKA_NEW_CLUSTER=OTHER)

    (tmp_path / "first" / "data" / "formatting").mkdir(parents=True)  # a format that was cut off
    running = node.start(KAFKA_NEW_CLUSTER=CLUSTER)
    try:
        admin = Admin(KafkaSettings(bootstrap_servers=f"{HOST}:{node.port}"))
        until(lambda: listens(node.port) or running.exited.is_set(), 120)
        assert not running.exited.is_set(), (node.folder / "console.log").read_text()[-3000:]
        admin.create("kept", 1, 1, {})
        assert listens(node.metrics)
        second = Node(tmp_path / "second", cache_dir)
        alive = f"{HOST}:{node.controller}"
        words = second.refuses(KAFKA_NEW_CLUSTER=CLUSTER, KAFKA_PEERS=f"{HOST}:{free_port()},{alive}")
        assert f"a controller answers at {alive}: the cluster is not new" in words
    finally:
        running.end(signal.SIGTERM, 60)

    meta = node.formatted()
    assert (node.log / VOTERS).is_dir()
    again = node.start()  # nobody says that it is new any more
    try:
        until(lambda: listens(node.port) or again.exited.is_set(), 120)
        assert "kept" in Admin(KafkaSettings(bootstrap_servers=f"{HOST}:{node.port}")).topics()
    finally:
        again.end(signal.SIGTERM, 60)
    assert node.formatted() == meta
    assert f"belongs to cluster {CLUSTER}" in node.refuses(KAFKA_CLUSTER_ID=OTHER)
    assert "belongs to node 0" in node.refuses(KAFKA_CFG_NODE_ID="2")
    (node.log / "meta.properties").rename(tmp_path / "meta.properties")
    assert "has no meta.properties" in node.refuses(KAFKA_NEW_CLUSTER=CLUSTER)


def test_a_node_that_knows_others_waits_for_them_also_when_it_is_the_first(tmp_path: Path, cache_dir: Path) -> None:
    """All volumes of three nodes are empty: whatever the order, none founds a quorum of its own."""
    node = Node(tmp_path, cache_dir)
    servers = f"{HOST}:{node.controller},{HOST}:{free_port()}"
    given = node.environment(KAFKA_NEW_CLUSTER=CLUSTER, KAFKA_CFG_CONTROLLER_QUORUM_BOOTSTRAP_SERVERS=servers)
    (node.home / "bin" / "kafka-server-start.sh").write_text('#!/bin/sh\necho "started with $1: $KAFKA_OPTS"\n')
    done = subprocess.run(
        ["bash", str(ENTRYPOINT)], env=given, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "waits there for add-controller" in done.stderr
    assert "-javaagent:" in done.stdout
    assert not (node.log / VOTERS).exists()
    assert "node.id=0" in (node.formatted() or "")


def pem(secured: Secured, folder: Path) -> None:
    """The Secret `kafka-tls`: key and chain in one file, as Kafka's PEM store wants them, and the authority's."""
    password = (secured.folder / "secrets" / "store").read_bytes()
    key, certificate, _ = pkcs12.load_key_and_certificates((secured.folder / "broker.p12").read_bytes(), password)
    assert key is not None
    assert certificate is not None
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    folder.mkdir()
    (folder / "tls-combined.pem").write_bytes(private + certificate.public_bytes(Encoding.PEM))
    (folder / "ca.crt").write_bytes(secured.ca_file.read_bytes())


@pytest.mark.long
def test_the_environment_of_the_stateful_set_starts_a_broker_with_locks_on(
    tmp_path: Path, cache_dir: Path, until: Callable[..., None]
) -> None:
    """The variables as they are rendered; folders and addresses are those of this machine."""
    node, secured = Node(tmp_path / "node", cache_dir), Secured(tmp_path / "security", cache_dir)
    pem(secured, tmp_path / "tls")
    plain = free_port()
    here = {
        "/run/secrets/tls/": f"{tmp_path}/tls/",
        "/run/secrets/broker/password": str(secured.user("broker")),
        "/etc/kafka/users": str(secured.users_dir),
        "insights-kafka-0.insights-kafka": HOST,
        "PLAINTEXT://127.0.0.1:9092": f"PLAINTEXT://{HOST}:{plain}",
        ":9093": f":{node.port}",
        ":9094": f":{node.controller}",
    }
    given = {}
    (container,) = one(overlay("one-broker"), "StatefulSet", "insights-kafka")["spec"]["template"]["spec"]["containers"]
    for each in container["env"]:
        text = each.get("value", "").replace("$(POD_NAME)", "insights-kafka-0")
        for written, place in here.items():
            text = text.replace(written, place)
        given[each["name"]] = text
    own = node.environment()
    kept = (
        "KAFKA_DATA_DIR",
        "KAFKA_RUN_DIR",
        "KAFKA_METRICS",
        "KAFKA_CLUSTER_ID",
        "KAFKA_CFG_NODE_ID",
        "KAFKA_HEAP_OPTS",
    )
    given |= {name: own[name] for name in kept} | {
        "KAFKA_NEW_CLUSTER": CLUSTER,
        "KAFKA_LOG4J_OPTS": "",
        "KAFKA_PEERS": "",
    }
    running = node.start(**given)
    try:
        until(lambda: listens(node.port) or running.exited.is_set(), 120)
        assert not running.exited.is_set(), (node.folder / "console.log").read_text()[-3000:]
        Admin(secured.settings(ADMIN, f"{HOST}:{node.port}")).create("locked", 1, 1, {})
        assert "locked" not in Admin(secured.settings("nobody", f"{HOST}:{node.port}")).topics()
        assert "locked" not in Admin(KafkaSettings(bootstrap_servers=f"{HOST}:{plain}")).topics()  # nobody has a right
        assert noted(node.folder / "data" / "used", ADMIN)
        assert "locked" in Admin(secured.settings(ADMIN, f"{HOST}:{node.port}")).topics()
    finally:
        running.end(signal.SIGTERM, 60)
