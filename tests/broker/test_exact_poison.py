"""Every kind of poison on a real cluster: one dead letter each, with its reason and its bytes, and nothing of it
counts."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import pytest
from emptied import Emptied
from usage_log import value
from verify_logs import text
from workers import Letter, Sent, cluster, counted

from streamapp.chaos.load import ODD
from streamapp.clock import wall_ms
from streamapp.simulate.poison import POISONS, Sound

HOUR_MS = 3_600_000
ODD_NAMES = {
    "no key": "invalid_envelope",
    "neither key nor value": "empty_value",
    "a byte order mark": "malformed_json",
    "ten thousand levels": "malformed_json",
    "an open bracket": "malformed_json",
    "a closing bracket": "malformed_json",
    "a long text": "invalid_envelope",
}


class Case(NamedTuple):
    """A record that must be refused."""

    name: str
    reason: str
    sent: Sent


def cases(hour_ms: int, now_ms: int) -> list[Case]:
    """One of each kind, each with a team of its own, which also sends one good event."""
    rng, made = Random(1), []
    for number, poison in enumerate(POISONS):
        team = f"team_{number}"
        sound = Sound(team.encode(), value(f"bad-{number}", hour_ms, team), hour_ms, now_ms)
        sound = sound._replace(value=sound.value.replace(b'"gateway"', b'"llm-gateway"'))
        made.append(Case(poison.name, poison.reason.value, Sent(*poison.spoil(sound, rng))))
    return made + [Case(name, reason, Sent(*sent)) for (name, reason), sent in zip(ODD_NAMES.items(), ODD, strict=True)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, emptied: Emptied) -> Iterator[tuple[list[Case], list[Letter]]]:
    """All kinds, sent at once to one cluster, and the dead letters about them. What is not refused counts."""
    now_ms = wall_ms()
    hour_ms = now_ms // HOUR_MS * HOUR_MS - 4 * HOUR_MS
    bad = cases(hour_ms, now_ms)
    teams = [f"team_{number}" for number in range(len(POISONS))]
    good = [Sent(team.encode(), value(f"good-{team}", hour_ms, team)) for team in teams]
    with cluster(emptied.ready(), tmp_path_factory.mktemp("poison")) as stack:
        stack.send([*good, *(case.sent for case in bad)])
        worker = stack.start(billing__idle_seconds=0.5)
        stack.drain(worker)
        only_good = {(team, text(hour_ms), "USD"): (0, 1) for team in teams}
        stack.wait(lambda: len(counted(stack.bills())) >= len(only_good), 30, worker)
        assert counted(stack.bills()) == only_good
        stack.verify()
        yield bad, stack.letters()


@pytest.mark.parametrize("name", [poison.name for poison in POISONS] + list(ODD_NAMES))
def test_it_is_refused_for_its_reason_with_its_bytes(name: str, told: tuple[list[Case], list[Letter]]) -> None:
    bad, letters = told
    (case,) = (one for one in bad if one.name == name)
    about = [letter for letter in letters if (letter.key, letter.value) == (case.sent.key, case.sent.value)]
    assert [letter.reason for letter in about] == [case.reason]


def test_there_is_a_letter_for_each_and_no_other(told: tuple[list[Case], list[Letter]]) -> None:
    bad, letters = told
    assert len(letters) == len(bad)
