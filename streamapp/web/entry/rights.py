"""Who may see and do what: one table, from which the pages' gate and docs/security.md follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Role = Literal["monitor", "viewer", "reader", "operator", "auditor"]

ROLES: Mapping[Role, tuple[frozenset[Role], str]] = {
    # role       what it includes                                       what for
    "monitor": (frozenset({"monitor"}), "metrics"),
    "viewer": (frozenset({"monitor", "viewer"}), "state and money totals, no payloads"),
    "reader": (frozenset({"monitor", "viewer", "reader"}), "payloads, with secrets and addresses masked"),
    "operator": (frozenset({"monitor", "viewer", "reader", "operator"}), "acting on the stream"),
    "auditor": (
        frozenset({"monitor", "viewer", "reader", "auditor"}),
        "unmasking one value, for a reason that is kept",
    ),
}


class Route(NamedTuple):
    """A route and the least role that may ask for it; None: everybody. `acts`: only from a page of ours (Origin).
    `peers`: also for other workers, or only for them."""

    path: str
    least: Role | None
    acts: bool = False
    peers: Literal["", "also", "only"] = ""


ROUTES: tuple[Route, ...] = (
    # path                              least role
    Route("/static/{name}", None),
    Route("/health", None),  # whoever is no viewer is told the status alone
    Route("/health/live", None),
    Route("/health/ready", None),
    Route("/metrics", "monitor"),
    Route("/", "viewer"),
    Route("/index.json", "viewer"),
    Route("/groups", "viewer"),
    Route("/groups/{group}", "viewer"),
    Route("/charts", "viewer"),
    Route("/usage", "viewer"),
    Route("/usage.csv", "viewer"),
    Route("/hours", "viewer"),  # of before: leads to /usage
    Route("/orgs", "viewer"),
    Route("/orgs/{org}", "viewer"),
    Route("/teams", "viewer"),
    Route("/teams/{org}/{team}", "viewer"),
    Route("/budgets", "viewer"),
    Route("/budgets/{org}/{team}", "viewer"),
    Route("/agents", "viewer"),
    Route("/agent", "viewer"),
    Route("/agents/{org}/{agent}", "viewer"),
    Route("/settlements", "viewer"),
    Route("/settlements/{id}", "viewer"),
    Route("/settlements/{id}/statement", "viewer"),
    Route("/bills", "viewer"),
    Route("/bills/{id}", "viewer"),
    Route("/bills/{id}/statement", "viewer"),
    Route("/latency", "viewer"),
    Route("/schemas", "viewer"),
    Route("/schemas/{type}", "viewer"),
    Route("/tables", "viewer"),
    Route("/tables/{name}", "reader"),
    Route("/tables/{name}/hours", "reader"),
    Route("/incidents", "viewer"),
    Route("/letters", "reader"),
    Route("/letters/{id}", "reader"),
    Route("/act", "operator", acts=True),
    Route("/letters/{id}/unmask", "auditor", acts=True),
    Route("/live", "viewer"),  # and the least role of the page that it follows
    Route("/events", "reader"),
    Route("/events/{id}", "reader"),
    Route("/bills/{id}/calls", "reader"),
    Route("/settlements/{id}/calls", "reader"),
    Route("/search", "viewer"),
    Route("/_local/{topic}", "viewer", peers="only"),  # and the least role of the topic, see workers/local.py
    Route("/reconciliation.json", "viewer", peers="also"),  # of `streamapp reconcile`
    Route("/watch.json", "viewer", peers="also"),  # of `streamapp watch`
    Route("/openapi.json", "viewer"),  # of capture
    Route("/{rest}", "viewer"),  # there is no such page
)

TABLE: Mapping[str, Route] = {route.path: route for route in ROUTES}


def may(roles: frozenset[Role], least: Role | None) -> bool:
    """Whether one of these roles is enough."""
    return least is None or any(least in ROLES[role][0] for role in roles)


def names(text: str) -> frozenset[Role]:
    """`operator,auditor` → roles. Raises ValueError that names what is none."""
    found = frozenset(word.strip() for word in text.split(","))
    if wrong := sorted(found - ROLES.keys()):
        raise ValueError(f"{wrong[0]!r} is no role; the roles are {', '.join(ROLES)}")
    return found  # type: ignore[return-value]


def table() -> str:
    """The table of rights as docs/security.md has it."""
    lines = ["| route | least role | also |", "| --- | --- | --- |"]
    for route in ROUTES:
        also = ["acts: needs an Origin"] if route.acts else []
        also += {"": [], "also": ["workers, for whoever asks them"], "only": ["workers alone, for whoever asks them"]}[
            route.peers
        ]
        lines.append(f"| `{route.path}` | {route.least or 'everybody'} | {'; '.join(also)} |")
    return "\n".join(lines)
