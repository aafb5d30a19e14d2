"""A broker with locks on: certificates and users made on the spot, passwords that change while processes run, a group
that works on it end to end, and nothing on the wire that anybody can read."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError as ClientError
from click.testing import CliRunner, Result
from pydantic import SecretStr
from spilled import Watched, secrets_below, spilled
from wire import Wire
from workers import Cluster, cluster, variables

from streamapp import settings as settings_module
from streamapp.access.acl import USER, Acl
from streamapp.access.passwords import SINCE, noted
from streamapp.broker.broker import Broker
from streamapp.broker.secure import ADMIN, Secured
from streamapp.chaos.worker import WorkerProcess
from streamapp.cli import command
from streamapp.cli.reached import _ask
from streamapp.clock import monotonic_s, wall_ms
from streamapp.errors import Misconfigured, StreamError
from streamapp.kafka.acls import AccessAdmin, apply
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.aio import aiokafka_config
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import read
from streamapp.kafka.produce.raw_producer import RawProducer
from streamapp.processes.child import HOST, free_port
from streamapp.settings import KafkaSettings
from streamapp.simulate.usage import HOUR_MS, UsageSpec, usage_stream

REAUTH_S = 4
SLACK_S = 2  # a busy machine, and what is under way
PRIVATE = ("server.properties", "tools.properties")  # of the broker, which must know its own password
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
    for name, given in variables(locked.settings("reconciler")).items():
        monkeypatch.setenv(name, given)
    settings_module.current.cache_clear()
    _ask.cache_clear()

    def ran(*arguments: str) -> Result:
        done = CliRunner().invoke(command, ["access", "rotate", "--dir", str(locked.secured.folder), *arguments])
        told = f"{done.output}{done.exception!r}".encode()
        assert not [secret for secret in secrets_below(locked.secured.folder) if secret in told]
        return done

    return ran


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
    assert spilled([file.read_bytes()], locked.secured.folder, locked.broker.data_dir) == [str(file)]


def test_where_a_login_could_not_be_noted_the_notes_begin_anew(locked: Locked) -> None:
    used, aside = locked.secured.folder / "used", locked.secured.folder / "aside"

    def log_in() -> dict[str, int]:
        Admin(locked.settings("somebody")).topics()
        return dict(noted(used, "somebody"))

    first, second = log_in(), log_in()
    (salt,) = first.keys() - {SINCE}
    assert first[SINCE] == second[SINCE] <= first[salt] < second[salt]
    used.rename(aside)
    try:
        assert log_in() == {}  # let in all the same
    finally:
        aside.rename(used)
    assert log_in()[SINCE] > second[salt]


@pytest.mark.parametrize("listener", ["SASL_SSL", "CONTROLLER"])
def test_every_listener_refuses_an_older_tls(listener: str, locked: Locked) -> None:
    properties = (locked.broker.data_dir / "server.properties").read_text()
    port = re.search(rf"^listeners=.*{listener}://{HOST}:([0-9]+)", properties, re.MULTILINE)
    assert port is not None
    for newest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cafile=str(locked.secured.ca_file))
        context.maximum_version = newest
        with socket.create_connection((HOST, int(port[1])), 10) as plain:
            if newest is ssl.TLSVersion.TLSv1_2:
                with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                    context.wrap_socket(plain, server_hostname=HOST)
            else:
                context.wrap_socket(plain, server_hostname=HOST).close()


def test_who_listens_on_the_wire_reads_nothing(locked: Locked, broker: Broker) -> None:
    Admin(locked.settings(ADMIN)).create("confided", 1, 1, {})
    with RawProducer(locked.settings(ADMIN)) as out:
        out.send("confided", b"team_confided", b"the words of an event")
    (record,) = read(confluent_config(locked.settings(ADMIN)), "confided")
    assert record.value == b"the words of an event"
    words = [
        b"rdkafka",
        b"confided",
        b"the words",
        b"llm_usage",
        GATEWAY.encode(),
        *secrets_below(locked.secured.folder),
    ]
    heard = locked.wire.heard
    assert len(heard) > 10_000
    assert not [word for word in words if word in heard]

    plain = Wire(broker.port)
    try:
        Admin(KafkaSettings(bootstrap_servers=f"{HOST}:{plain.port}")).topics()
        assert b"rdkafka" in plain.heard  # without TLS the first word of every client is there
    finally:
        plain.end()


def test_who_is_locked_out_is_cut_off_within_the_time_of_a_session(locked: Locked) -> None:
    """A producer of librdkafka's and one of aiokafka's, both connected as their user's file is removed."""
    Admin(locked.settings(ADMIN)).create("left", 1, 1, {})
    own = [Acl(f"{USER}leaver", "topic", "left", "WRITE")]
    AccessAdmin(locked.settings(ADMIN)).add(own)
    AccessAdmin(locked.settings(ADMIN)).await_in_force(own)
    kafka = locked.settings("leaver").model_copy(update={"delivery_timeout_seconds": 2.0})

    async def sent() -> tuple[float, float]:
        with RawProducer(kafka) as first:
            async with AIOKafkaProducer(**aiokafka_config(kafka), request_timeout_ms=2000) as second:

                async def by_librdkafka() -> None:
                    first.send("left", b"k", b"v")
                    await asyncio.to_thread(first.flush)

                async def by_aiokafka() -> None:
                    await second.send_and_wait("left", b"v")

                await by_librdkafka()
                await by_aiokafka()
                (locked.secured.users_dir / "leaver").unlink()
                ended = await asyncio.gather(last_taken(by_librdkafka), last_taken(by_aiokafka))
                first._failed = 0  # told above
                return ended

    for client, ended_s in zip(("librdkafka", "aiokafka"), asyncio.run(sent()), strict=True):
        print(f"{client}: the last record was taken {ended_s:.2f} s after; sessions live {REAUTH_S} s")
        assert ended_s < REAUTH_S + SLACK_S


