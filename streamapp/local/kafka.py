"""The Kafka of `streamapp run`: a broker that is started here, with locks or without, or somebody's own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from streamapp.access.acl import USER, Acl
from streamapp.broker.exporter import agent
from streamapp.broker.reachable import Reachable, reachable
from streamapp.broker.secure import ADMIN
from streamapp.errors import Refused
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
        self._here: Reachable | None = None
        if secure and not self.is_own:
            raise Refused("--secure is for a broker that is started here: unset STREAM_KAFKA__BOOTSTRAP_SERVERS")
        self._secure = secure

    def start(self) -> KafkaSettings:
        """Start it, if it is ours. Returns how this process reaches it. Raises as `Broker.start`."""
        settings = self._settings
        if not self.is_own:
            return settings.kafka
        self._here = here = reachable(
            settings.broker.dir or settings.state_dir / "broker",
            settings.cache_dir,
            settings.state_dir / "security" if self._secure else None,
            settings.kafka,
            port=settings.broker.port,
            heap_mb=settings.broker.heap_mb,
            jvm_flags=agent(settings.cache_dir, settings.broker.metrics_port),
        )
        here.broker.start()
        self.logins = Logins(here.of, PAGES if self._secure else None)
        return here.of(ADMIN)

    def give_rights(self, simulated: Iterable[str]) -> str:
        """To each principal what the registry says, and to the simulator what it writes in other services' place.
        Returns a line for people; empty where nobody is asked."""
        count = 0 if self._here is None else self._here.give_rights(of_simulator(simulated))
        if not count:
            return ""
        return f"Kafka asks who comes: {count} principals have the rights that `streamapp access matrix` shows."

    def told(self, command: str) -> str:
        """The command, told which Kafka it is where it would not find it by default, and who asks."""
        kafka = self.logins.of(GATEWAY)
        if self._here is not None and self._here.secured is not None:
            file = self._settings.state_dir / "security" / f"{GATEWAY}.env"
            file.write_text("".join(f"{name}={value}\n" for name, value in kafka.variables()))
            return f"env $(cat {shown(str(file.resolve()))}) {command}"
        default = KafkaSettings.model_fields["bootstrap_servers"].default
        used = kafka.bootstrap_servers
        return command if used == default else f"STREAM_KAFKA__BOOTSTRAP_SERVERS={used} {command}"

    def revive(self) -> str:
        """Start our broker again if it has ended. Returns a line for people; empty while it runs."""
        if self._here is None or self._here.broker.pid is not None:
            return ""
        broker = self._here.broker
        broker.kill()  # lets go of its data
        broker.start()
        return f"The broker ended and is restarted (log: {broker.data_dir}/broker.log)"

    def stop(self) -> None:
        """Stop our broker."""
        if self._here is not None:
            self._here.broker.stop()


def of_simulator(topics: Iterable[str]) -> list[Acl]:
    """What the simulator may do: write in other services' place, and read where a topic ends, to go on from there."""
    return [Acl(USER + SIMULATOR, "topic", topic, operation) for topic in topics for operation in ("WRITE", "READ")]


def shown(program: str) -> str:
    """A program's path as somebody would type it in this folder."""
    path, here = Path(program), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else program
