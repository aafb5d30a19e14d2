"""The front page, which shows every group, and the page of one group; the same on whichever worker serves them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streamapp.settings.told import is_own
from streamapp.topics import registry
from streamapp.web import show
from streamapp.web.pages import chart
from streamapp.web.pages.front import lags, reconciliation, whole
from streamapp.web.pages.front.extras import Incidents, Waiting
from streamapp.web.pages.models import charts
from streamapp.web.pages.page import FIRST_EVENT, Params, Site, tables_of
from streamapp.web.problem import Problem
from streamapp.web.render import Page
from streamapp.web.workers import gone, group

BILLING = "billing-agg"
CURRENCIES_MAX = 4  # in a figure; the twin has all
START = "faust --loop=uvloop -A streamapp.agents.{} worker -l info"
COUNTED = ("requests", "errors", "prompt_tokens", "completion_tokens", "total_tokens")


async def front(site: Site, params: Params) -> Page:
    """`/`: one look says whether all is well. `verdict` and `level` of its twin `/index.json` are `ok`, `stale` (the
    page says Warning) or `wrong` (Problem)."""
    extras = site.extras
    look, waiting, capture, drawn, agreed, incidents = await asyncio.gather(
        whole.look(site),
        extras.waiting.get(),
        extras.capture.get(),
        extras.charts.get(),
        extras.reconciliation.now(),
        extras.incidents.get(),
    )
    look = look.along_with([*agreed.findings(), *_refused(waiting.value, incidents.value)])
    billing = look.of(BILLING).workers
    money = billing.money()
    twin = {
        "verdict": look.level,
        "findings": [{"group": name or None, "level": one.level, "text": one.text} for name, one in look.findings],
        "groups": [_twin(one, site.clock()) for one in look.groups],
        "asked_kafka_ms": look.asked.as_of_ms,
        "versions": look.versions,
        "lag": look.lag,
        "events_per_s": round(look.events_per_s, 3),
        "money": [dict(zip(("currency", "open", "closed_today", "revised_today"), one, strict=True)) for one in money],
        "open_hours": billing.count("open_hours"),
        "letters_waiting": waiting.value.count if waiting.value else None,
        "incidents_open": len(incidents.value.open) if incidents.value else None,
        "capture": capture.value,
        "reconciliation": reconciliation.twin(agreed),
    }
    context = {
        "look": look,
        "money": money[:CURRENCIES_MAX],
        "more_money": len(money) - CURRENCIES_MAX,
        "billing": billing,
        "waiting": waiting,
        "capture": capture.value,
        "charts": drawn,
        "reconciliation": agreed,
        "panels": charts.panels,
        "curve": chart.line(look.curve),
        "curve_top": max(look.curve, default=0.0),
        "line": chart.line,
        "first_event": FIRST_EVENT if not any(one.workers.has_events for one in look.groups) else "",
    }
    return Page("overview.html", "Overview", context, twin, place="overview")


def _refused(waiting: Waiting | None, incidents: Incidents | None) -> list[group.Finding]:
    """What is refused is not well, though every group runs."""
    found = []
    if incidents is not None and (going_on := incidents.open):
        count, newest = len(going_on), going_on[0]
        what = (
            f"{count} incident{'s are' if count != 1 else ' is'} open; the newest is {newest.reason} on {newest.topic}."
        )
        found.append(group.Finding("stale", what, "/incidents"))
    if waiting is not None and waiting.count:
        more = "" if waiting.all_of_them else " or more"
        many = f"{show.number(waiting.count)}{more} dead letter{'s' if waiting.count != 1 else ''}"
        found.append(group.Finding("stale", f"{many} wait{'s' if waiting.count == 1 else ''} for review.", "/letters"))
    return found


async def one_group(site: Site, params: Params) -> Page:
    """`/groups/{group}`: its partitions, its workers, its tables."""
    name = params["group"]
    if name not in {one.name for one in registry.GROUPS}:
        known = ", ".join(one.name for one in registry.GROUPS)
        raise Problem(404, f"No group is called {show.visible(name)}", f"The groups: {known}.")
    asked = site.fleets.of(name).ask("settings", {}, list[tuple[str, str]])
    look, hour, settings = await asyncio.gather(whole.look(site, (name,)), site.extras.lags.get(), asked)
    one, minutes = look.of(name), lags.whole((hour.value or {}).get(name, ()))
    found = [finding for _, finding in look.findings]
    tables = await tables_of(site.fleets.of(name)) if one.answering else []
    runs = [(told.worker, told.value) for told in settings if not told.stale and told.value is not None]
    twin = {
        **_twin(one, site.clock()),
        **_group_twin(one, minutes),
        "verdict": look.level,
        "findings": found,
        "settings": [{"worker": worker, "changed": dict(value)} for worker, value in runs],
        "tables": [{"name": table, "url": show.table_url(table, name)} for table in tables],
    }
    owned_now = {(owned.facts.topic, owned.facts.partition) for owned in one.workers.partitions}
    context = {
        "one": one,
        "group": one.workers,
        "left": gone.text,
        "findings": found,
        "level": look.level,
        "settings": changed_settings([value for _, value in runs]),
        "settings_told": bool(runs),
        "others": [cell for cell in one.cells if (cell.topic, cell.partition) not in owned_now],
        "tables": tables,
        "counts_hours": any(owned.facts.open_hours for owned in one.workers.partitions),
        "curve": chart.line(one.workers.curve),
        "curve_top": max(one.workers.curve, default=0.0),
        "first_event": FIRST_EVENT,
        "hour": hour,
        "minutes": minutes,
        "panels": lags.panels,
        "start": START.format(name.replace("-", "_")),
    }
    return Page("group.html", name, context, twin, place="overview")


def _group_twin(one: whole.GroupLook, minutes: Sequence[lags.Minute]) -> dict[str, Any]:
    """What the page of a group tells beside what the front page does."""
    return {
        "topics": one.registered.topics,
        "partitions": [
            {"owner": o.owner, "stale": o.stale, "lag": o.facts.lag, "facts": o.facts} for o in one.workers.partitions
        ],
        "missing": one.workers.missing,
        "workers": [
            {"name": f.name, "url": f.url, "version": f.version, "started_ms": f.started_ms, "stale": s}
            for f, s in one.workers.workers
        ],
        "silent": one.workers.silent,
        "gone": one.workers.gone,
        "dead_letters": one.workers.dead_letters(),
        "expired_unread": one.expired,
        "minutes": [
            {"start_ms": at.start_ms, "lag": at.lag, "age_s": at.age_s, "to_loss_s": at.to_loss_s} for at in minutes
        ],
    }


@dataclass(frozen=True, slots=True)
class ChangedSetting:
    """A setting that a worker has changed. Different secrets have one value here, the mask."""

    variable: str
    values: tuple[str | None, ...]  # None: the default

    @property
    def differs(self) -> bool:
        """Whether workers run with different values of what they should have in common."""
        return len(self.values) > 1 and not is_own(self.variable)


def changed_settings(told: Sequence[Sequence[tuple[str, str]]]) -> list[ChangedSetting]:
    """What workers tell of themselves, by variable."""
    known = [dict(each) for each in told]
    found = []
    for variable in dict.fromkeys(variable for each in known for variable in each):
        values = {each.get(variable) for each in known}
        found.append(ChangedSetting(variable, tuple(sorted(values, key=lambda value: (value is None, value or "")))))
    return found


def _twin(one: whole.GroupLook, now_ms: int) -> dict[str, Any]:
    return {
        "group": one.name,
        "state": one.state,
        "lag": one.lag,
        "age_s": one.age_s,
        "to_loss_s": one.to_loss_s,
        "events_per_s": round(one.workers.events_per_s, 3),
        "last_commit_ms": one.workers.last_commit_ms,
        "answering_workers": one.answering,
        "url": show.group_url(one.name),
        "owners": [
            {"topic": c.topic, "partition": c.partition, "owner": c.owner, "lag": c.lag, "stale": c.stale}
            for c in one.cells
        ],
    }


async def charts_page(site: Site, params: Params) -> Page:
    """`/charts`: tokens, cost and latency by the minute, drawn and as numbers."""
    heard = await site.extras.charts.get()
    known = heard.value
    twin = {
        "minutes": [
            {"start_ms": one.start_ms, **{name: getattr(one, name) for name in COUNTED}, "cost": one.cost,
             "latency": {"p50": one.latency_p50_ms, "p95": one.latency_p95_ms, "p99": one.latency_p99_ms},
             "ttft": {"p50": one.ttft_p50_ms, "p95": one.ttft_p95_ms}} for one in known.minutes
        ] if known else [],
        "missing_workers": known.missing if known else None,
        "as_of_ms": heard.as_of_ms,
        "stale": bool(heard.problem),
        "problem": heard.problem or None,
    }  # fmt: skip
    return Page("charts.html", "Charts", {"charts": heard, "panels": charts.panels}, twin, place="charts")
