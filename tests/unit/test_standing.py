"""What Kafka says of groups, in our words; where their members' pages are."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from streamapp.errors import Unavailable
from streamapp.kafka.groups import GroupSeen, Member, Seen
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import GROUPS
from streamapp.watch import standing
from streamapp.watch.lag import Memory, step, watched
from streamapp.watch.standing import KafkaStandings, Standing, address, standings

LEDGER = [("billing_events", number) for number in range(4)]


def standing_of(seen: Seen) -> dict[str, Standing]:
    return standings(seen, step(watched(), Memory(), seen, 0)[1])


def member(url: str, *partitions: int, host: str = "10.1.2.3") -> Member:
    return Member("stream", host, b'{"assignment":{},"url":"%s"}' % url.encode(), tuple(LEDGER[n] for n in partitions))


@pytest.mark.parametrize(
    ("kafka", "committed", "state"),
    [
        ("Stable", {LEDGER[0]: 5}, "running"),
        ("PreparingRebalance", {}, "rebalancing"),
        ("CompletingRebalance", {LEDGER[0]: 5}, "rebalancing"),
        ("Empty", {LEDGER[0]: 5}, "no worker"),
        ("Dead", {LEDGER[0]: 5}, "no worker"),
        ("Empty", {}, "never started"),
        ("Dead", {}, "never started"),
        ("SomethingNew", {}, "unknown"),
    ],
)
def test_states_in_words(kafka: str, committed: dict[tuple[str, int], int], state: str) -> None:
    found = standing_of(Seen({"billing-ledger": GroupSeen(kafka, (), committed)}, {}, {}))
    assert list(found) == [group.name for group in GROUPS]
    assert found["billing-ledger"].state == state
    assert found["rpc-billing"].state == "unknown"
    assert found["rpc-billing"].lag is None


def test_lag_is_what_lies_behind_the_committed_offsets() -> None:
    seen = GroupSeen("Empty", (), {LEDGER[0]: 900, LEDGER[1]: 10})
    ends = {LEDGER[0]: 1000, LEDGER[1]: 1000, LEDGER[2]: 0, LEDGER[3]: 3, ("llm_usage", 0): 77}
    starts = {**dict.fromkeys(LEDGER, 0), LEDGER[1]: 400}  # the topic's retention went over the group's offset
    dates = {("billing-ledger", LEDGER[0]): -60_000, ("billing-ledger", LEDGER[3]): -5_000}
    found = standing_of(Seen({"billing-ledger": seen}, starts, ends, dates=dates))["billing-ledger"]
    assert {partition: one.lag for partition, one in found.behind.items()} == dict(
        zip(LEDGER, (100, 600, 0, 3), strict=True)
    )
    month_s = 30 * 86_400
    assert (found.lag, found.age_s, found.to_loss_s) == (703, 60, month_s - 60)


def test_members_say_where_their_pages_are_and_what_they_own() -> None:
    members = (
        member("http://10.1.2.3:6126", 0, 1),
        member("http://10.1.2.4:6126", 2, 3),
        Member("stream", "10.1.2.5", b"", ()),
    )
    found = standing_of(Seen({"billing-ledger": GroupSeen("Stable", members, {})}, {}, {}))["billing-ledger"]
    assert found.urls == ("http://10.1.2.3:6126", "http://10.1.2.4:6126")
    assert found.owners[LEDGER[2]] == "http://10.1.2.4:6126"


def test_what_may_not_be_asked_is_not_visible_and_no_problem() -> None:
    seen = GroupSeen("", problem="GroupAuthorizationFailedError", denied=True)
    found = standing_of(Seen({"billing-ledger": seen}, {}, {}))["billing-ledger"]
    assert (found.state, found.problem, found.lag) == ("not visible", "", None)


def test_why_kafka_does_not_say_is_kept() -> None:
    seen = GroupSeen("", problem="GroupAuthorizationFailedError")
    found = standing_of(Seen({"billing-ledger": seen}, {}, {LEDGER[0]: 5}))["billing-ledger"]
    assert (found.state, found.lag, found.problem) == ("unknown", None, "GroupAuthorizationFailedError")


@pytest.mark.parametrize(
    ("url", "host", "found"),
    [
        ("http://127.0.0.1:6066", "127.0.0.1", "http://127.0.0.1:6066"),
        ("http://0.0.0.0:6066", "172.18.0.5", "http://172.18.0.5:6066"),
        ("http://[::]:6066", "fd00::5", "http://[fd00::5]:6066"),
        ("https://worker.example", "10.0.0.1", "https://worker.example"),
        ("file:///etc/passwd", "10.0.0.1", ""),
        ("http://", "10.0.0.1", ""),
        ("http://[", "10.0.0.1", ""),
        ("http://0.0.0.0:x", "10.0.0.1", ""),
    ],
)
def test_an_address_is_one_that_can_be_asked(url: str, host: str, found: str) -> None:
    assert address(member(url, host=host)) == found


@pytest.mark.parametrize("data", [b"", b"not json", b"[]", b'{"url":3}', b"\xff"])
def test_members_that_are_none_of_ours_have_no_address(data: bytes) -> None:
    assert address(Member("stream", "10.0.0.1", data, ())) == ""


def test_kafka_is_away_when_it_answers_neither_of_two_questions() -> None:
    """One says little. Whether the settings fit is asked only while Kafka has never answered, or is known to be away:
    it takes seconds."""
    now_ms, answers, explained = 0, iter([True, False, True, False, False, False]), list[bool]()

    async def looked(*asked: Any, **how: Any) -> Seen:
        explained.append(how["explained"])
        if not next(answers):
            raise Unavailable("Kafka does not answer")
        return Seen({}, {}, {})

    kafka = KafkaStandings(KafkaSettings(), lambda: now_ms, 0, looked)

    async def heard() -> bool:
        with suppress(Unavailable):
            return bool(await kafka.now())
        return False

    told = []
    for _ in range(4):
        told.append(asyncio.run(heard()))
        now_ms += standing.FRESH_MS
    assert told == [True, True, False, False]
    assert explained == [True, False, False, False, False, True]
