"""The rules of the house: short modules, short functions, nothing left to do, nothing of one machine or one mirror."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from project import modules, read, tracked

MODULE_LINES_MAX = 300
FUNCTION_LINES_MAX = 50
OURS = modules("streamapp", "tables")
PYTHON = modules("streamapp", "tables", "tests")

# Brackets, so that no pattern finds itself.
REGISTRIES = re.compile(r"pypi[.]org|pythonhosted[.]org|maven[.]org|maven[.]apache|npmjs[.]|crates[.]io|proxy[.]golang")
MACHINE = re.compile(r"(?<![\w.$}*])/(?:work|root|home)/")
LEFT_TO_DO = re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X)\b")
BANNED = {
    "a test is never skipped": re.compile(r"pytest[.](?:mark[.])?(?:skip|xfail|importorskip)"),
    "add a parameter instead": re.compile(r"mock[.]patch|monkeypatch[.]setattr"),
    "wait for a condition, not for a time": re.compile(r"\btime[.]sleep|from time import .*\bsleep"),
}


def lines(pattern: re.Pattern[str], path: Path) -> list[str]:
    """Where a file says it."""
    return [
        f"{path}:{number}: {line}"
        for number, line in enumerate((read(path) or "").splitlines(), 1)
        if pattern.search(line)
    ]


def test_modules_are_short() -> None:
    lengths = {str(path): len((read(path) or "").splitlines()) for path in OURS}
    assert {path: length for path, length in lengths.items() if length > MODULE_LINES_MAX} == {}


def test_functions_are_short() -> None:
    long = []
    for path in OURS:
        for node in ast.walk(ast.parse(read(path) or "")):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    long.append(f"{path}:{node.name}: {length} lines")
    assert long == []


def test_checks_look_at_kafka_through_the_reader_that_waits_for_open_transactions() -> None:
    hasty = re.compile(r"reader import .*\bspans\b")
    checks = [path for path in OURS if "verify" in path.parent.parts and path.name != "reading.py"]
    assert len(checks) > 10
    assert [line for path in checks for line in lines(hasty, path)] == []


def test_every_module_says_what_it_is() -> None:
    empty_ones = [path for path in OURS if path.name != "__init__.py" or (read(path) or "").strip()]
    assert [str(path) for path in empty_ones if ast.get_docstring(ast.parse(read(path) or "")) is None] == []


@pytest.mark.parametrize("pattern", [REGISTRIES, MACHINE, LEFT_TO_DO], ids=["registries", "machines", "left to do"])
def test_no_file_names_a_mirror_or_a_machine_or_leaves_work(pattern: re.Pattern[str]) -> None:
    assert [line for path in tracked() for line in lines(pattern, path)] == []


@pytest.mark.parametrize("why", BANNED)
def test_no_module_and_no_test_takes_a_short_cut(why: str) -> None:
    assert [line for path in PYTHON for line in lines(BANNED[why], path)] == []
