"""How much money the workers of billing groups have read and not stated: asked of them, as the pages do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from functools import partial

from streamapp.clock import Clock
from streamapp.facts.worker import WorkerFacts
from streamapp.kafka.groups import Seen
from streamapp.watch.money import CURRENCY, Told, billing
from streamapp.watch.standing import address
from streamapp.web import show
from streamapp.web.peers import Sign, unsigned
from streamapp.web.workers.fleet import Fleet
from streamapp.web.workers.group import gather


class OpenMoney:
    """Asks whoever Kafka names as a member of a billing group."""

    def __init__(self, clock: Clock, timeout_s: float, sign: Sign = unsigned) -> None:
        self._urls: dict[str, tuple[str, ...]] = {}
        names = [one.name for one in billing()]
        self._fleets = {name: Fleet(None, clock, timeout_s, partial(self._of, name), sign) for name in names}

    def _of(self, name: str) -> tuple[str, ...]:
        return self._urls.get(name, ())

    async def ask(self, seen: Seen) -> Mapping[str, Told | None]:
        """Group → what all its workers say together; None unless all partitions have an owner that answers now, and
        the group's table tells money."""
        for name in self._fleets:
            members = seen.groups[name].members if name in seen.groups else ()
            self._urls[name] = tuple(dict.fromkeys(url for member in members if (url := address(member))))
        told = await asyncio.gather(*(self._told(fleet) for fleet in self._fleets.values()))
        return dict(zip(self._fleets, told, strict=True))

    async def _told(self, fleet: Fleet) -> Told | None:
        answers = await fleet.ask("worker", {}, WorkerFacts)
        whole = gather(answers)
        if whole.silent or whole.missing or whole.contested or not whole.partitions:
            return None
        facts, events = [one for one, _ in whole.workers], 0
        for one in facts:
            if one.open_events is None:
                return None
            events += one.open_events.get(CURRENCY, 0)
        return Told(show.total(one.open_cost.get(CURRENCY, Decimal(0)) for one in facts), events)
