"""A broker that is started here, with locks or without, and how each process reaches it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from streamapp.access.acl import Acl
from streamapp.broker.broker import Broker
from streamapp.broker.secure import ADMIN, Secured
from streamapp.settings import KafkaSettings


class Reachable(NamedTuple):
    """`of` has the settings of a user; without locks they are the same for everybody."""

    broker: Broker
    of: Callable[[str], KafkaSettings]
    secured: Secured | None

    def give_rights(self, others: Iterable[Acl]) -> int:
        """To each principal what the registry says, and what is listed besides. Returns how many principals have rights
        now. Without locks nobody is asked: does nothing, returns 0."""
        if self.secured is None:
            return 0
        from streamapp.kafka.acls import AccessAdmin, apply  # aiokafka comes with it: `streamapp broker` needs none

        admin, others = AccessAdmin(self.of(ADMIN)), tuple(others)
        given = apply(admin)
        admin.add(others)
        admin.await_in_force(others)
        return len({acl.principal for acl in (*given.changes, *given.kept)})


def reachable(
    folder: Path, cache_dir: Path, locks: Path | None, kafka: KafkaSettings | None = None, **options: Any
) -> Reachable:
    """A broker in `folder`, not started. `locks`: the folder of its certificate and users; it then asks who comes.
    `kafka`: what else is set of clients of a broker without locks. `options` are `Broker`'s."""
    if locks is None:
        broker = Broker(folder, cache_dir=cache_dir, **options)
        others = kafka or KafkaSettings()
        return Reachable(broker, lambda user: others.model_copy(update={"bootstrap_servers": broker.bootstrap}), None)
    secured = Secured(locks, cache_dir)
    broker = secured.broker(folder, **options)
    return Reachable(broker, lambda user: secured.settings(user, broker.bootstrap), secured)
