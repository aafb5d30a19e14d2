"""The documentation speaks of what is there: files, functions, links, commands, settings."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
from documented import code, commands
from project import PROJECT, found, names, read, tracked

from streamapp.cli import command as streamapp
from streamapp.settings import Settings
from streamapp.settings.told import rows

BY_HAND = [
    path
    for path in tracked()
    if path.suffix == ".md"
    and path.parts[0] in {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs"}
    and path.name != "reference.md"
]
FUNCTION = re.compile(r"([\w/.-]+\.py):([A-Za-z_][\w.]*)")
FILE = re.compile(r"[\w/.-]+\.(?:py|md|png|toml|yml|lock|html|css|js)")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
VARIABLE = re.compile(r"\bSTREAM_[A-Z_]*[A-Z]")
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)
OUTSIDE = {"directory.toml", "broker.log"}  # files of whoever runs the system


def ids(path: Path) -> str:
    return str(path)


@pytest.fixture(params=BY_HAND, ids=ids)
def page(request: pytest.FixtureRequest) -> Path:
    path = request.param
    assert isinstance(path, Path)
    return path


def text(page: Path) -> str:
    return read(page) or ""


def test_the_pages_are_there() -> None:
    expected = {"README.md", "CHANGELOG.md", "docs/walk.md", "docs/runbook.md", "docs/decisions.md"}
    assert expected <= {str(path) for path in BY_HAND}


def test_every_page_begins_with_a_link_to_the_glossary_which_fits_a_screen() -> None:
    pages = [path for path in (*BY_HAND, Path("docs/reference.md")) if path.parent.name == "docs"]
    without = [path for path in pages if "](glossary.md)" not in "".join(text(path).splitlines(True)[:10])]
    assert without == [Path("docs/glossary.md")]
    assert "](docs/glossary.md)" in text(Path("README.md")).partition("\n## ")[0]
    assert len(text(Path("docs/glossary.md")).splitlines()) <= 50


def test_every_function_that_is_named_exists(page: Path) -> None:
    wrong = []
    for kind, span in code(text(page)):
        match = FUNCTION.fullmatch(span) if kind == "inline" else None
        if match is None:
            continue
        paths = found(match[1])
        if len(paths) != 1:
            wrong.append(f"{span}: {len(paths)} files end with {match[1]}")
        elif match[2] not in names(paths[0]):
            wrong.append(f"{span}: {paths[0]} defines no {match[2]}")
    assert wrong == []


def test_every_file_that_is_named_exists(page: Path) -> None:
    spans = [span for kind, span in code(text(page)) if kind == "inline" and FILE.fullmatch(span)]
    assert [span for span in spans if span not in OUTSIDE and not found(span)] == []


def test_every_relative_link_resolves(page: Path) -> None:
    wrong = []
    for link in LINK.findall(text(page)):
        target, _, anchor = unquote(link).partition("#")
        assert ":" not in target, f"{link} leaves the project"
        path = (PROJECT / page).parent / target if target else PROJECT / page
        if not path.exists() or (anchor and anchor not in slugs(path)):
            wrong.append(link)
    assert wrong == []


def slugs(path: Path) -> set[str]:
    """The anchors of a page's headings, as its readers make them."""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(path.read_text()))
    return {heading.replace(" ", "-") for heading in plain}


def test_every_command_exists_with_its_options(page: Path) -> None:
    for words in commands(text(page), "streamapp"):
        found_command: click.Command = streamapp
        context = click.Context(streamapp)
        while isinstance(found_command, click.Group) and words and not words[0].startswith("-"):
            child = found_command.get_command(context, words.pop(0))
            assert child is not None, f"{page}: streamapp has no such command: {words}"
            found_command = child
        if found_command.context_settings.get("ignore_unknown_options"):
            continue  # options of another program
        known = [option for item in found_command.params for option in (*item.opts, *item.secondary_opts)]
        unknown = [word for word in words if word.startswith("-") and word.partition("=")[0] not in [*known, "--help"]]
        assert unknown == [], f"{page}: {found_command.name} {words}"


def test_a_command_is_seen_across_line_breaks_and_in_a_list() -> None:
    page = "1. Type `streamapp\n   topics apply`, `once.\n\n   ```sh\n   streamapp verify \\\n     --json\n   ```\n"
    assert list(commands(page, "streamapp")) == [["topics", "apply"], ["verify", "--json"]]


def test_every_make_target_exists_with_its_variables(page: Path) -> None:
    makefile = (PROJECT / "Makefile").read_text()
    for words in commands(text(page), "make"):
        for word in words:
            name, is_variable, _ = word.partition("=")
            assert f"$({name})" in makefile if is_variable else name in TARGET.findall(makefile), f"{page}: make {word}"


def test_every_worker_that_is_started_exists(page: Path) -> None:
    for words in (words for words in commands(text(page), "faust") if "-A" in words):
        assert importlib.util.find_spec(words[words.index("-A") + 1]) is not None, f"{page}: {words}"


def test_every_setting_that_is_named_exists(page: Path) -> None:
    known = {row.variable for row in rows(Settings.model_construct())}
    assert set(VARIABLE.findall(text(page))) <= known


def test_every_decision_has_a_page_of_one_page() -> None:
    pages = sorted(path for path in BY_HAND if path.parent.name == "adr")
    numbers = [int(path.name[:4]) for path in pages]
    assert numbers == sorted(set(numbers))
    for path in pages:
        lines = text(path).splitlines()
        assert len(lines) <= 60, path
        assert lines[0].startswith(f"# {path.name[:4]} "), path
        assert [line for line in lines if line.startswith("## ")] == ["## Context", "## Decision", "## Price"], path


def test_the_reference_is_as_the_code_says() -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_") and name != "COLUMNS"}
    command = [sys.executable, "-m", "streamapp", "docs", "--check"]  # a process of its own: no test has been there
    done = subprocess.run(command, cwd=PROJECT, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_runbook_knows_every_refusal_of_a_takeover() -> None:
    messages = [told(node) for node in ast.walk(ast.parse(read(Path("streamapp/exact/partition/situation.py")) or ""))]
    headings = HEADING.findall((PROJECT / "docs/runbook.md").read_text())
    refusals = [message for message in messages if message]
    assert refusals
    for message in refusals:
        assert [heading for heading in headings if heading.rstrip(" …") in message], message


def told(node: ast.AST) -> str | None:
    """The text of `raise Misconfigured(f"…")`, with … for what is filled in."""
    match node:
        case ast.Raise(exc=ast.Call(func=ast.Name(id="Misconfigured"), args=[ast.JoinedStr(values=parts)])):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)
    return None


def test_the_script_that_a_run_names_is_the_example_of_the_readme() -> None:
    example = (PROJECT / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert (PROJECT / "docs" / "send_usage.py").read_text() == example
