"""Connection settings become what each client calls them; contradictions are named."""

from __future__ import annotations

import asyncio
import ssl
import threading
import weakref
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
from aiokafka import conn
from conftest import wait_until
from pydantic import SecretStr

from streamapp.errors import Misconfigured
from streamapp.kafka.clients.aio import METADATA_MS, aiokafka_config
from streamapp.kafka.clients.login import connected
from streamapp.kafka.clients.security import NOTHING_BEFORE_TLS_1_3, confluent_config
from streamapp.settings import KafkaSettings

LOGIN = KafkaSettings(
    bootstrap_servers="kafka:9093", security_protocol="SASL_SSL", sasl_username="iam", sasl_password=SecretStr("pw")
)


def test_plaintext_is_an_address_only() -> None:
    kafka = KafkaSettings(bootstrap_servers="127.0.0.1:1,[::1]:2")
    servers = kafka.bootstrap_servers
    assert confluent_config(kafka) == {"bootstrap.servers": servers, "security.protocol": "PLAINTEXT", "log_level": 0}
    own = {"bootstrap_servers": servers, "security_protocol": "PLAINTEXT"}
    assert aiokafka_config(kafka) == {**own, "metadata_max_age_ms": METADATA_MS}


@pytest.mark.parametrize("servers", ["kafka:9092", "10.0.0.1:9092", "localhost:9092,kafka:9092", "[fe80::1]:9092"])
def test_plaintext_leaves_this_host_with_leave_only(servers: str) -> None:
    kafka = KafkaSettings(bootstrap_servers=servers)
    for config in (confluent_config, aiokafka_config):
        with pytest.raises(
            Misconfigured, match=r"unencrypted to \S+: set .*SASL_SSL, or STREAM_KAFKA__ALLOW_PLAINTEXT"
        ):
            config(kafka)
        config(kafka.model_copy(update={"allow_plaintext": True}))


@pytest.mark.parametrize("server", ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "kafka.localhost:1"])
def test_plaintext_on_loopback_needs_no_leave(server: str) -> None:
    assert confluent_config(KafkaSettings(bootstrap_servers=server))["bootstrap.servers"] == server


def test_a_password_of_a_file_is_read_at_every_login(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    kafka = LOGIN.model_copy(update={"sasl_password": None, "sasl_password_file": file})
    held = aiokafka_config(kafka)["sasl_plain_password"]

    def sent() -> bytes:
        async def asked() -> bytes:
            login = {"sasl_plain_username": "iam", "sasl_plain_password": held, "sasl_mechanism": "PLAIN"}
            connection = conn.AIOKafkaConnection("127.0.0.1", 1, security_protocol="SASL_SSL", **login)
            words, _ = await connection.authenticator_plain().step(None)
            return bytes(words)

        return asyncio.run(asked())

    assert sent() == b"iam\0iam\0first"
    file.write_text("second")
    assert sent() == b"iam\0iam\0second"
    assert confluent_config(kafka)["sasl.password"] == "second"
    file.unlink()
    assert sent() == b"iam\0iam\0first"  # mounted secrets are away for a moment while they change
    with pytest.raises(Misconfigured, match="STREAM_KAFKA__SASL_PASSWORD_FILE"):
        confluent_config(kafka)
    file.write_text("\n")
    with pytest.raises(Misconfigured, match="is empty"):
        aiokafka_config(kafka)


def test_librdkafka_is_told_a_new_password_as_soon_as_its_file_has_it(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first")
    config = confluent_config(LOGIN.model_copy(update={"sasl_password": None, "sasl_password_file": file}))
    given: Queue[tuple[str, str]] = Queue()

    class Client:
        def __init__(self, config: dict[str, Any]) -> None:
            self.config, self.closed = config, False

        def set_sasl_credentials(self, user: str, password: str) -> None:
            assert threading.current_thread() is not threading.main_thread()
            if self.closed:
                raise RuntimeError("Handle has been closed")
            given.put((user, password))

    file.write_text("second")  # settings are read once; clients are made all the time
    closed, client = connected(Client, config), connected(Client, config)
    assert client.config["sasl.password"] == "second"
    closed.closed = True
    file.write_text("third")
    assert given.get(timeout=10) == ("iam", "third")
    gone = weakref.ref(client)
    del client
    wait_until(lambda: gone() is None)
    file.write_text("fourth")
    other = connected(Client, config)
    assert other.config["sasl.password"] == "fourth"
    assert given.empty()


def test_a_login_goes_over_tls_1_3() -> None:
    config = aiokafka_config(LOGIN)
    context = config.pop("ssl_context")
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert config == {
        "bootstrap_servers": "kafka:9093",
        "security_protocol": "SASL_SSL",
        "metadata_max_age_ms": METADATA_MS,
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "iam",
        "sasl_plain_password": "pw",
    }
    assert confluent_config(LOGIN) == {
        "bootstrap.servers": "kafka:9093",
        "log_level": 0,
        "security.protocol": "SASL_SSL",
        "ssl.cipher.suites": NOTHING_BEFORE_TLS_1_3,
        "sasl.mechanism": "PLAIN",
        "sasl.username": "iam",
        "sasl.password": "pw",
    }


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"security_protocol": "PLAINTEXT"}, "SECURITY_PROTOCOL"),
        ({"security_protocol": "SSL"}, "SECURITY_PROTOCOL"),
        ({"sasl_username": None}, "SASL_USERNAME"),
        ({"sasl_password": None}, "SASL_PASSWORD"),
        ({"sasl_password_file": Path("/dev/null")}, "SASL_PASSWORD and STREAM_KAFKA__SASL_PASSWORD_FILE are both"),
        ({"ssl_ca_file": Path("nowhere.pem")}, "SSL_CA_FILE"),
        ({"ssl_certificate_file": Path(__file__)}, "SSL_CERTIFICATE_FILE and STREAM_KAFKA__SSL_KEY_FILE"),
        ({"ssl_key_file": Path("nowhere.pem"), "ssl_certificate_file": Path(__file__)}, "SSL_KEY_FILE"),
    ],
)
def test_contradictions_are_misconfigured(change: dict[str, object], names: str) -> None:
    kafka = LOGIN.model_copy(update=change)
    with pytest.raises(Misconfigured, match=f"STREAM_KAFKA__{names}"):
        confluent_config(kafka)
    with pytest.raises(Misconfigured, match=f"STREAM_KAFKA__{names}"):
        aiokafka_config(kafka)


def test_a_certificate_that_is_none_is_misconfigured(tmp_path: Path) -> None:
    (tmp_path / "own.pem").write_text("neither a certificate nor a key")
    mine = {"ssl_certificate_file": tmp_path / "own.pem", "ssl_key_file": tmp_path / "own.pem"}
    with pytest.raises(Misconfigured, match="are not a certificate and its key"):
        aiokafka_config(LOGIN.model_copy(update=mine))
    assert confluent_config(LOGIN.model_copy(update=mine))["ssl.key.location"] == str(tmp_path / "own.pem")


def test_a_ca_file_that_is_none_is_misconfigured(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(Misconfigured, match="not a PEM file"):
        aiokafka_config(LOGIN.model_copy(update={"ssl_ca_file": tmp_path / "ca.pem"}))
