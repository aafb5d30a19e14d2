"""How whoever looks for an event reaches the workers: from a page, by its fleets; from a command, by Kafka's word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamapp.clock import Clock
from streamapp.dead_letters.recent import Letters
from streamapp.events.listing import Lister
from streamapp.events.log import EventLog
from streamapp.events.sources import Ask, Objects, Store, Told
from streamapp.events.trace import Tracer
from streamapp.watch.standing import Standing, Standings
from streamapp.web.peers import Sign, unsigned
from streamapp.web.workers.fleet import Fleet
from streamapp.web.workers.fleets import Fleets


class Seeker:
    """One event, and lists of them, over the same log and the same workers."""

    def __init__(
        self,
        log: EventLog,
        letters: Letters,
        ask: Ask,
        store: Store | None = None,
        archive: Objects | None = None,
    ) -> None:
        self.trace = Tracer(log, letters, ask, store, archive)
        self.list = Lister(log, letters, self.trace)


def of_pages(fleets: Fleets) -> Ask:
    """Asks as the pages do."""

    async def ask(group: str, question: str, params: Mapping[str, str], type_: Any) -> list[Told]:
        await fleets.standings.sure()
        return await _told(fleets.of(group), question, params, type_)

    return ask


def of_command(standings: Standings, clock: Clock, timeout_s: float, sign: Sign = unsigned) -> Ask:
    """Asks the workers that Kafka names, as one of them would."""
    fleets: dict[str, Fleet] = {}
    known: dict[str, Mapping[str, Standing]] = {}

    async def ask(group: str, question: str, params: Mapping[str, str], type_: Any) -> list[Told]:
        if not known:
            known["now"] = await standings.now()
        if group not in fleets:
            urls = known["now"][group].urls
            fleets[group] = Fleet(None, clock, timeout_s, lambda: urls, sign)
        return await _told(fleets[group], question, params, type_)

    return ask


async def _told(fleet: Fleet, question: str, params: Mapping[str, str], type_: Any) -> list[Told]:
    answers = await fleet.ask(question, dict(params), type_)
    return [Told(one.worker, None if one.stale else one.value, one.problem) for one in answers]
