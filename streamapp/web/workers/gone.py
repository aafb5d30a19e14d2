"""Workers that left a group: who is known to, and the sentence about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from streamapp.facts.worker import GoneFacts, WorkerFacts
from streamapp.web import show
from streamapp.web.workers.fleet import Answer

NAMED_MAX = 3
DAY_MS = 86_400_000


def known(fresh: Sequence[Answer[WorkerFacts]], silent: set[str]) -> tuple[GoneFacts, ...]:
    """Who left, as anybody who answers remembers it, unless somebody knows that it was seen. One that the pages still
    ask is named as silent. What one knows of a loss, seen or made good, is so."""
    there = silent | {answer.url for answer in fresh}
    found: dict[str, GoneFacts] = {}
    for one in (one for answer in fresh for one in (answer.value.gone if answer.value else ())):
        if one.url in there:
            continue
        known = found.get(one.url)
        if known is not None:
            seen, replaced = known.seen or one.seen, known.replaced or one.replaced
            one = replace(max(known, one, key=_left), seen=seen, replaced=replaced)
        found[one.url] = one
    return tuple(sorted((one for one in found.values() if not one.seen), key=_left))


def _left(one: GoneFacts) -> tuple[int, str]:
    return one.at_ms, one.url


def texts(left: Sequence[GoneFacts]) -> list[str]:
    """A sentence about all that nobody has replaced; another one about those whose partitions nobody has."""
    lost = [one for one in left if not one.replaced]
    missed = [one for one in lost if one.went_to and not any(one.went_to.values())]
    return [text(*some) for some in ([one for one in lost if one not in missed], missed) if some]


def text(*lost: GoneFacts) -> str:
    """Who left, when, and who does their work: one sentence about a group, however many they are."""
    if len(lost) == 1:
        who, whose, it = f"Worker {show.address(lost[0].url)}", "its partitions", "it"
    else:
        addresses = _some([show.address(one.url) for one in lost])
        who, whose, it = f"{len(lost)} workers ({addresses})", "their partitions", "they"
    went = [url for one in lost for url in one.went_to.values()]
    to = sorted({show.address(url) for url in went if url})
    where = f"{whose} went to {_some(to)}" if to else f"nobody has {whose}" if went else f"{it} had no partition"
    return f"{who} left {_when(lost)} UTC; {where}."


def _when(lost: Sequence[GoneFacts]) -> str:
    """`on Jan 17, 10:41`, or between which moments: the day stands twice where it differs."""
    first, last = min(one.at_ms for one in lost), max(one.at_ms for one in lost)
    begin, end = show.day_clock(first), show.day_clock(last)
    if begin == end:
        return f"on {end}"
    same_day = first // DAY_MS == last // DAY_MS
    return f"on {begin[:-5]}between {begin[-5:]} and {end[-5:]}" if same_day else f"between {begin} and {end}"


def _some(names: Sequence[str]) -> str:
    """The first of many."""
    return ", ".join(names[:NAMED_MAX]) + (f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else "")
