"""A registry that is stopped, or left by Kafka, while requests wait. The topic is a list here, with a door."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from streamapp.errors import Unavailable
from streamapp.registry.log import Log
from streamapp.registry.records import Change, Version
from streamapp.registry.registry import Registry
from streamapp.registry.state import State
from streamapp.schemas.released import ID_MAX
from streamapp.settings import KafkaSettings

FIRST = ID_MAX + 1


class Doored(Log):
    """What others wrote is told once, as the real one does, and only when the door is open."""

    def __init__(self, others: list[Change], away: bool = False) -> None:
        super().__init__(KafkaSettings())
        self.others, self.away, self.asked = others, away, 0
        self.reached, self.door = threading.Event(), threading.Event()

    def rest(self) -> list[Change]:
        self.asked += 1
        told, self.others = self.others, []
        self.reached.set()
        assert self.door.wait(30)
        if self.away:
            raise Unavailable("nobody answers")
        return told

    def take(self) -> list[Change]:
        return self.rest()

    def write(self, changes: Sequence[Change]) -> None:
        self.reached.set()
        assert self.door.wait(30)

    def leave(self) -> None:
        pass


def next_one(state: State) -> tuple[list[Change], int]:
    one = Version("mine", state.next_version("mine"), state.highest + 1, f'{{"title":"{state.highest}"}}')
    return [one], one.id


async def reached(log: Doored) -> None:
    assert await asyncio.to_thread(log.reached.wait, 30)
    log.reached.clear()


def test_a_reading_that_is_cancelled_is_still_applied_so_no_id_is_given_twice() -> None:
    async def run() -> None:
        log = Doored([Version("theirs", 1, FIRST, "{}")])
        registry = Registry(log)
        reading = asyncio.create_task(registry.refresh())
        await reached(log)
        reading.cancel()
        writing = asyncio.create_task(registry.change(next_one))
        await asyncio.sleep(0)
        log.door.set()
        assert await writing == FIRST + 1
        await registry.close()

    asyncio.run(run())


def test_a_writing_that_is_cancelled_is_still_applied() -> None:
    async def run() -> None:
        log = Doored([])
        registry = Registry(log)
        log.door.set()
        await registry.refresh()
        log.door.clear()
        log.reached.clear()
        writing = asyncio.create_task(registry.change(next_one))
        await reached(log)
        writing.cancel()
        log.door.set()
        assert await registry.change(next_one) == FIRST + 1
        await registry.close()

    asyncio.run(run())


@pytest.mark.parametrize("how", ["sure", "change"])
def test_requests_that_wait_behind_one_that_found_kafka_away_do_not_ask_again(how: str) -> None:
    async def run() -> None:
        log = Doored([], away=True)
        registry = Registry(log)
        wait = registry.sure if how == "sure" else lambda: registry.change(next_one)
        waiting = [asyncio.create_task(wait()) for _ in range(20)]
        await reached(log)
        log.door.set()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(one, Unavailable) for one in told)
        assert log.asked == 1
        await registry.close()

    asyncio.run(run())
