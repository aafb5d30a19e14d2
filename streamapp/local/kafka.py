"""The Kafka of `streamapp run`: a broker that is started here, with locks or without, or somebody's own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from streamapp.access.acl import USER, Acl
from streamapp.broker.broker import Broker
from streamapp.broker.exporter import agent
from streamapp.broker.secure import ADMIN, Secured
from streamapp.errors import Refused
from streamapp.kafka.acls import AccessAdmin, apply
from streamapp.local.jobs import SIMULATOR, Logins, same_for_all
from streamapp.settings import KafkaSettings, Settings
from streamapp.topics.registry import PAGES

GATEWAY = "llm-gateway"  # whose call a person sends first


class LocalKafka:
    """`is_own`: it is started here. `logins`: how each process reaches it.

    `secure`: its broker asks who comes, and each process is a principal of its own with its rights only.
    """

    def __init__(self, settings: Settings, secure: bool) -> None:
        self.is_own = "bootstrap_servers" not in settings.kafka.model_fields_set
        self.logins = same_for_all(settings.kafka)
        self._settings = settings
        self._secured: Secured | None = None
        self._broker: Broker | None = None
        if secure and not self.is_own:
            raise Refused("--secure is for a broker that is started here: unset STREAM_KAFKA__BOOTSTRAP_SERVERS")
        self._secure = secure

    def start(self) -> KafkaSettings:
        """Start it, if it is ours. Returns how this process reaches it. Raises as `Broker.start`."""
        settings = self._settings
        if not self.is_own:
            return settings.kafka
        folder = settings.broker.dir or settings.state_dir / "broker"
        port, heap_mb = settings.broker.port, settings.broker.heap_mb
        flags = agent(settings.cache_dir, settings.broker.metrics_port)
        if not self._secure:
            cache_dir = settings.cache_dir
            self._broker = Broker(folder, port=port, cache_dir=cache_dir, heap_mb=heap_mb, jvm_flags=flags)
            self._broker.start()
            kafka = settings.kafka.model_copy(update={"bootstrap_servers": self._broker.bootstrap})
            self.logins = same_for_all(kafka)
            return kafka
        self._secured = secured = Secured(settings.state_dir / "security", settings.cache_dir)
        self._broker = secured.broker(folder, port=port, heap_mb=heap_mb, jvm_flags=flags)
        self._broker.start()
        bootstrap = self._broker.bootstrap
        self.logins = Logins(lambda user: secured.settings(user, bootstrap), PAGES)
        return secured.settings(ADMIN, bootstrap)

    def give_rights(self, simulated: Iterable[str]) -> str:
        """To each principal what the registry says, and to the simulator what it writes in other services' place.
        Returns a line for people; empty where nobody is asked."""
        if self._secured is None:
            return ""
        admin = AccessAdmin(self.logins.of(ADMIN))
        given = apply(admin)
        own = of_simulator(simulated)
        admin.add(own)
        admin.await_in_force(own)
        count = len({acl.principal for acl in (*given.changes, *given.kept)})
        return f"Kafka asks who comes: {count} principals have the rights that `streamapp access matrix` shows."

    def told(self, command: str) -> str:
        """The command, told which Kafka it is where it would not find it by default, and who asks."""
        kafka = self.logins.of(GATEWAY)
        if self._secured is not None:
            file = self._settings.state_dir / "security" / f"{GATEWAY}.env"
            file.write_text("".join(f"{name}={value}\n" for name, value in kafka.variables()))
            return f"env $(cat {shown(str(file.resolve()))}) {command}"
        default = KafkaSettings.model_fields["bootstrap_servers"].default
        used = kafka.bootstrap_servers
        return command if used == default else f"STREAM_KAFKA__BOOTSTRAP_SERVERS={used} {command}"

    def revive(self) -> str:
        """Start our broker again if it has ended. Returns a line for people; empty while it runs."""
        if self._broker is None or self._broker.pid is not None:
            return ""
        self._broker.kill()  # lets go of its data
        self._broker.start()
        return f"The broker ended and is restarted (log: {self._broker.data_dir}/broker.log)"

    def stop(self) -> None:
        """Stop our broker."""
        if self._broker is not None:
            self._broker.stop()


def of_simulator(topics: Iterable[str]) -> list[Acl]:
    """What the simulator may do: write in other services' place, and read where a topic ends, to go on from there."""
    return [Acl(USER + SIMULATOR, "topic", topic, operation) for topic in topics for operation in ("WRITE", "READ")]


def shown(program: str) -> str:
    """A program's path as somebody would type it in this folder."""
    path, here = Path(program), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else program
