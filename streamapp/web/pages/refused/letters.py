"""The pages of what was refused: the list with its causes, and one dead letter. Bytes are masked. What is done about
them is in `act`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any
from urllib.parse import quote

from streamapp.dead_letters.done import Done
from streamapp.dead_letters.plan import STANDS
from streamapp.dead_letters.read import Coordinates, Letter
from streamapp.dead_letters.recent import Entry, Recent, entry, told
from streamapp.errors import Denied, Misconfigured, Unavailable
from streamapp.events.names import written
from streamapp.schemas.judging.cause import shape
from streamapp.schemas.values.mask import mask_text
from streamapp.schemas.values.mask_json import mask_field, mask_value
from streamapp.web import show
from streamapp.web.pages.page import Params, Site, moment_in, not_visible
from streamapp.web.pages.refused.advice import ADVICE, OTHERWISE
from streamapp.web.problem import Problem
from streamapp.web.render import Page

LIMIT = 50
CAUSES_SHOWN = 12
SHOWN_CHARS_MAX = 100_000  # of a value on its page; --raw has all
DEEDS = ("redrive", "drop")
STATES = ("waiting", "redriven", "dropped")
FILTERS = ("topic", "reason", "by", "team", "cause", "since", "until")


@dataclass(frozen=True, slots=True)
class Cause:
    """Waiting dead letters of one cause."""

    fingerprint: str
    topic: str
    by: str
    reason: str
    shape: str
    count: int
    newest_ms: int


@dataclass(frozen=True, slots=True)
class Row:
    """A dead letter as it is listed."""

    entry: Entry
    letter: Letter
    state: str
    error: str
    team: str
    url: str


async def letters(site: Site, params: Params) -> Page:
    """`/letters`: the newest dead letters, newest first, by cause, filtered, paged."""
    recent = await asked_letters(site.letters.recent())
    return await asyncio.to_thread(_list, recent, params)


def _list(recent: Recent, params: Params) -> Page:
    state = params.get("state") or "waiting"
    if state not in (*STATES, "all"):
        raise Problem(
            400, "Those dead letters cannot be shown", f"In the address, state is one of {', '.join(STATES)}, all."
        )
    matching = list(filter(_filter(params), recent.entries))
    states = [recent.done.state(one.letter) for one in matching]
    counts: Counter[str] = Counter(states)
    found = [one for one, its in zip(matching, states, strict=True) if state in ("all", its)]
    first = _behind(found, params.get("after", ""))
    rows = [_row(one, recent.done) for one in found[first : first + LIMIT]]
    more = len(found) > first + LIMIT
    next_url = letters_url(params, after=_cursor(rows[-1].letter)) if more else ""
    causes = _causes([one for one, its in zip(matching, states, strict=True) if its == "waiting"])
    at = _cause_at(params, len(causes))
    whole = recent.in_log <= len(recent.entries) + recent.unreadable
    twin = {
        "letters": [_fact(row.entry, recent.done) for row in rows],
        "matching": len(found),
        "counts": {name: counts[name] for name in STATES},
        "causes": causes,
        "looked_through": len(recent.entries),
        "whole_log": whole,
        "unreadable": recent.unreadable,
        "next": next_url or None,
    }
    context = {
        "rows": rows,
        "causes": causes[at : at + CAUSES_SHOWN],
        "causes_at": at,
        "causes_of": len(causes),
        "causes_shown": CAUSES_SHOWN,
        "counts": twin["counts"],
        "state": state,
        "params": params,
        "filtered": any(params.get(name) for name in FILTERS),
        "matching": len(found),
        "first": first,
        "next_url": next_url,
        "url": lambda **changes: letters_url(params, **changes),
        "looked_through": len(recent.entries),
        "whole_log": whole,
        "unreadable": recent.unreadable,
        "any": bool(recent.entries),
    }
    return Page("letters.html", "Dead letters", context, twin, place="letters")


async def letter(site: Site, params: Params) -> Page:
    """`/letters/{id}`: why, where from, what it was, and the command that sends it again."""
    whole, recent = await _whole(site, params["id"])
    found = entry(whole)
    return await asyncio.to_thread(_one, whole, found, recent.done)


async def find(site: Site, wanted: str) -> Letter:
    """A dead letter with its bytes. Raises `Problem` 404, and 503 when the dead letters cannot be read."""
    return (await _whole(site, wanted))[0]


async def _whole(site: Site, wanted: str) -> tuple[Letter, Recent]:
    recent = await asked_letters(site.letters.recent())
    found = next((one for one in recent.entries if one.letter.id == wanted), None)
    if found is None:
        advice = f"It is not among the newest {len(recent.entries):,} dead letters. The command line looks through all:"
        command = f"streamapp dead-letters show {wanted}" if wanted.isidentifier() else ""
        raise Problem(404, f"There is no dead letter {show.visible(wanted)} here", advice, command)
    whole = await asked_letters(site.letters.whole(found.letter.at))
    if whole is None:
        raise Problem(404, "This dead letter is gone", "Dead letters are kept for 30 days.")
    return whole, recent


def _one(one: Letter, found: Entry, done: Done) -> Page:
    value = None if one.value is None else mask_value(one.value)
    headers = [
        (mask_text(name), None if content is None else mask_field(name, content.decode(errors="replace")))
        for name, content in one.headers
    ]
    commands = _commands(one)
    twin = {
        **_fact(found, done),
        "key": None if one.key is None else mask_text(one.key.decode(errors="replace")),
        "headers": [{"key": name, "value": content} for name, content in headers],
        "value": value,
        "commands": commands,
    }
    org = one.event.get("org_id")
    context = {
        "one": one,
        "state": done.state(one),
        "receipt": done.by_letter.get(one.id),
        "error": show.visible(mask_text(one.error)),
        "advice": ADVICE.get(one.reason, OTHERWISE),
        "key": None if twin["key"] is None else show.visible(twin["key"]),
        "team": show.visible(mask_text(found.team or "")) if found.team else None,
        "team_url": show.team_url(org, found.team) if isinstance(org, str) and found.team else "",
        "headers": [
            (show.visible(name), content if content is None else show.visible(content)) for name, content in headers
        ],
        "value": None if value is None else show.visible_lines(value[:SHOWN_CHARS_MAX]),
        "shortened": value is not None and len(value) > SHOWN_CHARS_MAX,
        "cause": found.cause,
        "commands": commands,
        "unmask_url": f"{show.letter_url(one.id)}/unmask",
        "record_url": show.event_url(written(one.record)) if one.record is not None else "",
        "act_url": {deed: show.linked("/act", {"do": deed, "id": one.id}) for deed in DEEDS},
    }
    return Page("letter.html", f"Dead letter {show.short_id(one.id)}", context, twin, place="letters")


def letters_url(params: Params, **changes: str) -> str:
    """The same list with something changed; whatever changes but the place in it starts from the first page."""
    keep = {key: params.get(key, "") for key in (*FILTERS, "state")}
    keep.update(changes)
    return show.linked("/letters", keep)


async def asked_letters(answer: Any) -> Any:
    """What the dead letters' reader answers. Raises `Problem` 403 or 503."""
    try:
        return await answer
    except Denied:
        raise not_visible("dead-letter-monitor") from None
    except (Unavailable, Misconfigured) as error:
        raise Problem(503, "The dead letters cannot be read now", f"{error}. Nothing is lost by it.") from None


