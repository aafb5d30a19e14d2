"""One real broker with a listener of each kind: TLS 1.3 and 1.2, with a login and without, with wrong certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from cryptography.x509 import (
    CertificateBuilder,
    DNSName,
    GeneralName,
    IPAddress,
    Name,
    NameAttribute,
    SubjectAlternativeName,
    random_serial_number,
)
from cryptography.x509.oid import NameOID
from emptied import QUIET
from pydantic import SecretStr

from streamapp.broker.broker import Broker
from streamapp.processes.child import HOST, free_port
from streamapp.settings import KafkaSettings

PLAIN_LOGIN = (
    'org.apache.kafka.common.security.plain.PlainLoginModule required username="iam" password="pw" user_iam="pw";'
)
SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
CERTIFICATES = {
    "sound": (IPAddress(IPv4Address(HOST)), timedelta(minutes=1)),
    "elsewhere": (DNSName("elsewhere"), timedelta(minutes=1)),
    "expired": (IPAddress(IPv4Address(HOST)), timedelta(3)),
}
LISTENERS = {
    # name: protocol, certificate, further settings
    "PLAINTEXT": ("PLAINTEXT", "", {}),
    "LOGIN": ("SASL_SSL", "sound", {}),
    "OPEN": ("SSL", "sound", {}),
    "OLD": ("SASL_SSL", "sound", {"ssl.enabled.protocols": "TLSv1.2"}),
    "MUTUAL": ("SSL", "sound", {"ssl.client.auth": "required"}),
    "SCRAM": ("SASL_SSL", "sound", {"sasl.enabled.mechanisms": "SCRAM-SHA-512"}),
    "ELSEWHERE": ("SASL_SSL", "elsewhere", {}),
    "EXPIRED": ("SASL_SSL", "expired", {}),
}


class Listeners:
    """A broker, not started, and the settings that lead to each of its listeners."""

    def __init__(self, folder: Path, cache_dir: Path) -> None:
        self._stores = {name: certificate(folder, name, *made_for) for name, made_for in CERTIFICATES.items()}
        self.trusted = folder / "trusted.pem"
        self.trusted.write_text("".join(store.with_suffix(".pem").read_text() for store in self._stores.values()))
        self._ports = {name: free_port() for name in LISTENERS}
        self.broker = Broker(
            folder / "broker", port=self._ports["PLAINTEXT"], cache_dir=cache_dir, properties=self._properties()
        )

    def settings(self, name: str, **changes: Any) -> KafkaSettings:
        """Settings as a client's should be for `SASL_SSL`, at this listener."""
        given = {
            "bootstrap_servers": f"{HOST}:{self._ports[name]}",
            "security_protocol": "SASL_SSL",
            "sasl_username": "iam",
            "sasl_password": SecretStr("pw"),
            "ssl_ca_file": self.trusted,
        }
        return KafkaSettings(**(given | changes))

    def _properties(self) -> dict[str, str]:
        controller = free_port()
        kinds = {"CONTROLLER": "PLAINTEXT", **{name: kind for name, (kind, _, _) in LISTENERS.items()}}
        properties = {
            **QUIET,
            "listeners": ",".join(f"{n}://{HOST}:{p}" for n, p in [*self._ports.items(), ("CONTROLLER", controller)]),
            "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in kinds.items()),
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "ssl.enabled.protocols": "TLSv1.3",
            "sasl.enabled.mechanisms": "PLAIN",
        }
        for name, (kind, made_for, more) in LISTENERS.items():
            own: dict[str, str] = {}
            if kind != "PLAINTEXT":
                own |= {"ssl.keystore.location": str(self._stores[made_for]), "ssl.keystore.password": "secret"}
                own |= {"ssl.truststore.location": str(self._stores[made_for]), "ssl.truststore.password": "secret"}
            if kind == "SASL_SSL":
                own |= {"plain.sasl.jaas.config": PLAIN_LOGIN, "scram-sha-512.sasl.jaas.config": SCRAM_LOGIN}
            properties |= {f"listener.name.{name.lower()}.{key}": value for key, value in (own | more).items()}
        return properties


def certificate(folder: Path, name: str, made_for: GeneralName, ago: timedelta) -> Path:
    """A key store (password: secret) whose certificate signs itself and is valid for a day from so long ago; beside it
    that certificate, as `.pem`."""
    key, began = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC) - ago
    called = Name([NameAttribute(NameOID.COMMON_NAME, name)])
    made = CertificateBuilder().subject_name(called).issuer_name(called).public_key(key.public_key())
    made = made.serial_number(random_serial_number()).not_valid_before(began).not_valid_after(began + timedelta(1))
    signed = made.add_extension(SubjectAlternativeName([made_for]), critical=False).sign(key, SHA256())
    store = folder / f"{name}.p12"
    locked = BestAvailableEncryption(b"secret")
    store.write_bytes(serialize_key_and_certificates(b"broker", key, signed, None, locked))
    store.with_suffix(".pem").write_bytes(signed.public_bytes(Encoding.PEM))
    return store
