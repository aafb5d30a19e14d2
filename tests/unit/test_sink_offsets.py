"""A sink with a destination that keeps the offset: it may end at any step, no record is lost or without dead letter."""

from __future__ import annotations

import asyncio
import json
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from memory_store import MemoryStore
from usage_log import Rec

from streamapp.errors import Misconfigured
from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.place import Place
from streamapp.exact.partition.poison import PoisonLimit
from streamapp.exact.partition.situation import Situation, check
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.settings import Settings
from streamapp.sinks.declaration import each, every_chunk, refuse_another_topic
from streamapp.sinks.destination import Destination, Sealed
from streamapp.sinks.marks import Extent
from streamapp.sinks.task import SinkTask
from streamapp.store.position import StoredPosition
from streamapp.store.rows import always_settled

PLACE = Place("billing-ledger", "billing_events", 0, "id", 1, {"dead_letter": 1})
LOG = [Rec(b"org", b"bad" if number % 2 else b"good", 1000 + number, number) for number in range(8)]
CHUNK = 2


class Ended(Exception):
    """The process ends here."""


@dataclass
class World(Destination[tuple[int, bytes]]):
    """The destination, and Kafka's side of the group. `lives` counts down the steps until the process ends."""

    keeps_offset = True

    lives: int
    rows: dict[int, bytes] = field(default_factory=dict)
    next_offset: int = 0  # as the destination says
    committed: int = 0  # as Kafka says
    letters: list[dict[str, Any]] = field(default_factory=list)

    async def write(self, place: Place, extent: Extent, sealed: Sealed) -> None:
        self._step()
        rows = dict(sealed.content)
        assert not self.rows.keys() & rows.keys()
        self.rows |= rows
        self.next_offset = extent.last + 1

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


def judge(topic: str, partition: int, record: Any) -> tuple[int, bytes] | Rejected:
    bad = Rejected(Reason.MALFORMED_JSON, "it is bad")
    return bad if record.value == b"bad" else (record.offset, record.value)


async def _live(world: World) -> None:
    """An owner sets the group to where the destination is, and goes on from there to the end of the log."""
    world.committed = world.next_offset
    limit = PoisonLimit(ratio=1.0, consecutive=100)
    position = StoredPosition(world.next_offset, -1, -1, PLACE.topic_id, PLACE.partitions, 0)
    store, ends = MemoryStore(always_settled), every_chunk(Settings())
    task = SinkTask(PLACE, store, world, position, world, each(judge), ends, limit)
    for at in range(world.next_offset, len(LOG), CHUNK):
        transaction = task.fold(LOG[at : at + CHUNK], 9_000)
        assert transaction is not None, "each chunk is a batch"
        await task.commit(transaction)


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


@pytest.mark.parametrize(
    ("kept", "topic_id", "committed", "refused"),
    [
        pytest.param(0, "before", {}, False, id="empty"),
        pytest.param(0, None, {}, False, id="empty, and so is Kafka"),
        pytest.param(100, "now", {0: 100}, False, id="all of it"),
        pytest.param(50, None, {0: 50}, False, id="of a release that had no row"),
        pytest.param(101, "now", {0: 100}, True, id="more than there is"),
        pytest.param(50, "before", {0: 50}, True, id="of a topic that was deleted"),
        pytest.param(50, None, {}, True, id="of another cluster"),
    ],
)
def test_a_destination_that_was_filled_from_another_topic_is_refused(
    kept: int, topic_id: str | None, committed: dict[int, int], refused: bool
) -> None:
    """Below the old offset new bills were passed over without a word."""
    position = None if topic_id is None else StoredPosition(kept, -1, -1, topic_id, 1, 0)
    hold: Any = SimpleNamespace(
        source=SimpleNamespace(topic="billing_events", group="billing-ledger"),
        situation=SimpleNamespace(ends={0: 100}, topic_id="now", committed=committed),
    )
    with pytest.raises(Misconfigured, match="the topic was created again") if refused else nullcontext():
        refuse_another_topic(hold, 0, kept, position)


@pytest.mark.parametrize(
    ("counted", "committed", "told"),
    [
        pytest.param(0, {}, "", id="nothing was ever read"),
        pytest.param(5, {}, "was put back to the beginning", id="the group was deleted"),
        pytest.param(5, {0: 5}, "expired before", id="it was away for too long"),
    ],
)
def test_a_destination_that_is_filled_from_the_beginning_is_no_group_that_was_put_back(
    counted: int, committed: dict[int, int], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The topic begins at 10: what came before has expired."""
    at = SimpleNamespace(topic_id="id", partitions=1, committed=committed, starts={0: 10}, ends={0: 100})
    source: Any = SimpleNamespace(topic="billing_events", group="billing-ledger", table=SimpleNamespace(keyed=False))
    position = StoredPosition(counted, -1, -1, "id", 1, 0)
    with caplog.at_level("WARNING"):
        check(source, 0, position, cast(Situation, at))
    assert told in caplog.text if told else caplog.text == ""