async def last_taken(send: Callable[[], Awaitable[None]]) -> float:
    """Send until it fails. Returns after how many seconds the last record was taken."""
    began_s = taken_s = monotonic_s()
    while True:
        try:
            await send()
        except (StreamError, ClientError):
            return taken_s - began_s
        taken_s = monotonic_s()


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
        for event in (next(self.events) for _ in range(500)):
            out.send("llm_usage", event.key, event.value)
        out.flush()
        self.sent += 500
        assert worker.runs, worker.said()[-3000:]

    def dies(self, behind: RawProducer, out: RawProducer, worker: WorkerProcess) -> float:
        """Go on until one that keeps its old password is refused. Returns after how many seconds the last record was
        taken."""
        began_s = taken_s = monotonic_s()
        while monotonic_s() < began_s + 4 * REAUTH_S:
            self.load(out, worker)
            try:
                behind.send("llm_usage", b"k", None)
                behind.flush()
            except StreamError:
                return taken_s - began_s
            taken_s = monotonic_s()
        raise AssertionError("the old password lives")

    def finishes(self, user: str) -> bool:
        done = self.rotate(user, "--finish")
        assert done.exit_code == 0 or f"{user} logged in with the old password" in str(done.exception), done
        return done.exit_code == 0


@pytest.mark.long
def test_passwords_change_under_load(locked: Locked, rotate: Callable[..., Result], tmp_path: Path) -> None:
    """Nothing fails, nothing is lost, and no password is seen anywhere meanwhile."""
    secrets = {*secrets_below(locked.secured.folder)}

    def every_secret() -> set[bytes]:
        secrets.update(secrets_below(locked.secured.folder))
        return secrets

    with Watched(every_secret) as watched, cluster(locked.broker, tmp_path, locked.settings(ADMIN)) as made:
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
            ended_s = run.dies(behind, out, worker)
            print(f"the last record with the old password was taken {ended_s:.2f} s after; sessions live {REAUTH_S} s")
            assert ended_s < REAUTH_S + SLACK_S
            behind._failed = 0  # told above
        made.drain(worker)
        made.wait(lambda: made.bills(), 60, worker)
        assert made.verify().ok
        assert len(worker.takeovers()) == 1
        print(f"{run.sent:,} events through both rotations: none failed, none lost")
    assert watched.looks > 10
    assert not watched.places
    assert not spilled(every_secret(), tmp_path, locked.broker.data_dir, apart_from=PRIVATE)
