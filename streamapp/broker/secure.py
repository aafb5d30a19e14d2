"""A broker with locks on, as the standard demands: SASL/PLAIN over TLS 1.3, and no right that nobody gave.

    secured = Secured(folder, cache_dir)
    with secured.broker(folder / "broker") as broker:
        secured.settings("billing-aggregator", broker.bootstrap)   # a user of its own; its rights: `streamapp access`

Below `folder`: `broker.p12` and `ca.pem` (a certificate that signs itself), `users/` (who may log in, see
`streamapp/access/passwords.py`), `used/` (which password was used when), `secrets/` (each user's password, for
`STREAM_KAFKA__SASL_PASSWORD_FILE`). Everything is made on the spot.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

from streamapp.access import passwords
from streamapp.broker import users
from streamapp.broker.broker import Broker
from streamapp.broker.properties import JVM_FLAGS
from streamapp.errors import Unavailable
from streamapp.extras import java
from streamapp.processes.child import HOST
from streamapp.settings import KafkaSettings

BROKER, ADMIN = "broker", "admin"  # the broker's own login, and whoever gives rights; both may do everything
VALID_DAYS = "365"
KEYTOOL_S = 60
PASSWORD_BYTES = 24
LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
LISTENERS = ("sasl_ssl", "controller")


class Secured:
    """Certificates and users below `folder`; made where they are missing, else as they are."""

    def __init__(self, folder: Path, cache_dir: Path) -> None:
        self.folder, self._cache_dir = folder.resolve(), cache_dir
        for name in ("users", "used", "secrets"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            (self.folder / name).chmod(0o700)
        self.ca_file = self.folder / "ca.pem"
        self._store = self.folder / "broker.p12"
        self._store_password = self._secret("store")
        if not self.ca_file.exists():
            self._make_certificate()
        for user in (BROKER, ADMIN):
            self.user(user)

    @property
    def users_dir(self) -> Path:
        """Who may log in."""
        return self.folder / "users"

    def user(self, name: str) -> Path:
        """Let the user log in, with a new password if there is none yet. Returns the file that holds it."""
        password = self._secret(name)
        if not (self.users_dir / name).exists():
            passwords.accept(self.users_dir, name, passwords.line_of(password))
        return self.folder / "secrets" / name

    def settings(self, name: str, bootstrap: str) -> KafkaSettings:
        """How this user reaches the broker. A user that is new may log in from now on."""
        return KafkaSettings(
            bootstrap_servers=bootstrap,
            security_protocol="SASL_SSL",
            sasl_username=name,
            sasl_password_file=self.user(name),
            ssl_ca_file=self.ca_file,
        )

    def told(self, bootstrap: str) -> str:
        """What `admin` sets to reach the broker, a line for each variable."""
        return "\n".join(f"{name}={value}" for name, value in self.settings(ADMIN, bootstrap).variables())

    def broker(self, data_dir: Path, **options: Any) -> Broker:
        """A broker, not started, that lets these users in. `options` are `Broker`'s; its `properties` come last."""
        more = options.pop("properties", {})
        client = {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.ca_file),
            "sasl.mechanism": "PLAIN",
            "sasl.username": ADMIN,
            "sasl.password": self._secret(ADMIN),
        }
        return Broker(
            data_dir,
            cache_dir=self._cache_dir,
            properties={**self._properties(), **more},
            client=client,
            class_path=[users.compiled(self._cache_dir)],
            **options,
        )

    def _properties(self) -> dict[str, str]:
        store = {"location": str(self._store), "password": self._store_password}
        folders = f'users_dir="{self.users_dir}" used_dir="{self.folder / "used"}"'
        own = f'username="{BROKER}" password="{self._secret(BROKER)}" {folders}'
        properties = {
            "listener.security.protocol.map": "CONTROLLER:SASL_SSL,SASL_SSL:SASL_SSL",
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.mechanism.controller.protocol": "PLAIN",
            "ssl.enabled.protocols": "TLSv1.3",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "false",
            "super.users": f"User:{BROKER};User:{ADMIN}",
            "connections.max.reauth.ms": "3600000",
            # The broker logs in to its controller, too: on a busy machine that takes longer than our 3 s without.
            "broker.session.timeout.ms": "9000",
        }
        for kind in ("keystore", "truststore"):
            properties |= {f"ssl.{kind}.{name}": value for name, value in store.items()}
        for listener in LISTENERS:
            plain = f"listener.name.{listener}.plain.sasl"
            properties[f"{plain}.jaas.config"] = f"{LOGIN} required {own};"
            properties[f"{plain}.server.callback.handler.class"] = users.CLASS
        return properties

    def _secret(self, name: str) -> str:
        path = self.folder / "secrets" / name
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(PASSWORD_BYTES))
        return path.read_text()

    def _make_certificate(self) -> None:
        password = str(self.folder / "secrets" / "store")  # a file: command lines are for everybody to read
        common = ["-keystore", str(self._store), "-storepass:file", password, "-alias", "broker"]
        name = ["-dname", "CN=broker", "-ext", f"san=ip:{HOST},dns:localhost", "-keyalg", "EC"]
        self._keytool("-genkeypair", *common, *name, "-validity", VALID_DAYS)
        self._store.chmod(0o600)
        self._keytool("-exportcert", "-rfc", "-file", str(self.ca_file), *common)

    def _keytool(self, *arguments: str) -> None:
        tool = Path(java()).with_name("keytool")
        done = subprocess.run(
            [tool, *(f"-J{flag}" for flag in JVM_FLAGS), *arguments],
            capture_output=True,
            text=True,
            timeout=KEYTOOL_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise Unavailable(f"the broker's certificate could not be made: {done.stdout}{done.stderr}")
