"""The team directory: any TOML, small or large, read again beside its callers."""

from __future__ import annotations

import os
import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from conftest import wait_until
from hypothesis import given
from hypothesis import strategies as st

from streamapp.directory.index import Team, fast_teams, teams_of
from streamapp.directory.teams import SMALL_BYTES, EmptyDirectory, FileDirectory, Limit
from streamapp.errors import Misconfigured

PAD = "# " + "x" * SMALL_BYTES + "\n"
ODD = """
[teams.plain]
org = "org_1"
[teams."quoted name"]
org = "org_1" # with a comment
tokens = ["a", 'b',
  "c"]
budget_soft = { USD = "10.0" }
[teams]
inline = { org = "org_é", quota_per_second = 2.5 }
"""


@pytest.mark.parametrize("pad", ["", PAD], ids=["small", "large"])
def test_any_toml_is_read(tmp_path: Path, pad: str) -> None:
    path = tmp_path / "teams.toml"
    path.write_text(
        pad + ODD.replace("[teams]\ninline", "[teams.inline]\norg2").replace("org2 = {", "x = {") + 'org = "o"\n'
    )
    directory = FileDirectory(path)
    assert [directory.org_of(name) for name in ("plain", "quoted name", "inline", "nobody", "\ud800")] == [
        *("org_1", "org_1", "o"),
        *(None, None),
    ]
    assert [directory.team_of(token) for token in "abcd"] == ["quoted name"] * 3 + [None]


@pytest.mark.parametrize("pad", ["", PAD], ids=["small", "large"])
def test_a_change_is_seen_and_a_broken_version_is_not_used(
    tmp_path: Path, pad: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "teams.toml"
    path.write_text(pad + '[teams.a]\norg = "one"\nquota_per_second = 5\n')
    directory = FileDirectory(path)
    assert (directory.org_of("a"), directory.quota_of("a")) == ("one", 5.0)
    path.write_text(pad + '[teams.a]\norg = "another"\n')
    wait_until(lambda: directory.org_of("a") == "another")
    assert directory.quota_of("a") is None
    path.write_text(pad + "[teams.a]\norg = \n")
    wait_until(lambda: directory.org_of("a") and "stays as it was" in caplog.text)
    assert directory.org_of("a") == "another"
    assert caplog.text.count("stays as it was") == 1
    path.write_text(pad + '[teams.a]\norg = "third"\n')
    wait_until(lambda: directory.org_of("a") == "third")
    path.unlink()
    assert directory.org_of("a") == "third"


def test_no_caller_waits_while_a_large_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "teams.toml"
    path.write_text(PAD + '[teams.a]\norg = "one"\n')
    directory = FileDirectory(path)
    path.write_text(PAD + '[teams.a]\norg = "two"\n')
    assert directory.org_of("a") == "one"  # the question that notices the change
    assert directory.is_reading
    wait_until(lambda: not directory.is_reading)
    assert directory.org_of("a") == "two"
    os.utime(path)
    wait_until(lambda: not directory.is_reading)
    assert directory.org_of("a") == "two"


def test_who_must_know_what_the_file_says_now_waits(tmp_path: Path) -> None:
    path = tmp_path / "teams.toml"
    path.write_text(PAD + '[teams.a]\norg = "one"\n')
    directory = FileDirectory(path)
    for number in range(3):
        path.write_text(PAD + f'[teams.a]\norg = "{number}"\n' + "#" * number)
        directory.refresh()
        assert directory.org_of("a") == str(number)
    path.write_text(PAD + "[")
    directory.refresh()
    assert directory.org_of("a") == "2"


def test_the_first_teams_by_name(tmp_path: Path) -> None:
    path = tmp_path / "teams.toml"
    path.write_text("".join(f'[teams."{team}"]\norg = "org_{team}"\n' for team in ("b", "é", "a", "Z", "c")))
    assert [*FileDirectory(path).first(4).items()] == [(team, f"org_{team}") for team in ("Z", "a", "b", "c")]
    assert EmptyDirectory().first(4) == {}


def test_limits_are_exact_and_another_version_says_so(tmp_path: Path) -> None:
    path = tmp_path / "teams.toml"
    budgets = 'budget_hard = { USD = "100.000000000001" }\nbudget_soft = { USD = "80", EUR = "7" }\n'
    path.write_text(f'[teams.a]\norg = "o"\n{budgets}[teams.b]\norg = "o"\n')
    directory = FileDirectory(path)
    before = directory.version()
    assert directory.limits_of("a") == (
        Limit("soft", Decimal(7), "EUR"),
        Limit("soft", Decimal(80), "USD"),
        Limit("hard", Decimal("100.000000000001"), "USD"),
    )
    assert (directory.limits_of("b"), directory.limits_of("nobody"), directory.has_limits()) == ((), (), True)
    path.write_text('[teams.a]\norg = "o"\n')
    assert (directory.limits_of("a"), directory.has_limits()) == ((), False)
    assert directory.version() != before
    assert (EmptyDirectory().limits_of("a"), EmptyDirectory().has_limits()) == ((), False)


@pytest.mark.parametrize(
    "text",
    [
        "[teams.a]\n",
        '[teams.a]\norg = ""\n',
        '[teams.a]\norg = "o"\n\n[teams.a]\norg = "o"\n',
        '[teams.a]\norg = "o"\norg = "p"\n',
        '[teams.a]\norg = "o"\ntokens = ["t"]\n\n[teams.b]\norg = "o"\ntokens = ["t"]\n',
        '[teams.a]\norg = "o"\ntokens = "t"\n',
        '[teams.a]\norg = "o"\nquota_per_second = -1\n',
        '[teams.a]\norg = "o"\nbudget_soft = 80\n',
        '[teams.a]\norg = "o"\nbudget_hard = { USD = "0.00" }\n',
        '[teams.a]\norg = "o"\nbudget_hard = { USD = "1.0000000000001" }\n',
        '[teams.a]\norg = "o"\nbudget_hard = { "two words" = "1" }\n',
        "teams = 3\n",
        "[teams.a]\norg = 'o\n",
        "\udcff",
    ],
)
@pytest.mark.parametrize("pad", ["", PAD], ids=["small", "large"])
def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str, pad: str) -> None:
    path = tmp_path / "teams.toml"
    path.write_bytes((pad + text).encode("utf-8", "surrogateescape"))
    with pytest.raises(Misconfigured, match="STREAM_DIRECTORY"):
        FileDirectory(path)
    with pytest.raises(Misconfigured, match="STREAM_DIRECTORY"):
        FileDirectory(tmp_path / "nowhere.toml")


TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='"\\'), min_size=1, max_size=5)
BLANK = st.sampled_from(["", "\n", "# words [teams.x]\n", "  "])


@st.composite
def files(draw: st.DrawFn) -> str:
    """Files in the documented form, with the freedom that it leaves."""
    made = ""
    for number in range(draw(st.integers(0, 5))):
        name = draw(st.sampled_from([f"team-{number}", f'"team {number}"']))
        made += f"{draw(BLANK)}[teams.{name}]\n"
        lines = [f'org = "{draw(TEXT)}"']
        tokens = ", ".join(f'"{number}{at}{draw(TEXT)}"' for at in range(draw(st.integers(0, 3))))
        lines += draw(st.sampled_from([[], [f"tokens = [{tokens}]"], [f"tokens=[ {tokens} ]", 'note = "x"']]))
        lines += draw(st.sampled_from([[], ["quota_per_second = 0.5"], ["quota_per_second = 1000"]]))
        lines += draw(st.sampled_from([[], ["budget_soft = {}"], ['budget_hard = {USD = "1.5" , EUR="2"}']]))
        made += draw(st.sampled_from(["\n", "\n\n", "\r\n"])).join(draw(st.permutations(lines))) + "\n"
    return made


@given(files())
def test_the_fast_reader_reads_what_tomls_own_parser_reads(text: str) -> None:
    found: list[Team] = [*fast_teams(text)]
    assert found == [*teams_of(tomllib.loads(text))]
