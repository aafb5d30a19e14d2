"""What the pages write to `audit_log`, before it is done: who saw which value unmasked, or sent dead letters again or
dropped them, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from streamapp.clock import Clock
from streamapp.errors import Refused, StreamError, Unavailable
from streamapp.kafka.producer import EventProducer
from streamapp.schemas.judging.rejected import Rejected
from streamapp.settings import KafkaSettings
from streamapp.web.problem import Problem

UNMASKED = "stream.page.unmasked"
REDRIVEN, DROPPED = "stream.page.redriven", "stream.page.dropped"
SEEN = "stream.page.seen"
REASON_MIN, REASON_MAX = 10, 500
NO_ORG = "stream"
"""The org of what was done to a record that has none that an event may have."""


def demand_reason(reason: str) -> None:
    """Raises `Problem` 400 for one that says nothing, or too much."""
    if not REASON_MIN <= len(reason) <= REASON_MAX:
        raise Problem(400, "A reason is needed", f"Say why in {REASON_MIN} to {REASON_MAX} characters: it is kept.")


class Audit:
    """Where it is kept. This one is for pages that cannot write."""

    async def write(self, org_id: str | None, data: Mapping[str, Any], type: str = UNMASKED) -> None:
        """Returns when every in-sync replica has it. Raises `StreamError`."""
        raise Unavailable("this worker writes no audit_log")

    async def close(self) -> None:
        """The worker ends."""


class KafkaAudit(Audit):
    """The topic `audit_log`. Nothing is started before the first value is unmasked."""

    def __init__(self, kafka: KafkaSettings, clock: Clock) -> None:
        self._kafka, self._clock = kafka, clock
        self._opening = asyncio.Lock()
        self._producer: EventProducer | None = None

    async def write(self, org_id: str | None, data: Mapping[str, Any], type: str = UNMASKED) -> None:
        async with self._opening:
            if self._producer is None:
                made = EventProducer(self._kafka, topic="audit_log", source="stream-pages", clock=self._clock)
                self._producer = await made.__aenter__()
        for org in filter(None, (org_id, NO_ORG)):
            event = self._producer.prepared(type=type, data=data, org_id=org)
            if not isinstance(event, Rejected):
                await self._producer.send(event)
                return
        assert isinstance(event, Rejected)
        raise Refused(event.error)

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(StreamError):  # whoever asked was told when it happened
                await producer.close()
