"""What the pages need to know of one worker. It lives in `streamapp.facts`: those who answer lie below the pages."""

from streamapp.facts import (
    AccountFacts,
    AgentFacts,
    AgentsView,
    CallFacts,
    HourFacts,
    HourState,
    MethodFacts,
    PartitionCalls,
    PartitionFacts,
    PartitionState,
    RawRow,
    Span,
    TeamFacts,
    WorkerFacts,
    WorkerView,
)

__all__ = [
    "AccountFacts",
    "AgentFacts",
    "AgentsView",
    "CallFacts",
    "HourFacts",
    "HourState",
    "MethodFacts",
    "PartitionCalls",
    "PartitionFacts",
    "PartitionState",
    "RawRow",
    "Span",
    "TeamFacts",
    "WorkerFacts",
    "WorkerView",
]
