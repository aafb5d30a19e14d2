"""What teams have spent of their months: the list of all, and one team's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from streamapp.facts.budget import BudgetFacts, Spending
from streamapp.web import show
from streamapp.web.pages.page import FIRST_EVENT, Params, Site, notices
from streamapp.web.pages.usage.accounts import best, known, said_by
from streamapp.web.pages.usage.span import month_of
from streamapp.web.render import Page
from streamapp.web.workers.fleet import Answer

SHOWN = 50


def month_asked(params: Params) -> str:
    """The month of the address; empty: the present one. Raises `Problem` 400."""
    return month_of(params["month"]) if params.get("month") else ""


async def budget(site: Site, params: Params) -> Page:
    """`/budgets/{org}/{team}`: one team's month, as of now: no answer is older than the question. The owner of the team
    answers by itself."""
    org, name = params.get("org", ""), params.get("team", "")
    wanted = {"org": org, "team": name, "month": month_asked(params)}
    own = await site.fleet.own("budgets", wanted)
    answers = [own] if own and own.value else await site.fleet.ask("budgets", wanted, list[BudgetFacts], share_ms=0)
    found, whole = best(answers), None
    if found is None or found.stale:  # a gateway that has its figure waits for nothing else
        whole = await site.group()
        advice = "Check both names. A team appears with its first event, or when the directory has a limit for it."
        found, _ = known(answers, whole, f"usage of team {show.visible(name)} in {show.visible(org)}", advice)
    months: list[BudgetFacts] = found.value or []
    context = {"org": org, "team": name, "months": months, **said_by(found, whole, answers)}
    twin = {
        "org": org,
        "team": name,
        "worker": found.worker,
        "stale": found.stale,
        "currencies": [told(facts) for facts in months],
    }
    return Page("budget.html", f"Budget of {show.visible(name)}", context, twin, place="budgets", is_small=True)


def told(facts: BudgetFacts) -> dict[str, Any]:
    """A month as JSON. A gateway refuses the next call where `hard_limit_reached` says so."""
    fields = {name: getattr(facts, name) for name in BudgetFacts.__dataclass_fields__}
    reached = {limit.kind for limit in facts.limits if limit.left <= 0}
    return {**fields, "soft_limit_reached": "soft" in reached, "hard_limit_reached": "hard" in reached}


async def budgets(site: Site, params: Params) -> Page:
    """`/budgets`: the month of every team, the highest first. With the names of one in the query, that one's."""
    names = {params.get("org"), params.get("team")}
    if not params.get("find") and None not in names and names & {"", ".", ".."}:
        return await budget(site, params)
    wanted = {name: params.get(name, "") for name in ("org", "team")}
    wanted |= {"month": month_asked(params), "limit": str(SHOWN)}
    whole, answers = await asyncio.gather(site.group(), site.fleet.ask("spending", wanted, Spending))
    rows, count, sums = merged(answers, whole.owned_now)
    month = wanted["month"] or max((row.month for row in rows), default="")
    context = {
        "rows": rows[:SHOWN],
        "count": count,
        "sums": sums,
        "month": month,
        "params": params,
        "filtered": bool(wanted["org"] or wanted["team"] or wanted["month"]),
        "first_event": FIRST_EVENT,
        "notices": notices(whole, answers),
    }
    twin = {
        "month": month,
        "matching": count,
        "spent": dict(sums),
        "teams": [told(row) for row in rows[:SHOWN]],
        "silent": whole.silent,
    }
    return Page("budgets.html", "Budgets", context, twin, place="budgets")


def merged(
    answers: Sequence[Answer[Spending]], owned: frozenset[int]
) -> tuple[list[BudgetFacts], int, list[tuple[str, Decimal]]]:
    """Rows, how many there are, and their sums by currency. What a silent worker knew of a partition that another one
    owns now is dropped."""
    parts = sorted((answer for answer in answers if answer.value is not None), key=lambda answer: answer.stale)
    rows: list[BudgetFacts] = []
    count, sums, known = 0, dict[str, Decimal](), set[int]()
    for answer in parts:
        assert answer.value is not None
        gone = known | (owned if answer.stale else frozenset())
        tallies = [tally for tally in answer.value.tallies if tally.partition not in gone]
        rows += [row for row in answer.value.months if row.partition not in gone]
        count += sum(tally.months for tally in tallies)
        for currency, spent in (item for tally in tallies for item in tally.spent.items()):
            sums[currency] = show.total((sums.get(currency, Decimal(0)), spent))
        known |= {tally.partition for tally in answer.value.tallies}
    rows.sort(key=lambda row: (row.spent.copy_negate(), row.org, row.team, row.currency))
    return rows, count, sorted(sums.items(), key=lambda item: (item[1].copy_negate(), item[0]))
