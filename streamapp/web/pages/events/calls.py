"""The calls behind a statement: what is read for a bill or a settlement, for pages and for the command."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from streamapp.errors import Refused, Unavailable
from streamapp.events.event import Event
from streamapp.events.fate import Fate
from streamapp.events.listing import Listing
from streamapp.kafka.log.reader import Span
from streamapp.schemas.billing import Coverage
from streamapp.schemas.settlement import RpcSettled
from streamapp.web import show
from streamapp.web.pages.agents import GROUP as SETTLING
from streamapp.web.pages.events.asking import Seeker
from streamapp.web.pages.front.front import BILLING
from streamapp.web.pages.usage.bill import Revision, read_all


@dataclass(frozen=True, slots=True)
class Behind:
    """Whose calls a statement is about. `names` are those of the counting row without the org; `since_ms` and
    `until_ms` are those of a bill's hour. `amount`: what they cost together, as stated."""

    id: str
    org: str
    names: tuple[str, ...]
    key: bytes
    coverage: Coverage
    amount: Decimal
    currency: str
    since_ms: int | None = None
    until_ms: int | None = None

    def fits(self, event: Event) -> bool:
        """Whether an event counts for whom the statement is."""
        if event.names[1:] != self.names or event.names[0] not in ("", self.org):
            return False
        at_ms = event.at_ms or 0
        return self.since_ms is None or self.until_ms is None or self.since_ms <= at_ms < self.until_ms

    def keeps(self, fate: Fate) -> bool:
        """Whether this statement, and no other settlement, is where a call was settled."""
        return fate.state != "settled" or any(link.id == self.id for link in fate.links)

    async def listed(self, seeker: Seeker, first: int) -> Listing:
        """Its calls from an offset on. Raises `StreamError`."""
        covered = self.coverage
        span = Span(first, covered.last_offset + 1)
        return await seeker.list.behind(covered.topic, covered.partition, span, self.fits, self.key, self.keeps)


def of_bill(one: Revision) -> Behind:
    """The calls of one revision and of those before it."""
    data = one.data
    names, key = (data.team_id, data.currency), data.team_id.encode()
    times = one.start_ms, one.end_ms
    return Behind(one.id, one.org, names, key, data.coverage, data.totals.cost, data.currency, *times)


def of_settlement(one: RpcSettled) -> Behind:
    """The calls of a settlement. What it corrects of earlier ones has no calls here."""
    data = one.data
    amount = show.total((data.amount, -show.total(part.cost for part in data.carried.values())))
    names = data.agent, data.consumer, data.currency
    return Behind(one.id, one.org_id, names, data.agent.encode(), data.coverage, amount, data.currency)


async def calls_behind(seeker: Seeker, statement_id: str) -> Listing:
    """The calls behind a bill or a settlement, whichever has the id. Raises `Refused` when neither has it."""
    silent: list[str] = []
    for group, question in ((BILLING, "bill"), (SETTLING, "settlement")):
        told = await seeker.trace.ask(group, question, {"id": statement_id}, list[str])
        silent += [one.worker for one in told if one.value is None] or ([] if told else [f"a worker of {group}"])
        texts: list[str] = next((one.value for one in told if one.value), [])
        if not texts:
            continue
        if question == "bill":
            shown = next(one for one in read_all([text.encode() for text in texts], 0) if one.id == statement_id)
            return await _listed(seeker, of_bill(shown))
        return await _listed(seeker, of_settlement(RpcSettled.model_validate_json(texts[0])))
    if silent:
        raise Unavailable(f"bill {statement_id} is not known to those who answer; {', '.join(silent)} does not answer")
    raise Refused(f"no bill and no settlement has the id {statement_id}; workers keep bills for 14 days")


async def _listed(seeker: Seeker, behind: Behind) -> Listing:
    return await behind.listed(seeker, behind.coverage.first_offset)
