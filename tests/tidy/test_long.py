"""What `make test` leaves out, and which shorter test keeps the promise: docs/long-tests.md says it of each."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from project import PROJECT, modules, read

PAGE = Path("docs/long-tests.md")
NOTHING_MAX, IN_PART_MAX = 2, 20
NAMED = re.compile(r"`(tests/[\w/]+\.py):(test_\w+)`")


def marked(node: ast.expr | ast.stmt) -> bool:
    """Whether this is `pytest.mark.long`."""
    return ast.unparse(node) == "pytest.mark.long"


def long_tests() -> set[tuple[str, str]]:
    """(module, test) of everything that is long as a whole."""
    found = set[tuple[str, str]]()
    for path in modules("tests"):
        text = read(path) or ""
        body = ast.parse(text).body if "mark.long" in text else []
        whole = any(isinstance(node, ast.Assign) and marked(node.value) for node in body)
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test_"):
                continue
            if whole or any(marked(decorator) for decorator in node.decorator_list):
                found.add((str(path), node.name))
    return found


def rows() -> dict[tuple[str, str], set[tuple[str, str]]]:
    """Long test → the shorter ones beside it, as the page has them."""
    table = (PROJECT / PAGE).read_text().partition("Some tests have long parameters")[0]
    cells = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| `tests/")]
    return {test: {*NAMED.findall(shorter)} for long, shorter in cells for test in NAMED.findall(long)}


def test_every_long_test_names_the_shorter_tests_of_its_promise() -> None:
    """`test_docs.py` holds that all of them exist."""
    long = long_tests()
    assert set(rows()) == long
    assert [test for test, shorter in rows().items() if shorter & long] == []


def test_what_has_no_shorter_test_is_said_openly() -> None:
    lines = (PROJECT / PAGE).read_text().splitlines()
    without = [test for test, shorter in rows().items() if not shorter]
    assert len(without) == sum("| nothing: " in line for line in lines) <= NOTHING_MAX
    assert sum("| in part: " in line for line in lines) <= IN_PART_MAX
