"""What every page is built from. A builder turns parameters into one `Page`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from streamapp.clock import Clock
from streamapp.dead_letters.acting import Acting
from streamapp.dead_letters.recent import Letters
from streamapp.facts.worker import WorkerFacts
from streamapp.web import show
from streamapp.web.pages.events.asking import Seeker
from streamapp.web.pages.front.extras import Extras
from streamapp.web.pages.usage.kept import KeptBills
from streamapp.web.problem import Problem
from streamapp.web.workers import group
from streamapp.web.workers.fleet import Answer, Fleet
from streamapp.web.workers.fleets import Fleets

Params = dict[str, str]

FIRST_EVENT = "streamapp simulate --events 1000"


@dataclass(frozen=True, slots=True)
class Site:
    """What every page builder needs. `fleet` is the group that a page is about: this worker's own, unless `at` says
    otherwise."""

    fleet: Fleet
    clock: Clock
    grace_ms: int
    letters: Letters
    fleets: Fleets
    extras: Extras
    ledger: KeptBills
    events: Seeker
    acting: Acting

    async def at(self, name: str) -> Site:
        """The same for pages of that group, whichever worker serves them.

        Raises `Problem` 503 when nobody is known who could answer.
        """
        if name == self.fleets.own_name:
            return replace(self, fleet=self.fleets.mine)
        await self.fleets.standings.sure()
        fleet = self.fleets.of(name)
        standing = (self.fleets.standings.last.value or {}).get(name)
        if not fleet.peers() and standing is not None and standing.state == "not visible":
            raise not_visible(name)
        if not fleet.peers():
            advice = f"Only its workers know this, and none is known to run. See how the group stands: /groups/{name}"
            raise Problem(503, f"No worker of {name} answers", advice)
        return replace(self, fleet=fleet)

    async def workers(self, name: str) -> group.Group:
        """The workers of any group: asked now if it is the own one, else as they said last, a moment ago."""
        return group.gather(await self.fleets.workers(name))

    async def group(self) -> group.Group:
        """The workers, asked now."""
        return group.gather(await self.fleet.ask("worker", {}, WorkerFacts))


async def tables_of(fleet: Fleet) -> list[str]:
    """The names of a group's tables, of those whose workers answer."""
    return sorted({name for answer in await fleet.ask("tables", {}, list[str]) for name in answer.value or []})


def not_visible(name: str) -> Problem:
    """What this worker's Kafka user may not see: no failure, and nothing to wait for. `name`: the group that can."""
    advice = (
        f"This worker's Kafka user may not see it. Open it on a worker of {name}, or give the pages a Kafka user that "
        "may: STREAM_WEB__KAFKA_USERNAME."
    )
    return Problem(403, "Not visible from this worker", advice)


@dataclass(frozen=True, slots=True)
class Notices:
    """What stands above a page when a worker is silent."""

    silent: tuple[group.Silent, ...]
    gaps: tuple[str, ...]  # names of workers whose part of this page is not known


def notices(whole: group.Group, answers: Sequence[Answer[Any]]) -> Notices:
    """Name every silent worker, and those of whom this page shows nothing though they may have something: one whose
    rows are damaged still says who it is."""
    taken_over = {s.url for s in whole.silent if s.as_of_ms is not None and not s.partitions}
    gaps = [a for a in answers if a.stale and a.value is None and a.url not in taken_over]
    named = {s.url for s in whole.silent}
    only_here = [group.Silent(a.worker, a.url, a.problem, a.as_of_ms, ()) for a in gaps if a.url not in named]
    return Notices((*whole.silent, *only_here), tuple(a.worker for a in gaps))


def moment_in(params: Params, name: str) -> int | None:
    """A time of the address, in UTC when it has no offset; None when it is not there. Raises `Problem` 400."""
    text = params.get(name, "").strip()
    if not text:
        return None
    try:
        return int(show.in_utc(text).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise Problem(400, "That is no time", "Write a time as 2025-01-15T10:00, in UTC.") from None
