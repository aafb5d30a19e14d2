"""Acts on dead letters, and incidents, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from front_fake import SinkWorker

from streamapp.dead_letters.acting import Acting
from streamapp.dead_letters.plan import Fix, Rules, Stays, Wanted, plan
from streamapp.dead_letters.read import Letter
from streamapp.dead_letters.recent import Recent
from streamapp.dead_letters.redrive import Plan
from streamapp.facts.events import IncidentFacts
from streamapp.kafka.log.reader import Span


class SomeLetters(Protocol):
    """Dead letters as a page has them."""

    letters: list[Letter]

    async def recent(self) -> Recent:
        """The newest of them."""


class FakeActing(Acting):
    """Plans as the real one does, and does what it is told to, in memory."""

    def __init__(self, letters: SomeLetters) -> None:
        self.letters = letters
        self.done: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None

    async def plan(self, wanted: Wanted, upto: Mapping[int, Span], fix: Fix) -> Plan:
        recent, made = await self.letters.recent(), Plan()
        for one in self.letters.letters:
            if wanted.takes(one, recent.done) and one.at[2] in range(*upto[one.at[1]]):
                step = plan(one, recent.done, Rules({"llm_usage": 8}, lambda team: None, fix))
                if isinstance(step, Stays):
                    made.stays[one.topic, one.reason, step.why] += 1
                else:
                    made.sends[one.topic, one.reason, step.changed] += 1
                    made.examples.append(step)
        return made

    async def redrive(self, wanted: Wanted, upto: Mapping[int, Span], fix: Fix) -> int:
        if self.failure is not None:
            raise self.failure
        self.done.append(("redrive", wanted, fix))
        return (await self.plan(wanted, upto, fix)).records

    async def to_drop(self, wanted: Wanted, upto: Mapping[int, Span]) -> int:
        recent = await self.letters.recent()
        return sum(wanted.takes(one, recent.done) for one in self.letters.letters)

    async def drop(self, wanted: Wanted, upto: Mapping[int, Span], because: str) -> int:
        self.done.append(("drop", wanted, because))
        return await self.to_drop(wanted, upto)


class MonitorWorker(SinkWorker):
    """A worker of dead-letter-monitor with an open incident and one that went quiet."""

    def incidents(self) -> list[IncidentFacts]:
        now = self.world.now_ms
        cause = ("llm_usage", "billing-agg", "tokens_mismatch", "data.total_tokens is …, not …", 2)
        quiet = ("llm_usage", "billing-agg", "org_unresolved", "the directory does not know team …", 1)
        times = now - 900_000, now - 60_000, now + 840_000
        return [
            IncidentFacts("c1", *cause, "grown", now - 600_000, *times, 1195, ("log",), ("pagerduty",), 0),
            IncidentFacts(
                "c2", *quiet, "quiet", None, now - 9_000_000, now - 8_000_000, now - 7_000_000, 12, ("log",), (), 0
            ),
        ]
