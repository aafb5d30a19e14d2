"""The pages of metered calls: the agents, the meter of one agent, a settlement."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import asdict
from typing import Any

import orjson

from streamapp.facts.worker import AgentFacts
from streamapp.schemas.settlement import RpcSettled
from streamapp.schemas.values.timestamp import written_ms
from streamapp.web import show
from streamapp.web.lists import agents as agents_list
from streamapp.web.lists.agents import AgentRow
from streamapp.web.pages.page import Params, Site, notices
from streamapp.web.pages.usage.accounts import known, said_by
from streamapp.web.problem import Problem
from streamapp.web.render import Page
from streamapp.web.workers.fleet import Answer
from streamapp.web.workers.group import Group

GROUP = "rpc-billing"
CONSUMERS_MAX = 25  # in the table; the JSON has all


async def agents_page(site: Site, params: Params) -> Page:
    """`/agents`: who was called, what of it is open, pending and settled."""
    wanted = {key: params[key] for key in ("org", "agent", "sort", "after", "limit") if params.get(key)}
    try:
        query = agents_list.agents_query(wanted)
    except ValueError as error:
        raise Problem(400, "That list of agents cannot be shown", f"In the address, {error}.") from None
    whole, answers = await asyncio.gather(site.group(), site.fleet.ask("agents", wanted, agents_list.AgentsSlice))
    parts = [(a.worker, a.stale, a.value) for a in answers if a.value is not None]
    page = await asyncio.to_thread(agents_list.merge, parts, whole.owned_now, query)

    def twin() -> dict[str, Any]:
        return {
            "agents": [{"worker": worker, "stale": stale, **asdict(row)} for row, worker, stale in page.rows],
            "matching": page.matching,
            "next": agents_url(params, after=page.next) if page.next else None,
            "silent": whole.silent,
        }

    context = {
        "page": page,
        "query": query,
        "params": params,
        "url": lambda **changes: agents_url(params, **changes),
        "filtered": bool(query.org or query.agent),
        "elsewhere": whole.name != GROUP,
        "notices": notices(whole, answers),
    }
    return Page("agents.html", "Agents", context, twin, place="agents")


def agents_url(params: Params, **changes: str) -> str:
    """The list with some parameters changed; a new sort begins with the first page."""
    kept = {key: params[key] for key in ("org", "agent", "sort", "limit") if params.get(key)}
    return show.linked("/agents", kept | changes)


async def agent_page(site: Site, params: Params) -> Page:
    """`/agents/{org}/{agent}`: the meter, by method and by consumer."""
    org, name = params.get("org", ""), params.get("agent", "")
    whole, answers = await asyncio.gather(
        site.group(), site.fleet.ask("agent", {"org": org, "agent": name}, list[AgentFacts])
    )
    advice = "Check both names, or look for the agent in the list of agents. It appears with its first call."
    found, told = known(answers, whole, f"agent {show.visible(name)} of {show.visible(org)}", advice)
    entries = [(entry, agents_list.added(entry.accounts)) for entry in told]
    context = {
        "org": org,
        "agent": name,
        "entries": entries,
        "consumers_max": CONSUMERS_MAX,
        **said_by(found, whole, answers),
    }

    def twin() -> dict[str, Any]:
        return {
            "org": org,
            "agent": name,
            "worker": found.worker,
            "stale": found.stale,
            "currencies": [_usage_report(*entry) for entry in entries],
        }

    return Page("agent.html", f"{show.visible(name)} · {show.visible(org)}", context, twin, place="agents")


def _usage_report(entry: AgentFacts, sums: AgentRow) -> dict[str, Any]:
    """As HIP-25's usage report: methods with count and cost, and the total."""
    return {
        "currency": entry.currency,
        "methods": {one.method: {"count": one.count, "cost": one.cost} for one in entry.methods},
        "total": sums.total,
        "request_count": sums.calls,
        "open": sums.open,
        "pending": sums.pending,
        "settled": sums.settled,
        "min_amount": entry.min_amount,
        "watermark_ms": entry.watermark_ms,
        "closes_at_ms": entry.closes_at_ms,
        "consumers": entry.accounts,
    }


async def _settled(site: Site, params: Params) -> tuple[Group, Answer[list[str]], str]:
    """The workers, the answer of the one that knows a settlement, and its exact text. Raises `Problem`."""
    whole, answers = await asyncio.gather(site.group(), site.fleet.ask("settlement", {"id": params["id"]}, list[str]))
    advice = "Check the id. Settlements are kept here for a week; older ones are in the ledger."
    found, (exact, *_) = known(answers, whole, f"settlement {show.visible(params['id'])}", advice)
    return whole, found, exact


async def settled(site: Site, params: Params) -> tuple[RpcSettled, list[int]]:
    """A settlement, and when it was stated, began and ended. Raises `Problem`."""
    _, found, exact = await _settled(site, params)
    return _read(exact, found.worker)


def _read(exact: str, worker: str) -> tuple[RpcSettled, list[int]]:
    try:
        one = RpcSettled.model_validate_json(exact)
    except ValueError:
        advice = f"Worker {show.visible(worker)} answered with bytes that are no settlement."
        raise Problem(503, "This settlement cannot be read", advice) from None
    return one, [written_ms(text) for text in (one.timestamp, one.data.period_start, one.data.period_end)]


async def settlement_page(site: Site, params: Params) -> Page:
    """`/settlements/{id}`: one settlement like a receipt."""
    whole, found, exact = await _settled(site, params)
    one, times = _read(exact, found.worker)
    digest = hashlib.sha256(exact.encode()).hexdigest()
    costs = [*(part.cost for part in one.data.methods.values()), *(part.cost for part in one.data.carried.values())]
    context = {
        "one": one,
        "stated_ms": times[0],
        "start_ms": times[1],
        "end_ms": times[2],
        "adds_up": show.total(costs) == one.data.amount,
        "exact_json": exact,
        "sha256": digest,
        "raw_url": f"{show.settlement_url(one.id)}/statement",
        **said_by(found, whole),
    }
    twin = {
        "id": one.id,
        "worker": found.worker,
        "stale": found.stale,
        "sha256": digest,
        "statement": orjson.Fragment(exact),
    }
    return Page("settlement.html", f"Settlement {show.short_id(one.id)}", context, twin, place="agents")


async def settled_bytes(site: Site, params: Params) -> bytes:
    """`/settlements/{id}/statement`: the bytes as they stand in `billing_events`."""
    _, _, exact = await _settled(site, params)
    return exact.encode()
