"""What the pages need to know of one worker. It lives in `streamapp.facts`: those who answer lie below the pages."""

from streamapp.facts import (
    AccountFacts,
    AgentFacts,
    AgentsView,
    HourFacts,
    HourState,
    MethodFacts,
    PartitionFacts,
    PartitionState,
    RawRow,
    TeamFacts,
    WorkerFacts,
    WorkerView,
)

__all__ = [
    "AccountFacts",
    "AgentFacts",
    "AgentsView",
    "HourFacts",
    "HourState",
    "MethodFacts",
    "PartitionFacts",
    "PartitionState",
    "RawRow",
    "TeamFacts",
    "WorkerFacts",
    "WorkerView",
]
