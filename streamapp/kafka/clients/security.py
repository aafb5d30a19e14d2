"""Settings → what librdkafka calls them (aiokafka: `aio.py`). Credentials travel over TLS 1.3 only: the standard's
Encryption."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

from streamapp.errors import Misconfigured
from streamapp.kafka.clients.login import FilePassword
from streamapp.loopback import is_loopback
from streamapp.settings import KafkaSettings

NOTHING_BEFORE_TLS_1_3 = "PSK-AES128-GCM-SHA256"
"""librdkafka (2.16.1) has no setting for the oldest version of TLS. Its list of cipher suites is OpenSSL's for TLS 1.2
and older; those of TLS 1.3 are on a list of their own. This suite wants a key that both sides share, and a client
without such a key does not offer it: a handshake over TLS 1.2 has nothing to agree on, and fails."""


SSL_FILES = (  # librdkafka's name, ours
    ("ssl.ca.location", "ssl_ca_file"),
    ("ssl.certificate.location", "ssl_certificate_file"),
    ("ssl.key.location", "ssl_key_file"),
)


def confluent_config(kafka: KafkaSettings) -> dict[str, Any]:
    """Connection settings for confluent-kafka clients. Raises `Misconfigured` where settings contradict each other."""
    check(kafka)
    config: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap_servers,
        "security.protocol": kafka.security_protocol,
        "log_level": 0,  # librdkafka would write each failed connection to stderr; errors say it once
    }
    if kafka.security_protocol != "PLAINTEXT":
        config["ssl.cipher.suites"] = NOTHING_BEFORE_TLS_1_3
        config |= {name: str(file) for name, field in SSL_FILES if (file := getattr(kafka, field)) is not None}
        if kafka.ssl_key_password is not None:
            config["ssl.key.password"] = kafka.ssl_key_password.get_secret_value()
    if kafka.sasl_username is not None:
        config["sasl.mechanism"] = "PLAIN"
        config["sasl.username"] = kafka.sasl_username
        config["sasl.password"] = password(kafka)
    return config


def password(kafka: KafkaSettings) -> str:
    """The SASL password; of a file, as it is now. Raises `Misconfigured`."""
    if kafka.sasl_password_file is not None:
        return FilePassword(kafka.sasl_password_file)
    assert kafka.sasl_password is not None, "checked before"
    return kafka.sasl_password.get_secret_value()


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """TLS 1.3, the broker's name and certificate checked against the CA file or the system's authorities; our own
    certificate where there is one. Raises `Misconfigured`."""
    try:
        context = ssl.create_default_context(cafile=None if kafka.ssl_ca_file is None else str(kafka.ssl_ca_file))
    except ssl.SSLError as error:
        raise Misconfigured(f"STREAM_KAFKA__SSL_CA_FILE={kafka.ssl_ca_file} is not a PEM file: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if kafka.ssl_certificate_file is not None:
        secret = kafka.ssl_key_password
        key_password = "" if secret is None else secret.get_secret_value()  # None would ask the terminal
        try:
            context.load_cert_chain(kafka.ssl_certificate_file, kafka.ssl_key_file, key_password)
        except (ssl.SSLError, OSError) as error:
            raise Misconfigured(
                f"STREAM_KAFKA__SSL_CERTIFICATE_FILE={kafka.ssl_certificate_file} and STREAM_KAFKA__SSL_KEY_FILE="
                f"{kafka.ssl_key_file} are not a certificate and its key, or STREAM_KAFKA__SSL_KEY_PASSWORD does not "
                f"open it: {error}"
            ) from None
    return context


def check(kafka: KafkaSettings) -> None:
    """Raises `Misconfigured` where settings contradict each other."""
    problems = [*_about_login(kafka), *_about_files(kafka)]
    if kafka.security_protocol == "PLAINTEXT" and not kafka.allow_plaintext:
        away = [server for server in kafka.bootstrap_servers.split(",") if not _is_here(server)]
        if away:
            problems.append(
                f"PLAINTEXT would send events unencrypted to {away[0].strip()}: set STREAM_KAFKA__SECURITY_PROTOCOL to "
                "SASL_SSL, or STREAM_KAFKA__ALLOW_PLAINTEXT=true where the network is trusted"
            )
    if problems:
        raise Misconfigured("; ".join(problems))


def _about_login(kafka: KafkaSettings) -> Iterator[str]:
    given = [kafka.sasl_password is not None, kafka.sasl_password_file is not None]
    if kafka.security_protocol != "SASL_SSL":
        if kafka.sasl_username is not None or any(given):
            yield (
                f"a user name or password is set, but STREAM_KAFKA__SECURITY_PROTOCOL is {kafka.security_protocol}: "
                "credentials need SASL_SSL"
            )
    elif not kafka.sasl_username or not any(given):
        yield "SASL_SSL needs STREAM_KAFKA__SASL_USERNAME and STREAM_KAFKA__SASL_PASSWORD_FILE (or …_PASSWORD)"
    if all(given):
        yield "STREAM_KAFKA__SASL_PASSWORD and STREAM_KAFKA__SASL_PASSWORD_FILE are both set: remove one"


def _about_files(kafka: KafkaSettings) -> Iterator[str]:
    for _, field in SSL_FILES:
        file = getattr(kafka, field)
        if file is not None and not file.is_file():
            yield f"STREAM_KAFKA__{field.upper()}={file} is not a file"
    if (kafka.ssl_certificate_file is None) != (kafka.ssl_key_file is None):
        yield "STREAM_KAFKA__SSL_CERTIFICATE_FILE and STREAM_KAFKA__SSL_KEY_FILE go together: set both or none"
    if kafka.ssl_certificate_file is not None and kafka.security_protocol == "PLAINTEXT":
        yield "STREAM_KAFKA__SSL_CERTIFICATE_FILE needs STREAM_KAFKA__SECURITY_PROTOCOL SSL or SASL_SSL"


def _is_here(server: str) -> bool:
    host = server.strip().rpartition(":")[0]
    return is_loopback(host) or host.endswith(".localhost")
