"""A broker with locks on, and how each user reaches it. Its fixtures are in `locked_fixtures.py`."""

from __future__ import annotations

from typing import NamedTuple

from streamapp.access.acl import USER, Acl, resource
from streamapp.broker.broker import Broker
from streamapp.broker.secure import ADMIN, Secured
from streamapp.kafka.acls import AccessAdmin
from streamapp.settings import KafkaSettings

STRANGER, FOREIGN = "stranger", "nobody_asked"  # a principal and a topic that are not ours
THEIRS = Acl(f"{USER}{STRANGER}", "topic", FOREIGN, "READ")


class Locked(NamedTuple):
    """A broker with locks on, and how each user reaches it."""

    made: Secured
    broker: Broker

    def settings(self, user: str) -> KafkaSettings:
        return self.made.settings(user, self.broker.bootstrap)

    @property
    def admin(self) -> AccessAdmin:
        return AccessAdmin(self.settings(ADMIN))


def told_of(acl: Acl) -> str:
    """How the message begins that names a right."""
    name = "" if acl.name == "*" else acl.name  # of every topic: the one that was asked about follows
    return f"principal {acl.user} lacks {acl.operation} on {resource(acl.kind, name)}"
