"""What every command has, asked of each command there is: `--json`, days for times, proposals for slips, whole help."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from streamapp.cli import command as root
from streamapp.cli.moment import Moment
from streamapp.cli.tables.bills import Month

Path = tuple[str, ...]

# Commands that tell no facts: they run until they are ended, make files, or print the lines of another program.
SERVES = {("broker", "start"), ("clickhouse",), ("capture",), ("reconcile",), ("registry",), ("watch",)}
MAKES = {("broker", "prepare"), ("contract", "export"), ("docs",), ("schemas", "release")}
# What these do is what `cluster plan --json` tells.
PLANNED = {("cluster", "grow"), ("cluster", "shrink")}
# What these print is JSON: schemas, a record a line, or what Kafka's own tool says.
PRINTS = {("schemas", "export"), ("archive", "cat"), ("broker", "tool")}
TIMES = {"--since", "--until", "--from", "--to", "--end", "--at", "--month"}


def walked(command: click.Command = root, path: Path = ()) -> Iterator[tuple[Path, click.Command]]:
    """Every command and group below `streamapp`, groups first."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from walked(child, (*path, name))


TREE = dict(walked())
GROUPS = [path for path, command in TREE.items() if isinstance(command, click.Group)]
LEAVES = [path for path in TREE if path not in GROUPS]


def options(path: Path) -> dict[str, click.Parameter]:
    """Long option → what it is."""
    return {name: one for one in TREE[path].params for name in (*one.opts, *one.secondary_opts) if name[:2] == "--"}


def ran(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(root, words)
    return done.exit_code, done.output


def test_every_command_that_tells_facts_tells_them_as_json() -> None:
    without = {path for path in LEAVES if "--json" not in options(path)}
    assert without == SERVES | MAKES | PLANNED | PRINTS


def test_every_time_may_be_a_day() -> None:
    for path in LEAVES:
        for name, one in options(path).items():
            if name in TIMES or str(one.name).endswith("_ms"):
                assert isinstance(one.type, Moment | Month), (path, name, one.type)


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_a_slip_in_a_command_is_told_what_was_meant(path: Path) -> None:
    group = TREE[path]
    assert isinstance(group, click.Group)
    names = group.list_commands(click.Context(group))
    for name in names:
        typed = f"{name[:-1]}{name[-1] * 2}x"  # no command is called so
        code, said = ran(*path, typed)
        assert (code, f"No such command {typed!r}: did you mean {name}?" in said) == (2, True), said


def test_a_slip_in_an_option_is_told_what_was_meant() -> None:
    for path in LEAVES:
        if TREE[path].context_settings.get("ignore_unknown_options"):
            continue  # they are another program's
        for name in options(path):
            typed = f"{name}x" if len(name) < 8 else name[:-2] + name[-1]
            if typed in options(path):
                continue
            code, said = ran(*path, typed)
            assert code == 2, (path, typed, said)
            assert name in said.partition("No such option")[2], (path, typed, said)


@pytest.mark.parametrize("path", GROUPS, ids=" ".join)
def test_the_help_of_a_group_cuts_no_sentence(path: Path) -> None:
    code, said = ran(*path, "--help")
    assert (code, "..." in said.partition("Commands:")[2]) == (0, False), said


def test_the_catalog_is_told_as_json() -> None:
    code, said = ran("schemas", "list", "--json")
    types = json.loads(said)["types"]
    assert (code, {"type": "llm.usage.completed", "topic": "llm_usage", "family": False} in types) == (0, True)


@pytest.mark.parametrize("words", [("redrive",), ("drop", "--because", "known")])
def test_json_asks_no_questions(words: tuple[str, ...]) -> None:
    code, said = ran("dead-letters", *words, "--json")
    assert (code, "add --yes or --dry-run" in said) == (2, True), said


def test_a_run_without_an_end_has_no_verdict_to_print_as_json() -> None:
    code, said = ran("run", "--json")
    assert (code, "add --for" in said) == (2, True), said
