"""One value of a dead letter as it is, for an auditor who says why. The reason is kept before the value is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from streamapp.dead_letters.read import Letter
from streamapp.errors import StreamError
from streamapp.web import show
from streamapp.web.entry.audit import REASON_MAX, REASON_MIN, Audit, demand_reason
from streamapp.web.entry.identity import Asker
from streamapp.web.pages.page import Params, Site
from streamapp.web.pages.refused.letters import SHOWN_CHARS_MAX, find
from streamapp.web.problem import Problem
from streamapp.web.render import Page

PARTS = ("value", "key")


async def unmask(site: Site, params: Params) -> Page:
    """`/letters/{id}/unmask`: asks an auditor for a reason, keeps it in audit_log, and shows the value or the key."""
    one = await find(site, params["id"])
    return _page(one, "", "", None)


async def unmasked(site: Site, audit: Audit, asker: Asker, params: Params, form: Mapping[str, str]) -> Page:
    """The same once the reason is given. Raises `Problem` 400 without a reason, 503 when it cannot be kept."""
    one = await find(site, params["id"])
    part, reason = form.get("part", "value"), " ".join(form.get("reason", "").split())
    if part not in PARTS:
        raise Problem(400, "That cannot be unmasked", f"part is one of {', '.join(PARTS)}.")
    demand_reason(reason)
    org = one.event.get("org_id")
    facts = {
        "user_id": asker.name,
        "application": "stream-pages",
        "reason": reason,
        "dead_letter": one.id,
        "part": part,
        "topic": one.topic,
        "partition": one.partition,
        "offset": one.offset,
    }
    try:
        await audit.write(org if isinstance(org, str) else None, facts)
    except StreamError as error:
        raise Problem(503, "Nothing is unmasked", f"The reason cannot be kept in audit_log: {error}.") from None
    return await asyncio.to_thread(_page, one, part, reason, one.value if part == "value" else one.key)


def _page(one: Letter, part: str, reason: str, content: bytes | None) -> Page:
    text = None if content is None else content.decode("utf-8", "backslashreplace")
    twin = {"id": one.id, "part": part or None, "reason": reason or None, "content": text, "parts": PARTS}
    context = {
        "one": one,
        "parts": PARTS,
        "part": part,
        "reason": reason,
        "reason_min": REASON_MIN,
        "reason_max": REASON_MAX,
        "text": None if text is None else show.visible_lines(text[:SHOWN_CHARS_MAX]),
        "shortened": text is not None and len(text) > SHOWN_CHARS_MAX,
        "back": show.letter_url(one.id),
    }
    return Page("unmask.html", f"Unmask {show.short_id(one.id)}", context, twin, place="letters")
