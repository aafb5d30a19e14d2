"""Dead letters sent again, edited or dropped from a page, by an operator. First what will happen is shown, as
`streamapp dead-letters redrive --dry-run` shows it; then the act is written to audit_log; then it is done."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from streamapp.dead_letters.acting import patch_of, spanned
from streamapp.dead_letters.plan import Fix, Wanted
from streamapp.dead_letters.recent import Recent
from streamapp.dead_letters.redrive import Plan
from streamapp.errors import Denied, StreamError
from streamapp.kafka.log.reader import Span
from streamapp.schemas.values.mask import mask_text
from streamapp.web import show
from streamapp.web.entry.audit import DROPPED, REASON_MAX, REASON_MIN, REDRIVEN, Audit, demand_reason
from streamapp.web.entry.identity import Asker
from streamapp.web.pages.page import Params, Site
from streamapp.web.pages.refused.letters import DEEDS, asked_letters, letters_url
from streamapp.web.problem import Problem
from streamapp.web.render import Page


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to do, to which dead letters."""

    deed: str
    wanted: Wanted
    letter_id: str
    cause: str
    patch: str
    because: str

    @property
    def fix(self) -> Fix:
        """Raises `Problem` 400 for a patch that is none."""
        if not self.patch:
            return Fix()
        try:
            return Fix(patch_of(self.patch))
        except ValueError as error:
            raise Problem(400, "That patch cannot be used", f"{str(error)[:400]}. Go back and correct it.") from None

    @property
    def back(self) -> str:
        """The page it was asked from."""
        return show.letter_url(self.letter_id) if self.letter_id else letters_url({}, cause=self.cause)


async def act(site: Site, params: Params) -> Page:
    """`/act`: what a redrive or a drop of one dead letter, or of all of a cause, would do; an operator does it
    from here."""
    asked = _asked(params)
    return await _planned(site, asked, "")


async def acted(site: Site, audit: Audit, asker: Asker, form: Mapping[str, str]) -> Page:
    """The same posted: `step=plan` shows the plan of an edited patch, `step=apply` does it. Raises `Problem` 400
    without a reason to drop, 409 when the plan is another by now, 503 when the act cannot be kept in audit_log."""
    asked = _asked(form)
    if form.get("step") != "apply":
        return await _planned(site, asked, "")
    if asked.deed == "drop":
        demand_reason(asked.because)
    upto = spanned(await asked_letters(site.letters.recent()), asked.wanted)
    plan, count = await _plan(site, asked, upto)
    if form.get("count") != str(count):
        return replace(await _planned(site, asked, "The plan is another by now. Nothing was done."), status=409)
    if not count:
        raise Problem(400, "There is nothing to do", "No dead letter that is meant waits and can go.")
    facts = {
        "user_id": asker.name or "everybody on this host",
        "application": "stream-pages",
        "action": asked.deed,
        "dead_letter": asked.letter_id or None,
        "cause": asked.cause or None,
        "dead_letters": count,
        "patch_sha256": hashlib.sha256(asked.patch.encode()).hexdigest() if asked.patch else None,
        "reason": asked.because or None,
    }
    try:
        await audit.write(None, facts, REDRIVEN if asked.deed == "redrive" else DROPPED)
    except StreamError as error:
        raise Problem(503, "Nothing was done", f"The act cannot be kept in audit_log: {error}.") from None
    done = await _done(site, asked, upto)
    verb = "sent again" if asked.deed == "redrive" else "dropped"
    word = f"{show.number(done)} dead letter{'s' if done != 1 else ''} {verb}."
    return _page(asked, plan, count, word, done=done)


async def _planned(site: Site, asked: Asked, note: str) -> Page:
    recent: Recent = await asked_letters(site.letters.recent())
    plan, count = await _plan(site, asked, spanned(recent, asked.wanted))
    return _page(asked, plan, count, note, older=recent.in_log > len(recent.entries) + recent.unreadable)


async def _plan(site: Site, asked: Asked, upto: Mapping[int, Span]) -> tuple[Plan | None, int]:
    if asked.deed == "drop":
        return None, await _sure(site.acting.to_drop(asked.wanted, upto))
    plan: Plan = await _sure(site.acting.plan(asked.wanted, upto, asked.fix))
    return plan, plan.records


async def _done(site: Site, asked: Asked, upto: Mapping[int, Span]) -> int:
    if asked.deed == "drop":
        done: int = await _sure(site.acting.drop(asked.wanted, upto, asked.because))
        return done
    done = await _sure(site.acting.redrive(asked.wanted, upto, asked.fix))
    return done


async def _sure(answer: Any) -> Any:
    try:
        return await answer
    except Denied as error:
        advice = (
            f"{error}. Use streamapp dead-letters, or give the pages the user that may: STREAM_WEB__REDRIVE_USERNAME."
        )
        raise Problem(403, "Not possible from this worker", advice) from None
    except StreamError as error:
        raise Problem(503, "That cannot be done now", f"{error}.") from None


def _asked(params: Mapping[str, str]) -> Asked:
    deed, letter_id, cause = params.get("do", "redrive"), params.get("id", ""), params.get("cause", "")
    if deed not in DEEDS:
        raise Problem(400, "That cannot be done", f"do is one of {', '.join(DEEDS)}.")
    if bool(letter_id) == bool(cause):
        raise Problem(
            400, "Which dead letters?", "Name one by id, or all of a cause. Start from the list of dead letters."
        )
    wanted = Wanted(ids=frozenset({letter_id}) if letter_id else None, cause=cause or None, state="waiting")
    return Asked(
        deed, wanted, letter_id, cause, params.get("patch", "").strip(), " ".join(params.get("because", "").split())
    )


def _page(asked: Asked, plan: Plan | None, count: int, note: str, *, done: int = -1, older: bool = False) -> Page:
    plan = plan or Plan()
    sends = [(*what, many) for what, many in plan.sends.most_common()]
    stays = [(*what, many) for what, many in plan.stays.most_common()]
    examples = [_example(step) for step in plan.examples]
    command = f"streamapp dead-letters {asked.deed} " + (asked.letter_id or f"--cause {asked.cause}")
    context = {
        "asked": asked,
        "sends": sends,
        "stays": stays,
        "examples": examples,
        "count": count,
        "note": note,
        "done": done,
        "older": older,
        "command": command,
        "reason_min": REASON_MIN,
        "reason_max": REASON_MAX,
        "live_status": 0,
    }
    twin = {
        "do": asked.deed,
        "count": count,
        "sends": [dict(zip(("topic", "reason", "changed", "count"), one, strict=True)) for one in sends],
        "stays": [dict(zip(("topic", "reason", "why", "count"), one, strict=True)) for one in stays],
        "done": done if done >= 0 else None,
        "note": note or None,
    }
    title = "Send again" if asked.deed == "redrive" else "Drop"
    return Page("act.html", title, context, twin, place="letters")


def _example(step: Any) -> str:
    record, letter = step.record, step.letter
    key = "no key" if record.key is None else f"key {mask_text(record.key.decode(errors='replace'))}"
    return f"{show.short_id(letter.id)} to {record.topic}[{record.partition}], {key}"
