"""What a person types in a hurry: a day for a time, a command with a slip."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from streamapp.agents.registry import AGENTS
from streamapp.cli import command
from streamapp.cli.moment import Moment
from streamapp.errors import Misconfigured
from streamapp.local.state import take_lock
from streamapp.schemas.values.timestamp import parse_ms

NOW = "2026-11-29T08:30:00Z"


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ("yesterday", "2026-11-28T00:00:00Z"),
        ("today", "2026-11-29T00:00:00Z"),
        ("now", NOW),
        ("2026-11-28", "2026-11-28T00:00:00Z"),
        ("2026-11-28T10:00:00", "2026-11-28T10:00:00Z"),
    ],
)
def test_a_day_is_its_midnight_in_utc(given: str, means: str) -> None:
    assert Moment(lambda: parse_ms(NOW) or 0).convert(given, None, None) == parse_ms(means)


@pytest.mark.parametrize(
    ("typed", "meant"), [("deadletters", "dead-letters"), ("verfy", "verify"), ("topic", "topics")]
)
def test_a_mistyped_command_is_told_the_one_that_was_meant(typed: str, meant: str) -> None:
    found = CliRunner().invoke(command, [typed])
    assert found.exit_code == 2
    assert f"No such command {typed!r}: did you mean {meant}?" in found.output


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["stop", "billing"], "Invalid value for 'GROUP': 'billing': did you mean rpc-billing or billing-agg or"),
        (["events", "--tail", "--topic", "llm_usag"], "'llm_usag': did you mean llm_usage?"),
        (["verify", "--pair", "xyzzy"], "'xyzzy' is not one of 'usage=bills'"),
        (
            ["bills", "export", "--month", "2025-01", "--out", "x.xls"],
            "x.xls says no format: end it in .csv, .jsonl or",
        ),
    ],
)
def test_a_mistyped_word_of_a_list_is_told_the_one_that_was_meant(typed: list[str], says: str) -> None:
    found = CliRunner().invoke(command, typed)
    assert (found.exit_code, says in found.output) == (2, True), found.output


@pytest.mark.parametrize("name", ["scale", "start", "stop"])
def test_the_help_names_each_group_on_a_line(name: str) -> None:
    told = CliRunner().invoke(command, [name, "--help"], terminal_width=80).output
    assert {f"    {group}" for group, _, _ in AGENTS} <= set(told.splitlines()), told


def test_a_run_whose_state_is_no_folder_says_so(tmp_path: Path) -> None:
    file = tmp_path / "state"
    file.write_text("")
    with pytest.raises(Misconfigured, match=f"STREAM_STATE_DIR={file} cannot be written: .*File exists"):
        take_lock(file)


def test_a_command_like_no_other_is_only_unknown() -> None:
    found = CliRunner().invoke(command, ["xyzzy"])
    assert (found.exit_code, "did you mean" in found.output) == (2, False)
