"""TLS 1.3 and logins on a real broker, from every client; what disagrees is named in one sentence and is no outage."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import forked
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError
from confluent_kafka import KafkaError, KafkaException
from listeners import Listeners
from pydantic import SecretStr
from workers import refused_to_start, variables

from streamapp.capture.app import demand_topics
from streamapp.errors import Misconfigured, StreamError
from streamapp.exact.needs import topics_there
from streamapp.kafka.acls import AccessAdmin
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.clients.aio import aiokafka_config
from streamapp.kafka.clients.handshake import demand_agreement
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.groups import look
from streamapp.kafka.log.reader import read
from streamapp.kafka.produce.loop_producer import LoopProducer
from streamapp.kafka.produce.transacted import TransactedProducer
from streamapp.kafka.producer import EventProducer, RawProducer, UsageProducer
from streamapp.kafka.trouble import Right
from streamapp.processes.child import HOST, free_port
from streamapp.settings import KafkaSettings

NO_LOGIN = {"sasl_username": None, "sasl_password": None}
SSL = {**NO_LOGIN, "security_protocol": "SSL"}
PLAINTEXT = {**NO_LOGIN, "security_protocol": "PLAINTEXT"}
WRONG_PASSWORD = r"(Misconfigured|NotWritable): .*does not let us in .*STREAM_KAFKA__\w+.* password"
TOKENS = {"prompt_tokens": 150, "completion_tokens": 230, "total_tokens": 380}
CALL = {"model": "zen-72b", "provider": "together", "cost_usd": "0.0038", **TOKENS}
DISAGREEMENTS = [
    # listener, settings that differ, words
    ("OLD", {}, "does not speak TLS 1.3, which STREAM_KAFKA__SECURITY_PROTOCOL=SASL_SSL demands"),
    ("OLD", SSL, "does not speak TLS 1.3, which STREAM_KAFKA__SECURITY_PROTOCOL=SSL demands"),
    ("LOGIN", {"ssl_ca_file": None}, "not trusted here: STREAM_KAFKA__SSL_CA_FILE (not set"),
    ("ELSEWHERE", {}, "STREAM_KAFKA__BOOTSTRAP_SERVERS must name the broker as its certificate does"),
    ("EXPIRED", {}, "has expired: renew it at the broker, or its authority's in STREAM_KAFKA__SSL_CA_FILE"),
    ("PLAINTEXT", {}, "does not speak TLS, and STREAM_KAFKA__SECURITY_PROTOCOL is SASL_SSL"),
    ("PLAINTEXT", SSL, "does not speak TLS, and STREAM_KAFKA__SECURITY_PROTOCOL is SSL"),
    ("LOGIN", PLAINTEXT, "speaks TLS, and STREAM_KAFKA__SECURITY_PROTOCOL is PLAINTEXT: set it to SSL or SASL_SSL"),
    ("LOGIN", SSL, "wants a login, and STREAM_KAFKA__SECURITY_PROTOCOL is SSL: set it to SASL_SSL"),
    ("OPEN", {}, "knows no login, and STREAM_KAFKA__SECURITY_PROTOCOL is SASL_SSL: set it to SSL"),
    ("MUTUAL", SSL, "set STREAM_KAFKA__SSL_CERTIFICATE_FILE and STREAM_KAFKA__SSL_KEY_FILE"),
    ("SCRAM", {}, "offers the login SCRAM-SHA-512, not PLAIN"),
]


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path, formatted: Path) -> Iterator[Listeners]:
    made = Listeners(tmp_path_factory.mktemp("listeners"), cache_dir)
    shutil.copytree(formatted, made.broker.data_dir / formatted.name)
    with made.broker:
        yield made


def test_a_login_is_let_in_and_a_wrong_one_is_told_why(listeners: Listeners) -> None:
    right = listeners.settings("LOGIN")
    demand_agreement(right)
    Admin(right).create("secured", 1, 1, {})
    asyncio.run(write(right, "secured"))
    assert Admin(right).end_offsets([("secured", 0)]) == {("secured", 0): 1}

    wrong = right.model_copy(update={"sasl_password": SecretStr("guess")})
    demand_agreement(wrong)  # no secret is told before Kafka's own clients are asked
    with pytest.raises(Misconfigured, match=r"does not let us in.*password"):
        Admin(wrong, timeout_s=5).topics()


@pytest.mark.parametrize(("listener", "changes", "words"), DISAGREEMENTS)
def test_a_disagreement_is_named(listener: str, changes: dict[str, Any], words: str, listeners: Listeners) -> None:
    with pytest.raises(Misconfigured) as refused:
        demand_agreement(listeners.settings(listener, **changes))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("listener", "changes"), [("PLAINTEXT", PLAINTEXT), ("OPEN", SSL), ("LOGIN", {})])
def test_what_agrees_passes(listener: str, changes: dict[str, Any], listeners: Listeners) -> None:
    demand_agreement(listeners.settings(listener, **changes))


def test_one_broker_that_agrees_is_enough_and_one_that_is_away_is_not_judged(listeners: Listeners) -> None:
    old, new = listeners.settings("OLD"), listeners.settings("LOGIN")
    away = f"{HOST}:{free_port()}"
    both = ",".join((away, old.bootstrap_servers, new.bootstrap_servers))
    demand_agreement(new.model_copy(update={"bootstrap_servers": both}))
    demand_agreement(new.model_copy(update={"bootstrap_servers": away}))
    with pytest.raises(Misconfigured, match="does not speak TLS"):
        demand_agreement(new.model_copy(update={"bootstrap_servers": f"{away},{old.bootstrap_servers}"}))


def test_neither_client_speaks_an_older_tls(listeners: Listeners) -> None:
    old = listeners.settings("OLD")
    told: list[KafkaError] = []
    client = AdminClient({**confluent_config(old), "error_cb": told.append})
    with pytest.raises(KafkaException):
        client.list_topics(timeout=2)
    client.poll(0)  # delivers what it was told
    assert "handshake failure" in told[0].str()  # the code is _SSL, or _TRANSPORT where the answer was there at once

    # The listener is sound: without our list of suites the same client is let in, and over TLS 1.2.
    older = {name: value for name, value in confluent_config(old).items() if name != "ssl.cipher.suites"}
    assert AdminClient(older).list_topics(timeout=10).brokers

    async def connect() -> None:
        client = AIOKafkaClient(**aiokafka_config(old))
        try:
            await client.bootstrap()
        finally:
            await client.close()

    with pytest.raises(KafkaConnectionError):
        asyncio.run(connect())


def test_every_client_of_ours_names_tls_1_3(listeners: Listeners) -> None:
    old = listeners.settings("OLD")

    async def sent() -> None:
        async with EventProducer(old, topic="llm_usage", source="test"):
            pass

    def written() -> None:
        with RawProducer(old):
            pass

    for ask in (Admin(old, timeout_s=1).topics, lambda: look(old, ("g",), (), 1), lambda: asyncio.run(sent()), written):
        with pytest.raises(Misconfigured, match=r"does not speak TLS 1\.3"):
            ask()


def test_every_client_of_ours_names_a_wrong_password(listeners: Listeners) -> None:
    """In one sentence, and without the password."""
    wrong = listeners.settings("LOGIN", sasl_password=SecretStr("guessed"), delivery_timeout_seconds=10)

    async def captured() -> None:
        await demand_topics(LoopProducer(wrong, bytes_max=8 << 20, records_max=1000))

    async def sent() -> None:
        async with UsageProducer(wrong, source="test") as usage:
            await usage.send(team_id="team", data=CALL)

    def written() -> None:
        with RawProducer(wrong) as out:
            out.send("llm_usage", b"k", b"v")

    asks: dict[str, Callable[[], object]] = {
        "Admin": Admin(wrong, timeout_s=10).topics,
        "a worker": topics_there(wrong, [Right("READ", "topic", "llm_usage")]),
        "a look at groups": lambda: look(wrong, ("g",), (), 10),
        "a look at lists": AccessAdmin(wrong).acls,
        "a reader": lambda: [*read(confluent_config(wrong), "llm_usage")],
        "a transaction": lambda: TransactedProducer(wrong, "dead-letters-done").__enter__(),
        "capture": lambda: asyncio.run(captured()),
        "the producer of events": lambda: asyncio.run(sent()),
        "the producer of bytes": written,
    }

    def refused(ask: Callable[[], object]) -> str:
        try:
            return f"nothing is raised: {ask()!r}"
        except StreamError as error:
            return f"{type(error).__name__}: {error}"

    with ThreadPoolExecutor(len(asks)) as pool:  # each asks until its time is over
        told = dict(zip(asks, pool.map(refused, asks.values()), strict=True))
    assert {name: words for name, words in told.items() if not re.search(WRONG_PASSWORD, words)} == {}
    assert not [words for words in told.values() if "guessed" in words or "\n" in words]


def test_every_process_of_ours_ends_with_78(listeners: Listeners, tmp_path: Path) -> None:
    environment = {**variables(listeners.settings("OLD")), "STREAM_STATE_DIR": str(tmp_path / "state")}
    worker = forked.worker(tmp_path / "worker.log", {**environment, "STREAM_WEB__PORT": "0"})

    def ran(words: str) -> subprocess.CompletedProcess[str]:
        return forked.command(*words.split(), environment=environment)

    try:
        with ThreadPoolExecutor(3) as pool:
            for ended in pool.map(ran, ("topics plan", "capture", "reconcile", "watch", "registry")):
                assert ended.returncode == 78, ended
                assert "does not speak TLS 1.3" in ended.stderr
                assert ended.stderr.count("\n") == 1
        refused_to_start(worker, "does not speak TLS 1.3")
    finally:
        worker.kill()


async def write(kafka: KafkaSettings, topic: str) -> None:
    async with AIOKafkaProducer(**aiokafka_config(kafka)) as producer:
        await producer.send_and_wait(topic, b"x")
