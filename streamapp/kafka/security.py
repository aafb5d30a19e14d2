"""Settings → what each Kafka client calls them. Credentials travel over TLS 1.3 only (the standard's Encryption)."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from streamapp.errors import Misconfigured
from streamapp.settings import KafkaSettings

NOTHING_BEFORE_TLS_1_3 = "PSK-AES128-GCM-SHA256"
"""librdkafka (2.16.1) has no setting for the oldest version of TLS. Its list of cipher suites is OpenSSL's for TLS 1.2
and older; those of TLS 1.3 are on a list of their own. This suite wants a key that both sides share, and a client
without such a key does not offer it: a handshake over TLS 1.2 has nothing to agree on, and fails."""


def confluent_config(kafka: KafkaSettings) -> dict[str, Any]:
    """Connection settings for confluent-kafka clients. Raises `Misconfigured` where settings contradict each other."""
    _check(kafka)
    config: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol,
        "log_level": 0,  # librdkafka would write each failed connection to stderr; errors say it once
    }
    if kafka.security_protocol != "PLAINTEXT":
        config["ssl.cipher.suites"] = NOTHING_BEFORE_TLS_1_3
    if kafka.ssl_ca_file is not None:
        config["ssl.ca.location"] = str(kafka.ssl_ca_file)
    if kafka.sasl_username is not None and kafka.sasl_password is not None:
        config["sasl.mechanism"] = "PLAIN"
        config["sasl.username"] = kafka.sasl_username
        config["sasl.password"] = kafka.sasl_password.get_secret_value()
    return config


def aiokafka_config(kafka: KafkaSettings) -> dict[str, Any]:
    """The same as keyword arguments of aiokafka's clients. Raises `Misconfigured`."""
    _check(kafka)
    config: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol != "PLAINTEXT":
        config["ssl_context"] = ssl_context(kafka)
    if kafka.sasl_username is not None and kafka.sasl_password is not None:
        config["sasl_mechanism"] = "PLAIN"
        config["sasl_plain_username"] = kafka.sasl_username
        config["sasl_plain_password"] = kafka.sasl_password.get_secret_value()
    return config


def same_for_aiokafka(config: Mapping[str, Any]) -> dict[str, Any]:
    """Where `confluent_config` leads, as keyword arguments of aiokafka's clients; what else is in it is left out."""
    password = config.get("sasl.password")
    ca_file = config.get("ssl.ca.location")
    return aiokafka_config(
        KafkaSettings(
            bootstrap_servers=config["bootstrap.servers"],
            security_protocol=config.get("security.protocol", "PLAINTEXT"),
            sasl_username=config.get("sasl.username"),
            sasl_password=None if password is None else SecretStr(password),
            ssl_ca_file=None if ca_file is None else Path(ca_file),
        )
    )


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """TLS 1.3, the broker's name and certificate checked against the CA file or the system's authorities."""
    try:
        context = ssl.create_default_context(cafile=None if kafka.ssl_ca_file is None else str(kafka.ssl_ca_file))
    except ssl.SSLError as error:
        raise Misconfigured(f"STREAM_KAFKA__SSL_CA_FILE={kafka.ssl_ca_file} is not a PEM file: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def _check(kafka: KafkaSettings) -> None:
    sasl = kafka.security_protocol == "SASL_SSL"
    problems = []
    if not sasl and (kafka.sasl_username is not None or kafka.sasl_password is not None):
        problems.append(
            f"a user name or password is set, but STREAM_KAFKA__SECURITY_PROTOCOL is {kafka.security_protocol}: "
            "credentials need SASL_SSL"
        )
    if sasl and (not kafka.sasl_username or kafka.sasl_password is None):
        problems.append("SASL_SSL needs STREAM_KAFKA__SASL_USERNAME and STREAM_KAFKA__SASL_PASSWORD")
    if kafka.ssl_ca_file is not None and not kafka.ssl_ca_file.is_file():
        problems.append(f"STREAM_KAFKA__SSL_CA_FILE={kafka.ssl_ca_file} is not a file")
    if problems:
        raise Misconfigured("; ".join(problems))