def _cause_at(params: Params, count: int) -> int:
    """The first cause that is shown: whole pages of them."""
    text = params.get("causes", "")
    at = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
    return at // CAUSES_SHOWN * CAUSES_SHOWN if at < count else 0


def _filter(params: Params) -> Callable[[Entry], bool]:
    """Whether a dead letter is asked for. Raises `Problem` 400."""
    since, until = moment_in(params, "since"), moment_in(params, "until")
    asked = [(attrgetter(fact), params[name]) for name, fact in _FACTS.items() if params.get(name)]

    def fits(one: Entry) -> bool:
        failed_ms = one.letter.failed_ms
        if (since is not None and failed_ms < since) or (until is not None and failed_ms >= until):
            return False
        return all(fact(one) == wanted for fact, wanted in asked)

    return fits


_FACTS = {"topic": "letter.topic", "reason": "letter.reason", "by": "letter.by", "team": "team", "cause": "cause"}


def _behind(found: list[Entry], cursor: str) -> int:
    """The place of the first letter behind the cursor; 0 when it is none of these."""
    places = {_cursor(one.letter): place for place, one in enumerate(found)} if cursor else {}
    return places.get(cursor, -1) + 1


def _cursor(one: Letter) -> str:
    return f"{one.at[1]}.{one.at[2]}"


def _row(one: Entry, done: Done) -> Row:
    error = show.visible(mask_text(one.letter.error))
    team = show.visible(mask_text(one.team)) if one.team else ""
    return Row(one, one.letter, done.state(one.letter), error, team, show.letter_url(one.letter.id))


def _causes(waiting: list[Entry]) -> list[Cause]:
    newest: dict[str, Entry] = {}
    counts: Counter[str] = Counter()
    for one in waiting:
        newest.setdefault(one.cause, one)
        counts[one.cause] += 1
    return [
        Cause(name, one.topic, one.by, one.reason, show.visible(shape(one.error)), count, one.failed_ms)
        for name, count in counts.most_common()
        for one in (newest[name].letter,)
    ]


def _fact(one: Entry, done: Done) -> dict[str, Any]:
    letter, receipt = one.letter, done.by_letter.get(one.letter.id)
    sent = _named(receipt.sent) if receipt and receipt.sent else None
    return {**told(one, done), "by": letter.by, "sent": sent, "url": show.letter_url(letter.id)}


def _named(at: Coordinates) -> dict[str, Any]:
    return dict(zip(("topic", "partition", "offset"), at, strict=True))


def _commands(one: Letter) -> dict[str, str]:
    name = one.id if one.id.replace("-", "_").isidentifier() else quote(one.id)
    return {
        "plan": f"streamapp dead-letters redrive {name} --dry-run",
        **({} if one.reason in STANDS else {"redrive": f"streamapp dead-letters redrive {name}"}),
        "patch": f"streamapp dead-letters redrive {name} --patch fix.json",
        "raw": f"streamapp dead-letters show {name} --raw --output record.bin",
        "drop": f'streamapp dead-letters drop {name} --because "…"',
        "cause": f"streamapp dead-letters redrive --cause {one.cause}",
    }
