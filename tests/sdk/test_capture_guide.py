"""docs/capture.md is true: its snippets deliver, its table of answers and its limits are those of the code."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from emptied import Emptied
from sdk_capture import TEAM, Running, capture
from sdk_packages import NODE, packages

from streamapp.capture.reading.answers import KINDS, RETRIED
from streamapp.settings import CaptureSettings

GUIDE = (Path(__file__).parents[2] / "docs" / "capture.md").read_text()
HOST = "http://127.0.0.1:3000"
GUIDE_TOKEN = "ha_0123456789abcdef"
SNIPPET_S = 60


def snippet(language: str) -> str:
    """The first one."""
    found, *_ = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    return str(found)


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its head."""
    section = GUIDE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[1:]]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, emptied: Emptied) -> Iterator[Running]:
    with capture(emptied.ready(), tmp_path_factory.mktemp("capture"), {TEAM: GUIDE_TOKEN}) as running:
        yield running


def run(*command: str, folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SNIPPET_S, check=False)
    assert done.returncode == 0, done.stderr


def delivered(front: Running) -> list[tuple[str, str, object]]:
    found = [one.event["data"] for one in front.arrived()]
    return [(one["event"], one["distinct_id"], one["properties"].get("price")) for one in found]


def test_every_snippet_delivers_its_event(front: Running, cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(packages(cache_dir))
    here = f"http://127.0.0.1:{front.port}"
    for language, name, program in (("python", "shop.py", sys.executable), ("js", "shop.mjs", str(NODE))):
        text = snippet(language)
        assert HOST in text
        (tmp_path / name).write_text(text.replace(HOST, here))
        before = len(front.arrived())
        run(program, name, folder=tmp_path)
        assert delivered(front)[before:] == [("order placed", "user_456", 12.5)], language
    before = len(front.arrived())
    _, option, body, url = shlex.split(snippet("sh"))  # curl itself need not be here
    assert (option, url) == ("-d", f"{HOST}/e")
    with urlopen(url.replace(HOST, here), body.encode(), SNIPPET_S) as answer:
        assert answer.status == 200
    assert delivered(front)[before:] == [("order placed", "user_456", None)]


def test_every_kind_of_answer_is_in_the_table() -> None:
    expected = [
        [str(kind.status), kind.slug, kind.meaning, "yes" if kind.reason else "no", again(kind.status)]
        for kind in sorted(KINDS, key=lambda kind: kind.status)
    ]
    assert rows("Answers") == expected


def again(status: int) -> str:
    return "Retry-After" if status in RETRIED else "no"


def test_every_limit_is_in_the_table_with_its_default() -> None:
    limits = CaptureSettings().model_dump()
    expected = {
        f"STREAM_CAPTURE__{name.upper()}": f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in limits.items()
    }
    assert {name: default for name, default, _ in rows("Limits and settings")} == expected
