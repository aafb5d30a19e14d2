"""An environment for each contender, from its pinned requirements; made once."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from bench.contender import Missing
from bench.load import ROOM

HERE = Path(__file__).parent


def python(name: str) -> str:
    """The interpreter of an environment."""
    return str(ROOM / name / "bin" / "python")


def make(name: str) -> None:
    """The environment of `bench/<name>/requirements.txt`, made anew when the file has changed. Raises `Missing`."""
    requirements = HERE / name / "requirements.txt"
    folder = ROOM / name
    stamp, wanted = folder / "made-of", hashlib.sha256(requirements.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _done([sys.executable, "-m", "venv", str(folder)])
    pip = [python(name), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    _done([*pip, "-r", str(requirements)])
    stamp.write_text(wanted)


def _done(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise Missing(f"its environment could not be made: {' '.join(last)}")
