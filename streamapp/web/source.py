"""What the pages need to know of one worker. It lives in `streamapp.facts`: those who answer lie below the pages."""

from streamapp.facts import (
    HourFacts,
    HourState,
    PartitionFacts,
    PartitionState,
    RawRow,
    TeamFacts,
    WorkerFacts,
    WorkerView,
)

__all__ = [
    "HourFacts",
    "HourState",
    "PartitionFacts",
    "PartitionState",
    "RawRow",
    "TeamFacts",
    "WorkerFacts",
    "WorkerView",
]
