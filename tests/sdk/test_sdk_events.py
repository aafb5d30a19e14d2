"""PostHog's own clients, unchanged, pointed at capture: what they send arrives, as the standard's sample looks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from emptied import Emptied
from sdk_capture import ORG, Arrived, Exchange, Running, capture, once, relay
from sdk_clients import Told, client
from sdk_packages import packages

from streamapp.schemas.captured import EventCaptured
from streamapp.schemas.values.timestamp import parse_ms
from streamapp.topics.partitioner import partition_for

CASES = {  # client, flavor → where and how it is known to come
    ("python", ""): ("/batch/", "unpacked"),
    ("python", "gzip"): ("/batch/", "gzip"),
    ("node", ""): ("/batch/", "gzip"),
    ("node", "plain"): ("/batch/", "unpacked"),
    ("node", "late"): ("/batch/", "gzip"),
    ("browser", ""): ("/e/", "gzip unsaid"),
    ("browser", "late"): ("/e/", "gzip unsaid"),
}
ALSO = (("python", "many"), ("node", "many"), ("browser", "leaving"), ("browser", "hasty"))
TEAMS = {f"team_{name}_{flavor}": f"ha_{name}_{flavor}" for name, flavor in (*CASES, *ALSO)}
EVENTS = {
    "python": ["order placed", "plan chosen", "$set", "$create_alias", "$groupidentify"],
    "node": ["order placed", "plan chosen", "$identify", "$create_alias", "$groupidentify"],
    "browser": ["$pageview", "order placed", "plan chosen", "$identify", "$create_alias", "$groupidentify"],
}
MANY = 250
CLICKS = 5
LEFT = Counter({"$pageview": 1, "clicked": CLICKS, "$pageleave": 1})  # of a page
ARRIVE_S = 60
NEAR_MS = 60_000  # between a client's call and the record, on a machine that does much else
PAST_MS = 5 * 60_000  # "plan chosen" says it happened so long ago
ID = re.compile(r"evt_[0-9A-HJKMNP-TV-Z]{26}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, emptied: Emptied) -> Iterator[Running]:
    """One capture for all clients; each case is a team of its own."""
    with capture(emptied.ready(), tmp_path_factory.mktemp("capture"), TEAMS) as running:
        yield running


@pytest.fixture(scope="module")
def modules(cache_dir: Path) -> Path:
    """The npm packages."""
    return packages(cache_dir)


class Visit(NamedTuple):
    """What a client says it sent, what it was seen to send, and what arrived."""

    told: Told
    ways: set[tuple[str, str]]
    statuses: set[int | None]
    arrived: list[Arrived]


def visit(front: Running, modules: Path, name: str, flavor: str, expected: Counter[str], many: int = 0) -> Visit:
    """Run a client until what is expected of it has arrived, and let it end."""
    team = team_of(name, flavor or ("many" if many else ""))
    with relay(front.port) as between:
        with client(name, between.url, modules, flavor, many, token=TEAMS[team]) as running:
            running.wait(lambda: names(once(front.arrived(team))) >= expected, ARRIVE_S)
            # The record is there before its client is told; a page that is left hears no answer any more.
            running.wait(lambda: flavor == "leaving" or None not in between.statuses(), ARRIVE_S)
            told = running.finish()
        ways = {(one.path.partition("?")[0], packing(one)) for one in between.exchanges()}
        return Visit(told, ways, between.statuses(), front.arrived(team))


def packing(exchange: Exchange) -> str:
    """How a body is packed. The browser's client says plain text of what it packs, so that nobody is asked first."""
    kind = exchange.headers["content-type"]
    if "compression=base64" in exchange.path:
        return "base64 form" if kind.startswith("application/x-www-form-urlencoded") else kind
    return exchange.headers.get("content-encoding") or {"text/plain": "gzip unsaid"}.get(kind, "unpacked")


def team_of(name: str, flavor: str) -> str:
    return f"team_{name}_{flavor}"


def names(arrived: list[Arrived]) -> Counter[str]:
    return Counter(one.event["data"]["event"] for one in arrived)


def of_event(arrived: list[Arrived], event: str) -> dict[str, Any]:
    (one,) = (one.event for one in arrived if one.event["data"]["event"] == event)
    return one


@pytest.mark.parametrize(
    ("name", "flavor"),
    [pytest.param(*one, marks=[pytest.mark.long] * (one == ("browser", "late"))) for one in CASES],
)
def test_what_a_client_sends_arrives_as_the_standard_says(
    front: Running, modules: Path, name: str, flavor: str
) -> None:
    team = team_of(name, flavor)
    seen = visit(front, modules, name, flavor, Counter(EVENTS[name]))
    assert seen.told.errors == []
    assert CASES[name, flavor] in seen.ways
    assert seen.statuses == {200}
    assert names(seen.arrived) == Counter(EVENTS[name])
    for one in seen.arrived:
        as_the_standard_says(one, team)
    uuids = {one.event["data"]["uuid"]: one.event["data"]["event"] for one in seen.arrived}
    assert len(uuids) == len(seen.arrived)
    assert seen.told.uuids.items() <= uuids.items()
    assert len(seen.told.uuids) >= 2
    happened_when_it_did(seen.arrived)
    carries_what_was_given(seen.arrived)
    if name == "browser":
        assert len({one.event["data"]["session_id"] for one in seen.arrived}) == 1


