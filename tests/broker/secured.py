"""A real broker with locks on: SASL_SSL with TLS 1.3, `StandardAuthorizer`, nothing allowed that no entry allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from listeners import certificate
from pydantic import SecretStr

from streamapp.broker.broker import Broker
from streamapp.settings import KafkaSettings

ADMIN = "admin"


def password(name: str) -> str:
    return f"{name}-secret"


class Secured:
    """A broker, not started, and the settings of each of its users; `admin` is a super user."""

    def __init__(self, make: Callable[..., Broker], folder: Path, names: Iterable[str]) -> None:
        store = certificate(folder, "sound", "san=ip:127.0.0.1")
        self._ca = store.with_suffix(".pem")
        users = " ".join(f'user_{name}="{password(name)}"' for name in (ADMIN, *names))
        login = f'username="{ADMIN}" password="{password(ADMIN)}" {users};'
        self.broker = make(
            properties={
                "ssl.keystore.location": str(store),
                "ssl.keystore.password": "secret",
                "ssl.truststore.location": str(store),
                "ssl.truststore.password": "secret",
                "ssl.enabled.protocols": "TLSv1.3",
                "sasl.enabled.mechanisms": "PLAIN",
                "sasl.mechanism.inter.broker.protocol": "PLAIN",
                "listener.name.sasl_ssl.plain.sasl.jaas.config": (
                    f"org.apache.kafka.common.security.plain.PlainLoginModule required {login}"
                ),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "allow.everyone.if.no.acl.found": "false",
                # The controller's listener is a plain one, on loopback: whoever comes there has no name.
                "super.users": f"User:{ADMIN};User:ANONYMOUS",
            },
            client={
                "security.protocol": "SASL_SSL",
                "ssl.ca.location": str(self._ca),
                "sasl.mechanism": "PLAIN",
                "sasl.username": ADMIN,
                "sasl.password": password(ADMIN),
            },
        )

    def settings(self, name: str) -> KafkaSettings:
        """Where the broker is, for one of its users."""
        return KafkaSettings(
            bootstrap_servers=self.broker.bootstrap,
            security_protocol="SASL_SSL",
            sasl_username=name,
            sasl_password=SecretStr(password(name)),
            ssl_ca_file=self._ca,
        )

    def environment(self, name: str) -> dict[str, str]:
        """The same as an operator gives it."""
        return {
            "STREAM_KAFKA__BOOTSTRAP_SERVERS": self.broker.bootstrap,
            "STREAM_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
            "STREAM_KAFKA__SASL_USERNAME": name,
            "STREAM_KAFKA__SASL_PASSWORD": password(name),
            "STREAM_KAFKA__SSL_CA_FILE": str(self._ca),
        }
