"""`streamapp events`: where is my event?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from streamapp.cli.group import Choice
from streamapp.cli.moment import Moment
from streamapp.cli.printed import console, counted, json_option, print_json, print_table
from streamapp.cli.reached import reached
from streamapp.clock import entropy, wall_ms
from streamapp.dead_letters.recent import RecentLetters
from streamapp.errors import Refused
from streamapp.events.event import Event
from streamapp.events.kept import ArchiveObjects, captured_store
from streamapp.events.listing import PRICED, TAIL, TOPICS, Listing, between
from streamapp.events.log import KafkaEventLog
from streamapp.events.names import place_of
from streamapp.events.trace import Trace
from streamapp.schemas.values.mask import mask_text
from streamapp.schemas.values.timestamp import format_ms
from streamapp.settings import Settings
from streamapp.watch.standing import KafkaStandings
from streamapp.watch.user import pages_user
from streamapp.web.entry.identity import Asker
from streamapp.web.pages.events.asking import Seeker, of_command
from streamapp.web.pages.events.calls import calls_behind
from streamapp.web.pages.events.shown import listing_twin, trace_twin
from streamapp.web.peers import ASKING, Seals, keys_of, unsigned
from streamapp.web.workers.wire import plain

ANSWER_S = 10.0  # a command waits for Kafka and for workers; a page cannot
ME = Asker("streamapp events", frozenset({"reader"}))
STYLES = {"refused": "red", "dropped": "dim", "duplicate": "dim", "pending": "yellow", "in flight": "yellow"}

T = TypeVar("T")


@click.command(name="events")
@click.option("--id", "event_id", help="Follow one event: its id, or its place like llm_usage[3]@31617.")
@click.option("--bill", "statement_id", help="The calls behind a bill or a settlement.")
@click.option("--team", help="Events of this team; with --topic agent_rpc_metering, of this agent.")
@click.option("--topic", type=Choice(TOPICS), default=TOPICS[0], show_default=True, help="Topic for --team and --tail.")
@click.option(
    "--from",
    "from_ms",
    type=Moment(),
    help="With --team: that arrived at this time or later. Without it, an hour before --to.",
)
@click.option(
    "--to", "until_ms", type=Moment(), help="With --team: that arrived before this time. Without it, until now."
)
@click.option("--tail", is_flag=True, help=f"The newest {TAIL}, of --team if it is given.")
@json_option
def command(
    event_id: str | None,
    statement_id: str | None,
    team: str | None,
    topic: str,
    from_ms: int | None,
    until_ms: int | None,
    tail: bool,
    as_json: bool,
) -> None:
    """Where events are, and what became of each: counted where, billed by what, refused why, or not arrived.

    Reads are bounded and disturb nobody; what was searched is said. Workers are asked by HTTP for what their tables
    remember; where STREAM_WEB__AUTH is not none, that needs STREAM_WEB__PEER_TOKEN_FILE. Ends with 1 when --id finds
    nothing.
    """
    if sum((event_id is not None, statement_id is not None, tail or team is not None)) != 1:
        raise click.UsageError("say one of --id, --bill, --team and --tail")
    if not tail and (from_ms is None and until_ms is None) and team is not None:
        tail = True
    settings = reached()
    if event_id is not None:
        _show_trace(_with(settings, lambda seeker: _traced(seeker, event_id)), as_json)
    elif statement_id is not None:
        _show_list(_with(settings, lambda seeker: calls_behind(seeker, statement_id)), as_json)
    elif tail:
        _show_list(_with(settings, lambda seeker: seeker.list.tail(topic, team or "")), as_json)
    else:
        start, until = between(from_ms, until_ms, wall_ms())
        _show_list(_with(settings, lambda seeker: seeker.list.of_team(topic, team or "", start, until)), as_json)


def _with(settings: Settings, question: Callable[[Seeker], Awaitable[T]]) -> T:
    async def ask() -> T:
        ASKING.set(ME)
        kafka, timeout_s = pages_user(settings), max(ANSWER_S, settings.web.peer_timeout_seconds)
        keys = None if settings.web.auth == "none" else keys_of(settings.web)
        sign = unsigned if keys is None else Seals(keys, wall_ms, entropy).sign
        workers = of_command(KafkaStandings(kafka, wall_ms, timeout_s), wall_ms, timeout_s, sign)
        letters, store = RecentLetters(kafka, wall_ms), captured_store(settings.clickhouse)
        return await question(Seeker(KafkaEventLog(kafka), letters, workers, store, ArchiveObjects(settings)))

    return asyncio.run(ask())


async def _traced(seeker: Seeker, wanted: str) -> Trace:
    place = place_of(wanted)
    return await (seeker.trace.by_id(wanted) if place is None else seeker.trace.at(place))


def _show_trace(trace: Trace, as_json: bool) -> None:
    if as_json:
        print_json(plain(trace_twin(trace)))
    else:
        _print_trace(trace, console())
    if not trace.sightings:
        raise Refused(f"no event {trace.wanted} was found where it was looked for")


def _print_trace(trace: Trace, out: Console) -> None:
    for event, fate in trace.sightings:
        table = Table(show_header=False)
        table.add_row("state", f"[{STYLES.get(fate.state, 'green')}]{fate.state}[/]")
        table.add_row("", escape(mask_text(fate.sentence)))
        for name, text in [] if event is None else _facts(event):
            table.add_row(name, escape(mask_text(text)))
        for link in fate.links if event is None else [one for one in fate.links if one.kind != "team"]:
            table.add_row(link.kind, escape(link.id.replace("\n", " / ")))
        print_table(table, out)
    for sentence in trace.searched:
        out.print(f"searched: {sentence}", markup=False, highlight=False, style="dim")
    for sentence in trace.not_searched:
        out.print(f"not searched: {sentence}", markup=False, highlight=False, style="yellow")


def _facts(event: Event) -> list[tuple[str, str]]:
    cost = "" if event.cost is None else f"{event.cost:.12f} {event.currency}"
    rows = [
        ("id", event.id),
        ("record", event.place),
        ("arrived", format_ms(event.arrived_ms)),
        ("event time", "" if event.at_ms is None else format_ms(event.at_ms)),
        ("org", event.org),
        ("team", event.team),
        *((name.replace("_", " "), text) for name, text in event.details.items()),
        ("cost", cost),
        ("sent again for", event.letter),
    ]
    return [(name, text) for name, text in rows if text]


def _show_list(made: Listing, as_json: bool) -> None:
    if as_json:
        print_json(plain(listing_twin(made)))
        return
    priced = made.topic in PRICED
    table = Table("event", "record", "arrived", "call" if priced else "name", *["cost"] * priced, "state")
    if priced:
        table.columns[4].justify = "right"
    for event, fate in made.sightings:
        assert event is not None, "lists have records"
        call = event.details.get("model") or event.details.get("method") or event.details.get("event") or event.type
        cost = ["" if event.cost is None else f"{event.cost:f} {event.currency}"] * priced
        state = f"[{STYLES.get(fate.state, 'green')}]{fate.state}[/]"
        table.add_row(escape(event.id), event.place, format_ms(event.arrived_ms), escape(mask_text(call)), *cost, state)
    out = console()
    if made.sightings:
        print_table(table, out)
    sums = ", ".join(f"{cost:.12f} {currency}" for currency, cost in sorted(made.cost.items()))
    sums = f", {made.counted:,} counted{f': {sums}' if sums else ''}" if priced else ""
    out.print(
        f"{counted(made.matching, 'event')}{sums}; {counted(made.read, 'record')} read"
        + ("" if made.whole else ", and there are more: choose a shorter time"),
        highlight=False,
    )