def as_the_standard_says(arrived: Arrived, team: str) -> None:
    event = arrived.event
    fixed = {"schema": "hanzo.stream.v1", "type": "insights.event.captured", "source": "insights-capture"}
    assert fixed.items() <= event.items()
    assert (event["team_id"], event["org_id"], arrived.key) == (team, ORG, team)
    assert arrived.partition == partition_for(team.encode(), 16)
    assert ID.fullmatch(event["id"])
    assert TIME.fullmatch(event["timestamp"])
    data = event["data"]
    assert {"event", "distinct_id", "properties", "ip", "sent_at", "uuid"} <= data.keys()
    assert data["ip"] == "127.0.0.1"
    assert TIME.fullmatch(data["sent_at"])
    assert data["properties"]["$lib"] in {"posthog-python", "posthog-node", "web"}
    EventCaptured.model_validate(event)


def happened_when_it_did(arrived: list[Arrived]) -> None:
    """By our clock, whatever the client's said."""
    for one in arrived:
        at_ms = parse_ms(one.event["timestamp"])
        assert at_ms is not None
        ago_ms = PAST_MS if one.event["data"]["event"] == "plan chosen" else 0
        assert abs(one.timestamp_ms - ago_ms - at_ms) < NEAR_MS, one


def carries_what_was_given(arrived: list[Arrived]) -> None:
    order = of_event(arrived, "order placed")["data"]
    assert {"price": 12.5, "name": "Müller ☃"}.items() <= order["properties"].items()
    assert of_event(arrived, "plan chosen")["data"]["distinct_id"] == "user_456"
    identified = next(one.event for one in arrived if one.event["data"]["event"] in {"$set", "$identify"})
    assert identified["data"]["distinct_id"] == "user_456"
    assert identified["data"]["properties"]["$set"]["plan"] == "pro"
    alias = of_event(arrived, "$create_alias")["data"]["properties"]
    assert {alias["alias"], alias["distinct_id"]} == {"visitor_1", "user_456"}
    group = of_event(arrived, "$groupidentify")["data"]["properties"]
    assert (group["$group_type"], group["$group_key"], group["$group_set"]) == ("company", "hanzo", {"seats": 7})


@pytest.mark.parametrize("name", ["python", "node"])
def test_batches_arrive_whole_once_and_in_order(front: Running, modules: Path, name: str) -> None:
    seen = visit(front, modules, name, "", Counter(clicked=MANY), MANY)
    assert seen.told.errors == []
    assert [one.event["data"]["uuid"] for one in seen.arrived] == list(seen.told.uuids)


def test_what_a_browser_holds_back_when_the_page_is_left_arrives(front: Running, modules: Path) -> None:
    seen = visit(front, modules, "browser", "leaving", LEFT, CLICKS)
    assert names(once(seen.arrived)) == LEFT
    assert seen.told.uuids.keys() <= {one.event["data"]["uuid"] for one in seen.arrived}
    assert ("/e/", "base64 form") in seen.ways
    assert 200 in seen.statuses <= {200, None}


def test_what_a_browser_had_no_answer_for_when_it_left_comes_again_as_the_same_event(
    front: Running, modules: Path
) -> None:
    """Leaving cuts off what is under way, and the client sends it again: it cannot know that it has arrived."""
    team = team_of("browser", "hasty")
    with relay(front.port) as between:
        between.answering.clear()
        with client("browser", between.url, modules, "hasty", CLICKS, TEAMS[team]) as running:
            running.wait(lambda: front.arrived(team), ARRIVE_S)
            running.go_on()
            running.wait(lambda: names(front.arrived(team)) >= LEFT + Counter({"$pageview": 1}), ARRIVE_S)
            between.answering.set()
            told = running.finish()
    arrived = front.arrived(team)
    assert names(once(arrived)) == LEFT
    assert told.uuids.keys() <= {one.event["data"]["uuid"] for one in arrived}


def test_a_token_that_nobody_has_is_refused_and_not_tried_again(front: Running, modules: Path) -> None:
    with relay(front.port) as between, client("python", between.url, modules, many=3, token="ha_nobody") as running:
        told = running.finish()
        assert [one.status for one in between.exchanges()] == [401]
    assert len(told.errors) == 1
    assert "token_unknown" in told.errors[0]
