"""What this worker alone knows, by topic.

The pages and `/_local/<topic>`, which the other workers ask, call the same functions.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from streamapp.facts.budget import BudgetFacts, BudgetsView, ModelsView, Spending
from streamapp.facts.events import IncidentFacts, IncidentsView, PlaceFacts, TracesView, WindowFacts
from streamapp.facts.worker import (
    AgentFacts,
    AgentsView,
    PartitionCalls,
    RawRow,
    RowFacts,
    RowsView,
    RunningView,
    Span,
    TeamFacts,
    WorkerFacts,
    WorkerView,
)
from streamapp.web.entry.rights import Role
from streamapp.web.lists import agents as agents_list
from streamapp.web.lists import hours, sums
from streamapp.web.lists.runs import Of

ROWS_MAX = 500
FIND_MAX = 20_000  # rows of a partition that are looked through for a key
MODEL_ROWS_MAX = 20_000  # hours whose models are read for one page: half a second
MODEL_ROWS_SLICE = 100
NAMES_MAX = 500

_hours, _accounts = Of(hours.by_hour), Of(agents_list.by_partition)

Params = dict[str, str]


async def worker(view: WorkerView, params: Params) -> WorkerFacts:
    """This worker and its partitions."""
    return view.worker()


async def settings(view: WorkerView, params: Params) -> list[tuple[str, str]]:
    """Settings of this worker that differ from their defaults; secrets are masked."""
    return view.settings() if isinstance(view, RunningView) else []


async def seen(view: WorkerView, params: Params) -> bool:
    """Marks a worker that is gone as seen. False: this one does not remember it."""
    return isinstance(view, RunningView) and view.mark_seen(params.get("url", ""), int(params.get("at", "")))


async def hours_slice(view: WorkerView, params: Params) -> hours.HoursSlice:
    """This worker's part of a page of hours. Sorting 100,000 rows takes a thread, not the stream's time."""
    query = hours.hours_query(params)
    rows = view.hours()
    return await asyncio.to_thread(hours.select, rows, query, _hours(view))


async def names(view: WorkerView, params: Params) -> list[hours.Named]:
    """Orgs and teams whose names contain a text, those of the newest hours first."""
    return await asyncio.to_thread(hours.names, view.hours(), params.get("text", ""), NAMES_MAX, _hours(view))


async def sums_of(view: WorkerView, params: Params) -> list[sums.PartSums]:
    """This worker's sums. What models have of an hour stands in its row: rows are read a few at a time, so that the
    stream goes on between them."""
    query = msgspec.convert({name: value for name, value in params.items() if value}, sums.SumsQuery, strict=False)
    if query.by != "model" and not query.model:
        return await asyncio.to_thread(sums.of_hours, view.hours(), query, _hours(view))
    rows = await asyncio.to_thread(sums.wanted, view.hours(), query, _hours(view))
    group_of = sums.group_of("" if query.by == "model" else query.by)
    if len(rows) > MODEL_ROWS_MAX:
        raise ValueError(f"models of {len(rows)} hours of a team are asked for, at most {MODEL_ROWS_MAX} can be read")
    found: list[sums.Row] = []
    for number, row in enumerate(rows):
        if number % MODEL_ROWS_SLICE == MODEL_ROWS_SLICE - 1:
            await asyncio.sleep(0)
        for provider, model, part in view.models(row) if isinstance(view, ModelsView) else ():
            if query.model.casefold() in f"{provider}/{model}".casefold():
                found.append((part, (provider, model) if query.by == "model" else group_of(row)))
    return await asyncio.to_thread(sums.add_up, found, query)


async def team(view: WorkerView, params: Params) -> list[TeamFacts]:
    """One entry per currency."""
    return view.team(params.get("org", ""), params.get("team", ""))


async def bill(view: WorkerView, params: Params) -> list[str]:
    """Every revision as stated. Statements are UTF-8, so their text is their bytes."""
    return [statement.decode() for statement in view.bill(params.get("id", ""))]


async def budgets(view: WorkerView, params: Params) -> list[BudgetFacts]:
    """A team's month, one entry per currency."""
    if not isinstance(view, BudgetsView):
        return []
    return view.budgets(params.get("org", ""), params.get("team", ""), params.get("month", ""))


async def spending(view: WorkerView, params: Params) -> Spending:
    """The months of the teams whose names contain these texts, the highest first."""
    if not isinstance(view, BudgetsView):
        return Spending([], [])
    most = min(int(params.get("limit") or ROWS_MAX), ROWS_MAX)
    return view.spending(params.get("month", ""), params.get("org", ""), params.get("team", ""), most)


async def agents_slice(view: WorkerView, params: Params) -> agents_list.AgentsSlice:
    """This worker's part of a page of agents. Adding up 100,000 accounts takes a thread, not the stream's time."""
    query = agents_list.agents_query(params)
    rows = view.accounts() if isinstance(view, AgentsView) else []
    return await asyncio.to_thread(agents_list.select, rows, query, _accounts(view))


async def agent(view: WorkerView, params: Params) -> list[AgentFacts]:
    """One entry per currency."""
    return view.agent(params.get("org", ""), params.get("agent", "")) if isinstance(view, AgentsView) else []


async def settlement(view: WorkerView, params: Params) -> list[str]:
    """The settlement as stated."""
    found = view.settlement(params.get("id", "")) if isinstance(view, AgentsView) else []
    return [statement.decode() for statement in found]


async def tables(view: WorkerView, params: Params) -> list[str]:
    """Names of the tables."""
    return list(view.tables())


