"""A broker with locks on: certificates and users made on the spot, passwords that change while processes run, a group
that works on it end to end, and nothing on the wire that anybody can read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr
from wire import Wire
from workers import Cluster, cluster, variables

from streamapp import settings as settings_module
from streamapp.broker.broker import Broker
from streamapp.broker.secure import ADMIN, Secured
from streamapp.chaos.worker import WorkerProcess
from streamapp.cli import command
from streamapp.cli.reached import _ask
from streamapp.clock import monotonic_s, wall_ms
from streamapp.errors import Misconfigured, StreamError
from streamapp.kafka.acls import AccessAdmin, apply
from streamapp.kafka.admin import Admin
from streamapp.kafka.raw_producer import RawProducer
from streamapp.processes.child import HOST, free_port
from streamapp.settings import KafkaSettings
from streamapp.simulate.usage import HOUR_MS, UsageSpec, usage_stream

REAUTH_S = 4
SLACK_S = 2  # a busy machine, and what is under way
GATEWAY, BILLER = "llm-gateway", "billing-aggregator"


class Locked(NamedTuple):
    """A broker with locks on, reached by a wire on which somebody listens."""

    secured: Secured
    broker: Broker
    wire: Wire

    def settings(self, user: str) -> KafkaSettings:
        return self.secured.settings(user, f"{HOST}:{self.wire.port}")

    def keeping(self, user: str) -> KafkaSettings:
        """The settings of a process that never reads its password again."""
        password = SecretStr(self.secured.user(user).read_text())
        changes = {"sasl_password_file": None, "sasl_password": password, "delivery_timeout_seconds": 2.0}
        return self.settings(user).model_copy(update=changes)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[Locked]:
    secured, port = Secured(tmp_path_factory.mktemp("security"), cache_dir), free_port()
    wire = Wire(port)
    short = {
        "connections.max.reauth.ms": str(REAUTH_S * 1000),
        "advertised.listeners": f"SASL_SSL://{HOST}:{wire.port}",
    }
    try:
        with secured.broker(tmp_path_factory.mktemp("secured"), port=port, properties=short) as broker:
            yield Locked(secured, broker, wire)
    finally:
        wire.end()


@pytest.fixture
def rotate(locked: Locked, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`rotate("llm-gateway", "--finish")` → how the command ended."""
    for name, given in variables(locked.settings(ADMIN)).items():
        monkeypatch.setenv(name, given)
    settings_module.current.cache_clear()
    _ask.cache_clear()
    folder = str(locked.secured.users_dir.parent)
    return lambda *arguments: CliRunner().invoke(command, ["access", "rotate", "--dir", folder, *arguments])


def test_who_has_no_right_sees_and_does_nothing(locked: Locked) -> None:
    admin = Admin(locked.settings(ADMIN))
    admin.create("closed", 1, 1, {})
    nobody = locked.settings("nobody")
    assert "closed" in admin.topics()
    assert "closed" not in Admin(nobody).topics()
    with pytest.raises(Misconfigured, match="principal nobody lacks WRITE on topic closed"), RawProducer(nobody) as out:
        out.send("closed", b"k", b"v")
    listed = locked.broker.tool("org.apache.kafka.tools.TopicCommand", "--list")
    assert "closed" in listed.stdout.split(), listed


def test_passwords_are_held_as_salted_hashes(locked: Locked) -> None:
    file = locked.secured.user("someone")
    assert file.read_text() not in (locked.secured.users_dir / "someone").read_text()
    private = [file, locked.broker.data_dir / "server.properties", locked.secured.users_dir]
    assert [path.stat().st_mode & 0o077 for path in private] == [0, 0, 0]


class Rotation:
    """A gateway that sends and workers that bill, while their passwords change."""

    def __init__(self, locked: Locked, made: Cluster, rotate: Callable[..., Result]) -> None:
        self.locked, self.made, self.rotate = locked, made, rotate
        now_ms = wall_ms()
        spec = UsageSpec(now_ms - 12 * HOUR_MS, now_ms, 60_000, teams=20, late=0.03, duplicates=0.05, seed=3)
        self.events = iter(usage_stream(spec))
        self.old = locked.secured.user(GATEWAY).read_text()
        self.sent = 0

    def worker(self) -> WorkerProcess:
        """A billing worker with its own rights, that has taken its partitions over."""
        user = variables(self.locked.settings(BILLER))
        return self.made.start_ready(billing__idle_seconds=1, **user)

    def load(self, out: RawProducer, worker: WorkerProcess) -> None:
        """Some events. Fails when one of them is not taken, or when the worker has ended."""
        for event in (next(self.events) for _ in range(20)):
            out.send("llm_usage", event.key, event.value)
        out.flush()
        self.sent += 20
        assert worker.runs, worker.said()[-3000:]

    def dies(self, behind: RawProducer, out: RawProducer, worker: WorkerProcess) -> float:
        """Go on until one that keeps its old password is refused. Returns after how many seconds."""
        began_s = monotonic_s()
        while monotonic_s() < began_s + 4 * REAUTH_S:
            self.load(out, worker)
            try:
                behind.send("llm_usage", b"k", None)
                behind.flush()
            except StreamError:
                return monotonic_s() - began_s
        raise AssertionError("the old password lives")

    def finishes(self, user: str) -> bool:
        done = self.rotate(user, "--finish")
        assert done.exit_code == 0 or f"{user} logged in with the old password" in str(done.exception), done
        return done.exit_code == 0


def test_passwords_change_under_load(locked: Locked, rotate: Callable[..., Result], tmp_path: Path) -> None:
    with cluster(locked.broker, tmp_path, locked.settings(ADMIN)) as made:
        apply(AccessAdmin(locked.settings(ADMIN)))
        run = Rotation(locked, made, rotate)
        worker = run.worker()
        with RawProducer(locked.settings(GATEWAY)) as out, RawProducer(locked.keeping(GATEWAY)) as behind:
            run.load(out, worker)
            behind.send("llm_usage", b"k", None)
            behind.flush()
            for user in (GATEWAY, BILLER):
                assert rotate(user).exit_code == 0
                assert rotate(user).output.startswith("0 changes\n")
            while not run.finishes(BILLER):
                run.load(out, worker)
                behind.send("llm_usage", b"k", None)
                behind.flush()
            assert not run.finishes(GATEWAY), "somebody uses the old password"
            assert rotate(GATEWAY, "--finish", "--now").output.endswith("1 change\n")
            print(f"the old password was dead after {run.dies(behind, out, worker):.2f} s")
            behind._failed = 0  # told above
        made.drain(worker)
        made.wait(lambda: made.bills(), 60, worker)
        assert made.verify().ok
        assert len(worker.takeovers()) == 1
