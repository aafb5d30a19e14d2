"""A sink with a destination that keeps the offset: it may end at any step, no record is lost or without dead letter."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from usage_log import Rec

from streamapp.delivery.sink_task import SinkTask
from streamapp.exact.chunk import Transaction
from streamapp.exact.place import Place
from streamapp.exact.poison import PoisonLimit
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.store.rows import MemoryStore, always_settled

PLACE = Place("billing-ledger", "billing_events", 0, "id", 1, {"dead_letter": 1})
LOG = [Rec(b"org", b"bad" if number % 2 else b"good", 1000 + number, number) for number in range(8)]
CHUNK = 2


class Ended(Exception):
    """The process ends here."""


@dataclass
class World:
    """The destination, and Kafka's side of the group. `lives` counts down the steps until the process ends."""

    lives: int
    rows: dict[int, bytes] = field(default_factory=dict)
    next_offset: int = 0  # as the destination says
    committed: int = 0  # as Kafka says
    letters: list[dict[str, Any]] = field(default_factory=list)

    def parse(self, topic: str, partition: int, record: Any) -> Any:
        bad = Rejected(Reason.MALFORMED_JSON, "it is bad")
        return bad if record.value == b"bad" else (record.offset, record.value)

    async def apply(self, topic: str, partition: int, next_offset: int, rows: Sequence[Any]) -> None:
        self._step()
        assert not self.rows.keys() & dict(rows).keys()
        self.rows.update(rows)
        self.next_offset = next_offset

    async def offsets(self, topic: str) -> dict[int, int]:
        return {0: self.next_offset}

    async def commit(self, transaction: Transaction) -> int:
        self._step()
        self.letters += [json.loads(send.value or b"") for send in transaction.sends]
        if transaction.next_offset is not None:
            self.committed = transaction.next_offset
        return 1

    async def stop(self) -> None:
        pass

    def _step(self) -> None:
        if self.lives == 0:
            raise Ended
        self.lives -= 1


async def _live(world: World) -> None:
    """An owner sets the group to where the destination is, and goes on from there to the end of the log."""
    world.committed = world.next_offset
    limit = PoisonLimit(ratio=1.0, consecutive=100)
    task = SinkTask(PLACE, MemoryStore(always_settled), world, world, limit, lambda reason: None)
    for at in range(world.next_offset, len(LOG), CHUNK):
        await task.commit(task.fold(LOG[at : at + CHUNK], 9_000))


@pytest.mark.parametrize("lives", range(3 * len(LOG) // CHUNK))
def test_wherever_the_process_ends_each_refused_record_has_a_letter_and_each_row_is_kept_once(lives: int) -> None:
    world = World(lives)
    with pytest.raises(Ended):
        asyncio.run(_live(world))
    world.lives = 1000
    asyncio.run(_live(world))
    assert world.rows == {record.offset: b"good" for record in LOG if record.value == b"good"}
    refused = {letter["data"]["source_offset"]: letter["id"] for letter in world.letters}
    assert sorted(refused) == [record.offset for record in LOG if record.value == b"bad"]
    assert {letter["id"] for letter in world.letters} == set(refused.values()), "the same refusal has the same id"
    assert len(world.letters) <= len(refused) + 1
    assert world.next_offset == world.committed == len(LOG)
