"""TLS 1.3 and logins on a real broker, from every client; what disagrees is named in one sentence and is no outage."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from listeners import Listeners
from pydantic import SecretStr
from workers import refused_to_start, variables

from streamapp.chaos.worker import WorkerProcess
from streamapp.errors import Misconfigured
from streamapp.kafka.admin import Admin
from streamapp.kafka.groups import look
from streamapp.kafka.handshake import demand_agreement
from streamapp.kafka.producer import EventProducer, RawProducer
from streamapp.kafka.security import aiokafka_config, confluent_config
from streamapp.processes.child import HOST, free_port
from streamapp.settings import KafkaSettings

NO_LOGIN = {"sasl_username": None, "sasl_password": None}
SSL = {**NO_LOGIN, "security_protocol": "SSL"}
PLAINTEXT = {**NO_LOGIN, "security_protocol": "PLAINTEXT"}
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
def listeners(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[Listeners]:
    made = Listeners(tmp_path_factory.mktemp("listeners"), cache_dir)
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
    assert told[0].code() == KafkaError._SSL

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


def test_every_process_of_ours_ends_with_78(listeners: Listeners, tmp_path: Path) -> None:
    environment = {**variables(listeners.settings("OLD")), "STREAM_STATE_DIR": str(tmp_path / "state")}
    worker = WorkerProcess(tmp_path / "worker.log", {**environment, "STREAM_WEB__PORT": "0"})

    def ran(words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "streamapp", *words.split()]
        return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=120)

    try:
        with ThreadPoolExecutor(3) as pool:
            for ended in pool.map(ran, ("topics plan", "capture", "reconcile", "watch")):
                assert ended.returncode == 78, ended
                assert "does not speak TLS 1.3" in ended.stderr
                assert ended.stderr.count("\n") == 1
        refused_to_start(worker, "does not speak TLS 1.3")
    finally:
        worker.kill()


async def write(kafka: KafkaSettings, topic: str) -> None:
    async with AIOKafkaProducer(**aiokafka_config(kafka)) as producer:
        await producer.send_and_wait(topic, b"x")
