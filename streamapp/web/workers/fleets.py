"""The workers of every group, whichever worker asks: its own group as Faust's assignor knows it, the others as Kafka
does."""

from __future__ import annotations

from collections.abc import Mapping

from streamapp.clock import Clock
from streamapp.facts.worker import WorkerFacts, WorkerView
from streamapp.watch.standing import Standing, Standings
from streamapp.web.peers import Sign, unsigned
from streamapp.web.workers.fleet import Answer, Fleet
from streamapp.web.workers.kept import Kept

SAID_MS = 900  # an open page asks once a second
GONE = frozenset({"no worker", "never started"})


class Fleets:
    """One fleet per group, made when it is first asked."""

    def __init__(
        self, view: WorkerView, clock: Clock, peer_timeout_s: float, standings: Standings, sign: Sign = unsigned
    ) -> None:
        self.mine = Fleet(view, clock, peer_timeout_s, view.peers, sign)
        self._sign = sign
        self.standings: Kept[Mapping[str, Standing]] = Kept(standings.now, clock)
        self._own = ""
        self._view, self._clock, self._timeout_s = view, clock, peer_timeout_s
        self._others: dict[str, Fleet] = {}
        self._urls: dict[str, tuple[str, ...]] = {}
        self._said: dict[str, Kept[list[Answer[WorkerFacts]]]] = {}

    @property
    def own_name(self) -> str:
        """The group of this worker."""
        self._own = self._own or self._view.worker().group
        return self._own

    def of(self, name: str) -> Fleet:
        """The fleet of a registered group; who belongs to it is what `standings` heard last."""
        if name == self.own_name:
            return self.mine
        if name not in self._others:
            self._others[name] = Fleet(None, self._clock, self._timeout_s, lambda: self._known(name), self._sign)
        return self._others[name]

    async def workers(self, name: str) -> list[Answer[WorkerFacts]]:
        """What the workers of a group say of themselves. No page waits for those of another group."""
        if name == self.own_name:
            return await self.mine.ask("worker", {}, WorkerFacts)
        return (await self._heard(name).get()).value or []

    async def again(self, name: str) -> None:
        """Forgets what the workers of a group said of themselves, and asks them: an act has changed it."""
        for _ in range(2):  # a question that was on its way is shared: its answer may be of before the act
            await self.of(name).ask("worker", {}, WorkerFacts, share_ms=0)
        if self._said.pop(name, None) is not None:
            await self._heard(name).sure()

    def _heard(self, name: str) -> Kept[list[Answer[WorkerFacts]]]:
        if name not in self._said:
            self._said[name] = Kept(lambda: self._ask(name), self._clock, fresh_ms=SAID_MS)
        return self._said[name]

    async def _ask(self, name: str) -> list[Answer[WorkerFacts]]:
        await self.standings.sure()
        return await self.of(name).ask("worker", {}, WorkerFacts)

    def urls(self, name: str) -> tuple[str, ...]:
        """Where the workers of a group are, this one among them if it is one."""
        if name != self.own_name:
            return self._known(name)
        return tuple(dict.fromkeys((self._view.worker().url, *self._view.peers())))

    def _known(self, name: str) -> tuple[str, ...]:
        """While a group rebalances, Kafka does not say where its members are: they are where they were."""
        standing = (self.standings.last.value or {}).get(name)
        if standing is not None and (standing.urls or standing.state in GONE):
            self._urls[name] = standing.urls
        return self._urls.get(name, ())
