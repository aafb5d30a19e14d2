"""The courier brings every notice to everybody it is owed to, in order, and holds up nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from streamapp.meters.letters.courier import Courier, Patience, Receipt
from streamapp.notices.alerts import Answer, Later, Never, Notice, Told

PATIENCE = Patience(per_minute=60_000, give_up_ms=1000)
NOTICE = Notice("c-1", "opened", 0, 0, 3, "llm_usage", "billing-agg", "too_late", "", None)
TOLD = Told()
OVER = NOTICE._replace(kind="resolved")


@dataclass
class Person:
    """A destination that answers as it is told, in the end with `then`; None: never."""

    name: str
    then: Answer | None = TOLD
    answers: list[Answer] = field(default_factory=list)
    heard: list[tuple[str, str]] = field(default_factory=list)
    closed: bool = False

    async def tell(self, notice: Notice) -> Answer:
        self.heard.append((notice.incident, notice.kind))
        answer = self.answers.pop(0) if self.answers else self.then
        if answer is None:
            await asyncio.Event().wait()
        assert answer is not None
        return answer

    async def close(self) -> None:
        self.closed = True


def couriers_day(do: Callable[[Courier], Awaitable[None]], *people: Person, now_ms: int = 0) -> None:
    async def day() -> None:
        courier = Courier(people, PATIENCE, lambda: now_ms, lambda: 0.0)
        await asyncio.wait_for(do(courier), 10)
        await courier.close()
        assert all(person.closed for person in people)

    asyncio.run(day())


async def receipts(courier: Courier, count: int) -> list[Receipt]:
    """The next so many receipts."""
    taken: list[Receipt] = []
    while len(taken) < count:
        taken += courier.take()
        await asyncio.sleep(0)
    return taken


def test_everybody_gets_everything_once_and_in_order() -> None:
    one, two = Person("one"), Person("two")

    async def do(courier: Courier) -> None:
        for notice in (NOTICE, OVER, NOTICE):  # the same again while it waits
            courier.offer(notice, ("one", "two"))
        assert courier.waiting == {"one": 2, "two": 2}
        taken = await receipts(courier, 4)
        assert {(receipt.kind, receipt.destination) for receipt in taken} == {
            (kind, name) for kind in ("opened", "resolved") for name in ("one", "two")
        }
        assert {receipt.outcome for receipt in taken} == {"delivered"}
        assert (courier.waiting, courier.done) == ({"one": 0, "two": 0}, False)

    couriers_day(do, one, two)
    assert one.heard == two.heard == [("c-1", "opened"), ("c-1", "resolved")]


def test_one_who_does_not_answer_holds_up_nobody() -> None:
    dead, well = Person("dead", None), Person("well")

    async def do(courier: Courier) -> None:
        courier.offer(NOTICE, ("dead", "well"))
        courier.offer(OVER, ("dead", "well"))
        assert [receipt.destination for receipt in await receipts(courier, 2)] == ["well", "well"]
        assert courier.waiting == {"dead": 2, "well": 0}

    couriers_day(do, dead, well)


def test_one_who_is_away_is_told_later_and_the_order_stays() -> None:
    person = Person("one", answers=[Later("away", 0.0), Later("busy", 0.0)])

    async def do(courier: Courier) -> None:
        courier.offer(NOTICE, ("one",))
        courier.offer(OVER, ("one",))
        assert [receipt.kind for receipt in await receipts(courier, 2)] == ["opened", "resolved"]

    couriers_day(do, person)
    assert [kind for _, kind in person.heard] == ["opened", "opened", "opened", "resolved"]


def test_what_is_refused_is_not_sent_again_and_what_is_old_is_given_up() -> None:
    strict, away = Person("strict", Never("no such key")), Person("away", Later("away", 0.0))

    async def do(courier: Courier) -> None:
        courier.offer(NOTICE, ("strict", "away"))
        outcomes = {receipt.destination: receipt.outcome for receipt in await receipts(courier, 2)}
        assert outcomes == {"strict": "refused", "away": "given_up"}

    couriers_day(do, strict, away, now_ms=PATIENCE.give_up_ms)
    assert (len(strict.heard), len(away.heard)) == (1, 1)


def test_what_is_owed_to_nobody_we_know_is_given_up() -> None:
    async def do(courier: Courier) -> None:
        courier.offer(NOTICE, ("gone",))
        assert courier.take() == [Receipt("c-1", "opened", "gone", "given_up")]

    couriers_day(do)
