"""A realistic stream of `events_plugin_ingestion`, as capture writes it (`schemas.captured.EventCaptured`).

Reproducible to the byte like `simulate.usage_stream`: people of the same platform's teams, looking at pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from streamapp.schemas.judging.rejected import Reason
from streamapp.simulate.poison import BROKEN, NO_MOMENT, NO_TEAM, Poison, sub
from streamapp.simulate.stream import SimulatedRecord, Source, StreamSpec, stream
from streamapp.simulate.text import ids, stamps
from streamapp.simulate.world import Text, draws, owner, tenants, zipf

LATE_HOURS_MAX = 6 * 24  # the topic keeps seven days
OTHER = b'"$lib":"web"', b'"$lib":"web","$again":true'
UNDER_WAY_MS_MAX = 4_095  # between the event and the client's request
PAGES = ("/", "/dashboard", "/usage", "/billing", "/models/zen-72b", "/docs", "/settings/keys", "/chat")


class Happening(NamedTuple):
    """What people do: the event's name, the text of its own properties, how often it happens."""

    event: str
    properties: str
    weight: int


HAPPENINGS: tuple[Happening, ...] = (
    Happening("$pageview", '"title":"Hanzo"', 40),
    Happening("$pageleave", '"$prev_pageview_duration":12.25', 14),
    Happening(
        "$autocapture", '"$event_type":"click","$el_text":"Run","$elements_chain":"button.primary:text=\\"Run\\""', 24
    ),
    Happening("$identify", '"$set":{"plan":"team"},"$anon_distinct_id":"018f-anonymous"', 3),
    Happening("prompt sent", '"model":"zen-72b","language":"日本語","tokens":380', 9),
    Happening("model selected", '"model":"claude-sonnet-4"', 4),
    Happening("invoice downloaded", '"amount":"12.50","currency":"EUR"', 2),
    Happening("signup completed", '"plan":null,"seats":3,"tags":["new","\\ud83d\\ude80"]', 1),
)


BROWSERS = (  # what people use, as the text of its properties
    Text('"$browser":"Chrome","$browser_version":131,"$os":"macOS","$device_type":"Desktop"', 8),
    Text('"$browser":"Safari","$browser_version":18.1,"$os":"iOS","$device_type":"Mobile"', 5),
    Text('"$browser":"Firefox","$browser_version":133,"$os":"Linux","$device_type":"Desktop"', 3),
    Text('"$browser":"Edge","$browser_version":131,"$os":"Windows","$device_type":"Desktop"', 3),
)


class Site(NamedTuple):
    """A team as the bytes of its events. Capture knows the org, if the directory does."""

    key: bytes
    head: str
    people: int


def insights_stream(spec: StreamSpec, times: Iterable[int] | None = None) -> Iterator[SimulatedRecord]:
    """One record for each moment, which is when it happens."""
    rng = Random(f"events_plugin_ingestion/{spec.seed}")
    who = tenants(Random(spec.seed), spec.teams, spec.directory)
    sites = [Site(team.encode(), owner(team, org), rng.randint(5, 2_000)) for team, org in who.teams]
    return stream(Source(_builder(sites, rng), OTHER, None, POISONS, LATE_HOURS_MAX), spec, rng, times)


def _builder(sites: Sequence[Site], rng: Random) -> Callable[[int], tuple[bytes, bytes]]:
    """Moment → key and value of a new good event."""
    site_draws = draws(rng, sites, zipf(len(sites)))
    what_draws = draws(rng, HAPPENINGS)
    browser_draws = draws(rng, BROWSERS)
    id_rests, stamp, bits = ids(rng), stamps(), rng.getrandbits

    def build(at_ms: int) -> tuple[bytes, bytes]:
        site, what, browser = next(site_draws), next(what_draws), next(browser_draws).text
        dice, unique = bits(48), bits(74)
        person = (dice & 1023) * (dice >> 10 & 1023) * site.people >> 20  # mostly the first ones
        session = f"{at_ms >> 21:x}-{person:x}"  # half an hour
        id_time, second, ms = stamp(at_ms)
        _, sent_second, sent_ms = stamp(at_ms + (dice >> 36 & UNDER_WAY_MS_MAX))
        return site.key, (
            f'{{"schema":"hanzo.stream.v1","id":"evt_{id_time}{next(id_rests)}","type":"insights.event.captured",'
            f'"source":"insights-capture","timestamp":"{second}{ms:03d}Z",{site.head}"data":{{'
            f'"event":"{what.event}","distinct_id":"user_{person}","properties":{{'
            f'"$current_url":"https://hanzo.ai{PAGES[dice >> 20 & 7]}",{browser},"$lib":"web",'
            f'"$session_id":"{session}",{what.properties}}},'
            f'"ip":"203.0.113.{dice >> 28 & 255}","session_id":"{session}",'
            f'"sent_at":"{sent_second}{sent_ms:03d}Z","uuid":"{_uuid(at_ms, unique)}"}}}}'
        ).encode()

    return build


def _uuid(at_ms: int, bits74: int) -> str:
    """Version 7: the time, then 74 random bits."""
    time = f"{at_ms:012x}"
    return (
        f"{time[:8]}-{time[8:]}-7{bits74 >> 62:03x}-{0x8000 | bits74 >> 48 & 0x3FFF:04x}-{bits74 & 0xFFFFFFFFFFFF:012x}"
    )


POISONS: tuple[Poison, ...] = (
    *BROKEN,
    NO_TEAM,
    NO_MOMENT,
    Poison("another type", Reason.UNKNOWN_TYPE, True, sub(rb"insights\.event\.captured", b"insights.event.lost")),
    Poison("no event", Reason.INVALID_DATA, True, sub(rb'"event":"[^"]*",', b"")),
    Poison("nobody", Reason.INVALID_DATA, True, sub(rb'"distinct_id":"[^"]*",', b"")),
    Poison("properties as text", Reason.INVALID_DATA, True, sub(rb'"properties":\{', b'"properties":"","x":{')),
)
