"""A broker as a node of a quorum that may grow (KIP-853), and the guard against the quorum that loses topics.

A node is formatted once. The first one of a cluster is formatted with `--standalone`: it is the only voter. All others
are formatted with `--no-initial-controllers`: they follow, until `add-controller` makes them voters (decision 32).
"""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass

from streamapp.errors import Refused

VOTERS = "controller.quorum.voters"
BOOTSTRAP = "controller.quorum.bootstrap.servers"
WHY_NOT_STATIC = (
    f"{VOTERS} must not name nodes that are no voters yet. Nodes that start with it while the first node is down elect "
    "each other with an empty log; the first node then follows them, truncates its own log and drops every topic, "
    f"without an error. Set {BOOTSTRAP} instead, format new nodes with --no-initial-controllers, and let "
    "`streamapp cluster grow` add them one by one"
)


@dataclass(frozen=True, slots=True)
class Member:
    """A node of a dynamic quorum. `controllers`: where controllers are asked, each host:port. `first`: it begins the
    cluster. `cluster_id`: of the cluster that it joins; empty: a new one. Both count when the node is formatted."""

    number: int
    controllers: tuple[str, ...]
    first: bool = False
    cluster_id: str = ""

    def properties(self) -> dict[str, str]:
        """What this node's configuration says of the quorum."""
        return {"node.id": str(self.number), BOOTSTRAP: ",".join(self.controllers)}


def format_arguments(member: Member | None) -> list[str]:
    """The arguments of `kafka-storage format` besides the configuration; None: the only node of a static quorum."""
    cluster = (member.cluster_id if member else "") or new_cluster_id()
    how = [] if member is None else ["--standalone" if member.first else "--no-initial-controllers"]
    return [f"--cluster-id={cluster}", *how]  # with "=", because one id in 64 begins with a dash


def new_cluster_id() -> str:
    """A random one."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def named_voters(properties: Mapping[str, str]) -> dict[int, str]:
    """Node → host:port, of the voters that a configuration names; empty where it leaves them to the log."""
    entries = properties.get(VOTERS, "").strip("[]").replace(" ", "")
    pairs = (entry.partition("@") for entry in entries.split(",") if "@" in entry)
    return {int(number): address for number, _, address in pairs}


def refuse_static_recipe(properties: Mapping[str, str]) -> None:
    """Raises `Refused` for a configuration with which a node may lead or follow a quorum of empty nodes."""
    if len(voters := named_voters(properties)) > 1:
        raise Refused(f"{VOTERS} names {len(voters)} nodes. {WHY_NOT_STATIC}")
