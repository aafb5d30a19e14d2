"""Which topics are simulated, and how their streams are mixed: one line each. Pure, seeded.

Every event topic of the registry that is written by somebody other than our own consumer groups.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import cycle
from typing import NamedTuple

from streamapp.simulate.audit import audit_stream
from streamapp.simulate.insights import insights_stream
from streamapp.simulate.rpc import rpc_stream
from streamapp.simulate.stream import SimulatedRecord, StreamSpec
from streamapp.simulate.usage import usage_stream


class Simulated(NamedTuple):
    """A topic, its part of all events, and its stream: spec, moments → a record for each moment."""

    topic: str
    share: int
    stream: Callable[[StreamSpec, Iterable[int]], Iterator[SimulatedRecord]]


STREAMS: tuple[Simulated, ...] = (
    #         topic                     share  stream
    Simulated("llm_usage", 50, usage_stream),
    Simulated("events_plugin_ingestion", 30, insights_stream),
    Simulated("agent_rpc_metering", 15, rpc_stream),
    Simulated("audit_log", 5, audit_stream),
)


def mixed(
    spec: StreamSpec, streams: Sequence[Simulated], times: Iterable[int], since_ms: Mapping[str, int]
) -> Iterator[tuple[str, SimulatedRecord]]:
    """Topic and record for each moment: one of the streams, in turn by their shares.

    `since_ms` is topic → moment before which it already has its records; it is passed over there. The same arguments
    give the same bytes.
    """
    feeds = [_Feed(one, spec) for one in streams]
    turns = cycle(_turns([one.share for one in streams]))
    for at_ms in times:
        feed = feeds[next(turns)]
        if at_ms >= since_ms.get(feed.topic, 0):
            yield feed.topic, feed.record(at_ms)


class _Feed:
    """A stream that is asked for one record at a time."""

    def __init__(self, one: Simulated, spec: StreamSpec) -> None:
        self.topic = one.topic
        self._moments: deque[int] = deque()
        self._records = one.stream(spec, iter(self._moments.popleft, None))

    def record(self, at_ms: int) -> SimulatedRecord:
        self._moments.append(at_ms)
        return next(self._records)


def _turns(shares: Sequence[int]) -> list[int]:
    """TopModels, each as often as its share says, spread as evenly as can be."""
    total, credit = sum(shares), [0] * len(shares)
    turns = []
    for _ in range(total):
        credit = [have + share for have, share in zip(credit, shares, strict=True)]
        chosen = credit.index(max(credit))
        credit[chosen] -= total
        turns.append(chosen)
    return turns
