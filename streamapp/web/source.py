"""What the pages need to know of one worker. It lives in `streamapp.facts`: those who answer lie below the pages."""

from streamapp.facts import (
    CallFacts,
    HourFacts,
    HourState,
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
    "CallFacts",
    "HourFacts",
    "HourState",
    "PartitionCalls",
    "PartitionFacts",
    "PartitionState",
    "RawRow",
    "Span",
    "TeamFacts",
    "WorkerFacts",
    "WorkerView",
]