async def rows(view: WorkerView, params: Params) -> list[RawRow]:
    """Rows of this worker's partitions from partition `from` on, behind key `after` there; by partition, then key.
    `find`: only those with this text in their key, among the first `FIND_MAX` of each partition."""
    table = params.get("table", "")
    if table not in view.tables():
        return []
    start, limit = int(params.get("from", "0")), min(int(params.get("limit", "50")), ROWS_MAX + 1)
    only = params.get("partition")
    after = row_key(params["after"]) if params.get("after") else None
    found: list[RawRow] = []
    for number in sorted({facts.partition for facts in view.worker().partitions}):
        if number < start or (only is not None and number != int(only)) or len(found) >= limit:
            continue
        behind = after if number == start else None
        if params.get("find"):
            found.extend(
                [row async for row in _with_text(view, table, behind, number, params["find"], limit - len(found))]
            )
        else:
            found.extend(view.rows(table, behind, limit - len(found), number))
    return found


def key_text(key: tuple[Any, ...]) -> str:
    """A key as people read it."""
    return " · ".join(map(str, key))


async def _with_text(
    view: WorkerView, table: str, after: tuple[Any, ...] | None, partition: int, text: str, limit: int
) -> AsyncIterator[RawRow]:
    """Up to `limit` rows whose key has a text. The stream goes on between two reads."""
    wanted, found = text.casefold(), 0
    for _ in range(FIND_MAX // ROWS_MAX):
        rows = view.rows(table, after, ROWS_MAX, partition)
        for row in rows:
            if wanted in key_text(row.key).casefold():
                yield row
                found += 1
                if found == limit:
                    return
        if len(rows) < ROWS_MAX:
            return
        after = rows[-1].key
        await asyncio.sleep(0)


async def since(view: WorkerView, params: Params) -> list[RowFacts]:
    """Rows by key and hour of this worker's partitions, `limit` of them: the newest hours first, then by name."""
    if not isinstance(view, RowsView):
        return []
    limit = min(int(params.get("limit") or ROWS_MAX), ROWS_MAX + 1)
    return view.since(int(params.get("from", "")), limit)


def newest_first(row: RowFacts) -> tuple[int, tuple[Any, ...]]:
    """The order of rows by key and hour."""
    return -row.start_ms, tuple(row.names.values())


async def calls(view: WorkerView, params: Params) -> list[PartitionCalls]:
    """Calls of this worker's partitions, one after the other: the stream goes on between them."""
    span, each = _span(params.get("span", "")), params.get("each") == "1"
    from_ms, until_ms = int(params.get("from", "")), int(params.get("until", ""))
    found = []
    for facts in view.worker().partitions:
        part = view.calls(facts.partition, span, from_ms, until_ms, each)
        found.append(PartitionCalls(facts.partition, facts.position, tuple(part)))
        await asyncio.sleep(0)
    return found


async def place(view: WorkerView, params: Params) -> list[PlaceFacts]:
    """What this worker's partitions remember of an event id, `starts` as `partition:offset,…`."""
    pairs = (part.split(":") for part in params.get("starts", "").split(",") if part)
    starts = {int(partition): int(offset) for partition, offset in pairs}
    return await view.places(params.get("id", ""), starts) if isinstance(view, TracesView) else []


async def window(view: WorkerView, params: Params) -> list[WindowFacts]:
    """The row that counts an event of the names `n0`, `n1`, … at a time."""
    names = tuple(params[f"n{number}"] for number in range(4) if f"n{number}" in params)
    return view.window(names, int(params.get("at", ""))) if isinstance(view, TracesView) else []


async def incidents(view: WorkerView, params: Params) -> list[IncidentFacts]:
    """Incidents of this worker's dead letters."""
    return view.incidents() if isinstance(view, IncidentsView) else []


def _span(text: str) -> Span:
    spans: dict[str, Span] = {"minute": "minute", "hour": "hour"}
    if text not in spans:
        raise ValueError("span is minute or hour")
    return spans[text]


def row_key(text: str) -> tuple[Any, ...]:
    """A key as it travels in a link. Raises ValueError when it is none."""
    parts = json.loads(text)
    if not isinstance(parts, list) or not all(part is None or isinstance(part, str | int) for part in parts):
        raise ValueError("a key is a JSON array of strings and integers")
    return tuple(parts)


class Topic(NamedTuple):
    """What workers ask each other, and the least role of the person for whom they ask."""

    least: Role
    answer: Callable[[WorkerView, Params], Awaitable[Any]]


ANSWERS: Mapping[str, Topic] = {
    "worker": Topic("viewer", worker),
    "settings": Topic("viewer", settings),
    # The one that acts: it changes what workers remember, nothing of the stream. `/act` has asked for an Origin and
    # kept it in audit_log; no browser can send the header of peers from a page.
    "seen": Topic("operator", seen),
    "hours": Topic("viewer", hours_slice),
    "names": Topic("viewer", names),
    "sums": Topic("viewer", sums_of),
    "team": Topic("viewer", team),
    "bill": Topic("viewer", bill),
    "budgets": Topic("viewer", budgets),
    "spending": Topic("viewer", spending),
    "agents": Topic("viewer", agents_slice),
    "agent": Topic("viewer", agent),
    "settlement": Topic("viewer", settlement),
    "tables": Topic("viewer", tables),
    "rows": Topic("reader", rows),
    "since": Topic("reader", since),
    "calls": Topic("viewer", calls),
    "place": Topic("reader", place),
    "window": Topic("reader", window),
    "incidents": Topic("viewer", incidents),
}
