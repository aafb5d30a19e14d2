"""Connection settings become what each client calls them; contradictions are named."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from streamapp.errors import Misconfigured
from streamapp.kafka.security import NOTHING_BEFORE_TLS_1_3, aiokafka_config, confluent_config
from streamapp.settings import KafkaSettings

LOGIN = KafkaSettings(
    bootstrap_servers="kafka:9093", security_protocol="SASL_SSL", sasl_username="iam", sasl_password=SecretStr("pw")
)


def test_plaintext_is_an_address_only() -> None:
    kafka = KafkaSettings(bootstrap_servers="a:1,b:2")
    assert confluent_config(kafka) == {"bootstrap.servers": "a:1,b:2", "security.protocol": "PLAINTEXT", "log_level": 0}
    assert aiokafka_config(kafka) == {"bootstrap_servers": "a:1,b:2", "security_protocol": "PLAINTEXT"}


def test_a_login_goes_over_tls_1_3() -> None:
    config = aiokafka_config(LOGIN)
    context = config.pop("ssl_context")
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert config == {
        "bootstrap_servers": "kafka:9093",
        "security_protocol": "SASL_SSL",
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
        ({"ssl_ca_file": Path("nowhere.pem")}, "SSL_CA_FILE"),
    ],
)
def test_contradictions_are_misconfigured(change: dict[str, object], names: str) -> None:
    kafka = LOGIN.model_copy(update=change)
    with pytest.raises(Misconfigured, match=f"STREAM_KAFKA__{names}"):
        confluent_config(kafka)
    with pytest.raises(Misconfigured, match=f"STREAM_KAFKA__{names}"):
        aiokafka_config(kafka)


def test_a_ca_file_that_is_none_is_misconfigured(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(Misconfigured, match="not a PEM file"):
        aiokafka_config(LOGIN.model_copy(update={"ssl_ca_file": tmp_path / "ca.pem"}))
