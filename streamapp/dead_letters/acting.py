"""Dead letters sent again or dropped from a page: the plan and the act of `redrive`, over the part of the log that the
pages know. One act at a time, in a thread; whoever acts elsewhere meanwhile takes over, as between two commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jsonpatch

from streamapp.clock import Clock, entropy
from streamapp.dead_letters.plan import Fix, Rules, Wanted
from streamapp.dead_letters.receipts import Receipts
from streamapp.dead_letters.recent import Recent
from streamapp.dead_letters.redrive import Plan, drop, planned, redrive, to_drop
from streamapp.errors import Unavailable
from streamapp.kafka.log.reader import Span
from streamapp.schemas.values.strict_json import parse
from streamapp.settings import KafkaSettings

PATCH_CHARS_MAX = 20_000
READS_ONLY = "this worker sends no dead letters again and drops none; use streamapp dead-letters"

T = TypeVar("T")


class Acting:
    """What the pages ask. Every method raises `StreamError`. This one is for a worker whose pages only read."""

    async def plan(self, wanted: Wanted, upto: Mapping[int, Span], fix: Fix) -> Plan:
        """What a redrive would do. Changes nothing."""
        raise Unavailable(READS_ONLY)

    async def redrive(self, wanted: Wanted, upto: Mapping[int, Span], fix: Fix) -> int:
        """Send them again; how many were sent."""
        raise Unavailable(READS_ONLY)

    async def to_drop(self, wanted: Wanted, upto: Mapping[int, Span]) -> int:
        """How many a drop would mark."""
        raise Unavailable(READS_ONLY)

    async def drop(self, wanted: Wanted, upto: Mapping[int, Span], because: str) -> int:
        """Mark them as dealt with; how many."""
        raise Unavailable(READS_ONLY)


class KafkaActing(Acting):
    """Does it. `rules` reads the directory and the topics as they are when it is called."""

    def __init__(self, kafka: Callable[[], KafkaSettings], rules: Callable[[Fix], Rules], clock: Clock) -> None:
        self._kafka, self._rules, self._clock = kafka, rules, clock
        self._thread = ThreadPoolExecutor(1, "acting")

    async def plan(self, wanted: Wanted, upto: Mapping[int, Span], fix: Fix) -> Plan:
        return await self._do(lambda: planned(self._kafka(), upto, wanted, self._rules(fix)))

    async def redrive(self, wanted: Wanted, upto: Mapping[int, Span], fix: Fix) -> int:
        receipts = Receipts(None, f"page_{entropy(8).hex()}")
        return await self._do(
            lambda: redrive(self._kafka(), upto, wanted, self._rules(fix), clock=self._clock, receipts=receipts)
        )

    async def to_drop(self, wanted: Wanted, upto: Mapping[int, Span]) -> int:
        return await self._do(lambda: to_drop(self._kafka(), upto, wanted))

    async def drop(self, wanted: Wanted, upto: Mapping[int, Span], because: str) -> int:
        return await self._do(lambda: drop(self._kafka(), upto, wanted, reason=because, clock=self._clock))

    async def _do(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)


def spanned(recent: Recent, wanted: Wanted) -> dict[int, Span]:
    """The part of `dead_letter` that holds the newest dead letters that are meant."""
    found: dict[int, Span] = {}
    for one in recent.entries:
        if wanted.takes(one.letter, recent.done):
            _, partition, offset = one.letter.at
            span = found.get(partition, Span(offset, offset + 1))
            found[partition] = Span(min(span.start, offset), max(span.end, offset + 1))
    return found


def patch_of(text: str) -> jsonpatch.JsonPatch:
    """A JSON Patch (RFC 6902). Raises ValueError with one sentence for anything else."""
    if len(text) > PATCH_CHARS_MAX:
        raise ValueError(f"a patch has at most {PATCH_CHARS_MAX:,} characters here")
    try:
        return jsonpatch.JsonPatch.from_string(text, loads=lambda given: parse(given.encode())[0])
    except (ValueError, TypeError, KeyError, jsonpatch.JsonPatchException) as error:
        raise ValueError(f"it is not a JSON Patch (RFC 6902): {error}") from None
