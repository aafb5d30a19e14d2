"""A broker with locks on: certificates and users made on the spot, passwords that change while processes run, a group
that works on it end to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import SecretStr
from workers import Sent, cluster

from streamapp.broker import users
from streamapp.broker.broker import Broker
from streamapp.broker.secure import ADMIN, Secured
from streamapp.clock import monotonic_s, wall_ms
from streamapp.errors import Misconfigured, Refused, StreamError
from streamapp.kafka.admin import Admin
from streamapp.kafka.raw_producer import RawProducer
from streamapp.simulate.usage import HOUR_MS, UsageSpec, usage_stream

REAUTH_S = 6
GATEWAY = "llm-gateway"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Secured:
    return Secured(tmp_path_factory.mktemp("security"), cache_dir)


@pytest.fixture(scope="module")
def running(secured: Secured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    short = {"connections.max.reauth.ms": str(REAUTH_S * 1000), "super.users": f"User:broker;User:admin;User:{GATEWAY}"}
    with secured.broker(tmp_path_factory.mktemp("secured"), properties=short) as broker:
        yield broker


def test_who_has_no_right_sees_and_does_nothing(secured: Secured, running: Broker) -> None:
    admin = Admin(secured.settings(ADMIN, running.bootstrap))
    admin.create("closed", 1, 1, {})
    nobody = secured.settings("nobody", running.bootstrap)
    assert "closed" in admin.topics()
    assert "closed" not in Admin(nobody).topics()
    with pytest.raises(Misconfigured, match="principal nobody lacks WRITE on topic closed"), RawProducer(nobody) as out:
        out.send("closed", b"k", b"v")
    listed = running.tool("org.apache.kafka.tools.TopicCommand", "--list")
    assert "closed" in listed.stdout.split(), listed


def test_passwords_are_held_as_salted_hashes(secured: Secured, running: Broker) -> None:
    file = secured.user("someone")
    assert file.read_text() not in (secured.users_dir / "someone").read_text()
    assert users.line_of("same") != users.line_of("same")
    assert file.stat().st_mode & 0o077 == (running.data_dir / "server.properties").stat().st_mode & 0o077 == 0
    for name in ("../someone", ".hidden", "", "a" * 65, "a/b"):
        with pytest.raises(Refused):
            users.accept(secured.users_dir, name, users.line_of("x"))
    with pytest.raises(Refused):
        users.accept(secured.users_dir, "someone", *map(users.line_of, "abc"))


def test_a_password_changes_while_producers_send(secured: Secured, running: Broker, until: Callable[..., None]) -> None:
    """Both are accepted, then the new one alone. Nothing fails, and the old one is dead within the time of
    `connections.max.reauth.ms`: on connections that live, too."""
    Admin(secured.settings(ADMIN, running.bootstrap)).create("sent", 1, 1, {})
    kafka = secured.settings(GATEWAY, running.bootstrap)
    file = secured.user(GATEWAY)
    old, new = file.read_text(), "the-next-one"
    keeps = {"sasl_password_file": None, "sasl_password": SecretStr(old), "delivery_timeout_seconds": 2 * REAUTH_S}
    with RawProducer(kafka) as out, RawProducer(kafka.model_copy(update=keeps)) as behind:

        def both_send() -> bool:
            """Whether the one that keeps the old password is still let in; the other one always is."""
            out.send("sent", b"k", b"v")
            out.flush()
            behind.send("sent", b"k", b"v")
            with suppress(StreamError):
                behind.flush()
                return True
            return False

        assert both_send()
        users.accept(secured.users_dir, GATEWAY, users.line_of(old), users.line_of(new))
        assert both_send()
        file.write_text(new)
        users.accept(secured.users_dir, GATEWAY, users.line_of(new))
        until(lambda: not both_send(), 30)
        began_s = monotonic_s()
        while monotonic_s() < began_s + 2 * REAUTH_S:  # its connection is closed twice meanwhile
            out.send("sent", b"k", b"v")
            out.flush()
        behind._failed = 0  # told above


def test_a_group_works_on_it(secured: Secured, running: Broker, tmp_path: Path) -> None:
    with cluster(running, tmp_path, secured.settings(ADMIN, running.bootstrap)) as made:
        now_ms = wall_ms()
        spec = UsageSpec(now_ms - 12 * HOUR_MS, now_ms, 3_000, teams=20, late=0.03, duplicates=0.05, seed=3)
        made.send(Sent(record.key, record.value) for record in usage_stream(spec))
        worker = made.start_ready(billing__idle_seconds=1)
        made.drain(worker)
        made.wait(lambda: made.bills(), 60, worker)
        assert made.verify().ok
