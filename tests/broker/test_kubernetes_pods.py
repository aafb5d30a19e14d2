"""The manifests' containers run: their commands, variables and mounts, on a broker with locks on."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from locked import Locked
from pods import Pod, asked, token_of

from streamapp.access.wanted import principals
from streamapp.broker.secure import ADMIN
from streamapp.processes.child import free_port

pytest_plugins = ("locked_fixtures",)
PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT / "tests" / "kubernetes"))
from manifests import Manifest, one, overlay  # noqa: E402

KINDS = {"capture": "Deployment", "watch": "Deployment", "billing-agg": "StatefulSet", "access": "Job", "topics": "Job"}


def secrets(secured: Locked, folder: Path) -> dict[str, dict[str, str]]:
    """What a key management system holds."""
    made = {f"kafka-{name}": {"password": secured.made.user(name).read_text()}
            for name in (*(each.name for each in principals()), ADMIN)}  # fmt: skip
    return made | {
        "kafka-ca": {"ca.crt": secured.made.ca_file.read_text(), "tls.key": "the authority's key is mounted nowhere"},
        "stream-pages": {"tokens": (PROJECT / "deploy" / "tokens").read_text(), "peers": "of-these-workers-alone\n"},
        "stream-directory": {"directory.toml": (PROJECT / "deploy" / "directory.toml").read_text()},
        "stream-stores": {"STREAM_LEDGER_URL": f"sqlite:///{folder / 'ledger.db'}"},
    }


class Cluster:
    """Pods of the overlay of one broker, on a broker that runs here."""

    def __init__(self, secured: Locked, folder: Path) -> None:
        self.manifests: list[Manifest] = overlay("one-broker")
        self.settings: dict[str, str] = one(self.manifests, "ConfigMap", "stream-settings")["data"]
        self.network = {"insights-kafka:9093": secured.broker.bootstrap}
        self.secrets, self.folder, self.pods = secrets(secured, folder), folder, list[Pod]()

    def pod(self, name: str, **ports: int) -> Pod:
        manifest: dict[str, Any] = one(self.manifests, KINDS[name], name)
        self.pods.append(Pod(manifest, self.settings, self.folder, self.secrets, self.network, ports))
        return self.pods[-1]

    def end(self) -> None:
        for pod in self.pods:
            if pod.child is not None:
                pod.child.end(signal.SIGKILL, 10)


@pytest.fixture
def cluster(secured: Locked, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(secured, tmp_path)
    try:
        yield made
    finally:
        made.end()


def test_what_the_manifests_say_runs_on_a_broker_with_locks_on(cluster: Cluster) -> None:
    for name in ("access", "topics"):
        cluster.pod(name).run()
    monitor = [free_port() for _ in range(3)]
    numbers = {"STREAM_CAPTURE__PORT": free_port(), "STREAM_WATCH__PORT": free_port(), "STREAM_WEB__PORT": free_port()}
    pods = {}
    for (variable, port), own, name in zip(numbers.items(), monitor, ("capture", "watch", "billing-agg"), strict=True):
        pods[name] = cluster.pod(name, **{variable: port, "STREAM_WEB__MONITOR_PORT": own}), port, own
        pods[name][0].start()
    for pod, port, _ in pods.values():
        pod.await_ready(port)

    event = {"api_key": token_of(PROJECT / "deploy" / "directory.toml"), "event": "seen", "distinct_id": "u1"}
    status, body = asked(pods["capture"][1], "/e", json.dumps(event).encode())
    assert (status, json.loads(body)) == (200, {"status": 1})
    assert asked(pods["billing-agg"][1], "/usage")[0] == 401  # pages ask for a token
    for name, metric in (("capture", b"stream_capture_"), ("watch", b"stream_watch_"), ("billing-agg", b"stream_")):
        status, body = asked(pods[name][2], "/metrics")
        assert (status, metric in body) == (200, True), f"{name}: {pods[name][0].said()}"
    for name, (pod, _, _) in pods.items():
        assert pod.child is not None
        os.kill(pod.child.pid, signal.SIGTERM)
        assert pod.child.exited.wait(60), f"{name}: {pod.said()}"
