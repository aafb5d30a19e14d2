"""An access control list's entry, in Kafka's words, and what a set of entries allows. Pure.

Kafka lets a principal describe what it may read, write, delete or alter, and read the settings of what it may
configure: such rights need no entry of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

Kind = Literal["topic", "group", "transactional_id", "cluster"]
CLUSTER = "kafka-cluster"  # the name that Kafka gives the one resource of that kind
ANYTHING = "*"  # as a literal name: every resource of its kind; as a host: every host
USER = "User:"
EVERYBODY = f"{USER}*"

IMPLIED = {
    "DESCRIBE": frozenset({"READ", "WRITE", "DELETE", "ALTER"}),
    "DESCRIBE_CONFIGS": frozenset({"ALTER_CONFIGS"}),
}
"""Operation → the operations that bring it along."""


class Acl(NamedTuple):
    """Who may, or with `allow` false must not, do what to which resource.

    `principal` as Kafka has it (`User:billing-aggregator`), `operation` in Kafka's capitals (`READ`). `prefixed`: every
    resource whose name begins with `name`.
    """

    principal: str
    kind: str  # a `Kind`, or what else Kafka may have
    name: str
    operation: str
    prefixed: bool = False
    host: str = ANYTHING
    allow: bool = True

    @property
    def user(self) -> str:
        """The principal, without Kafka's word for its type."""
        return self.principal.removeprefix(USER)

    def covers(self, kind: str, name: str, operation: str) -> bool:
        """Whether this entry is about an operation on a resource."""
        if self.kind != kind or self.operation not in {operation, "ALL", *IMPLIED.get(operation, ())}:
            return False
        return name.startswith(self.name) if self.prefixed else self.name in (name, ANYTHING)

    def __str__(self) -> str:
        whom = f"{self.user}{'' if self.host == ANYTHING else f' from {self.host}'}"
        what = f"{self.operation} on {resource(self.kind, self.name, self.prefixed)}"
        return f"{whom}: {what if self.allow else f'DENY {what}'}"


def allowed(acls: Iterable[Acl], user: str, kind: str, name: str, operation: str) -> bool:
    """Whether entries without a DENY allow a user an operation."""
    return any(acl.user == user and acl.covers(kind, name, operation) for acl in acls)


def resource(kind: str, name: str, prefixed: bool = False) -> str:
    """A resource, for people."""
    if kind == "cluster":
        return "the cluster"
    word = kind.replace("_", " ")
    if prefixed:
        return f"every {word} {name}…"
    return f"every {word}" if name == ANYTHING else f"{word} {name}"
