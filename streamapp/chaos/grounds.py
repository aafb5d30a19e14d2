"""The broker of a chaos run, with locks or without, and how each process of the run reaches it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from streamapp.access.acl import Acl
from streamapp.broker.broker import Broker
from streamapp.broker.secure import ADMIN, Secured
from streamapp.chaos.world import PROPERTIES
from streamapp.kafka.acls import AccessAdmin, apply
from streamapp.settings import KafkaSettings

GATEWAY = "llm-gateway"  # whose load it is
SESSIONS_END = {"connections.max.reauth.ms": "20000"}  # many times in a run


class Grounds(NamedTuple):
    """`of` has the settings of a user; without locks they are the same for everybody."""

    broker: Broker
    of: Callable[[str], KafkaSettings]
    secured: Secured | None

    def give_rights(self, others: Iterable[Acl]) -> None:
        """To each principal what the registry says, and what is listed besides. Does nothing without locks."""
        if self.secured is not None:
            admin, others = AccessAdmin(self.of(ADMIN)), tuple(others)
            apply(admin)
            admin.add(others)
            admin.await_in_force(others)


def grounds(folder: Path, cache_dir: Path, secure: bool) -> Grounds:
    """A broker below `folder`, not started. With `secure` it asks who comes, and each session ends after 20 s."""
    if not secure:
        broker = Broker(folder / "broker", cache_dir=cache_dir, properties=PROPERTIES)
        kafka = KafkaSettings(bootstrap_servers=broker.bootstrap)
        return Grounds(broker, lambda user: kafka, None)
    secured = Secured(folder / "security", cache_dir)
    broker = secured.broker(folder / "broker", properties={**PROPERTIES, **SESSIONS_END})
    return Grounds(broker, lambda user: secured.settings(user, broker.bootstrap), secured)
