"""Where records go, as a small protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from streamapp.errors import Misconfigured
from streamapp.kafka.produce.loop_producer import Group


class Pipeline(Protocol):
    """Takes records and tells when they are safe. `kafka.produce.loop_producer.LoopProducer` is one."""

    @property
    def records(self) -> int:
        """Records under way."""

    @property
    def bytes(self) -> int:
        """Their bytes, with what they cost besides."""

    @property
    def broken(self) -> str:
        """Why it can never send again; empty while it can."""

    @property
    def to_mend(self) -> Misconfigured | None:
        """The right that it lacks, or why it is not let in; None while neither is known."""

    @property
    def missing(self) -> frozenset[str]:
        """Topics that do not exist, as far as is known."""

    def has_room(self, count: int, size: int) -> bool:
        """Whether so many records and bytes would be taken now."""

    def send(self, groups: Sequence[Group]) -> asyncio.Future[str | None] | None:
        """Take all of them in order, or None: no room. The future is None when all are safe, else a sentence."""

    def heard_s(self) -> float:
        """The loop's time of the last acknowledgement; 0.0: none yet."""

    async def answers(self, topics: Sequence[str]) -> bool:
        """Whether the other side answers; then `missing` are those of these topics that do not exist."""

    def give_up(self) -> None:
        """Fail what is under way."""

    async def close(self, timeout_s: float) -> None:
        """Wait for what is under way, at most so long; what is left then fails."""
