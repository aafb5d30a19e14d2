"""What a container image would hold, added up: `python -m bench.image`. No container engine is needed.

Does in a temporary folder what the Dockerfile does in its first stage, with the same lock. The base image cannot be
measured here: it is counted as `BASE_MB`. With `--light`: what `pip install hanzo-stream` brings to a program that
sends events (docs/adr/0052), at the versions of the lock.
"""

from __future__ import annotations

import json
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parent.parent
BASE_MB = 150  # python:3.11-slim with its Debian, unpacked; an upper bound
NAMED = 12
IMPORTS = """
import pkgutil, importlib, streamapp, tables
found = [m.name for p in (streamapp, tables) for m in pkgutil.walk_packages(p.__path__, p.__name__ + ".")]
for name in found:
    if not name.endswith(("__main__", "lane.lane")):  # a program; a library that is not of Python
        importlib.import_module(name)
"""


def main() -> None:
    """Print the largest parts and the sum; `--json`: as JSON."""
    room = Path(tempfile.mkdtemp(prefix="image-"))
    try:
        found = light(room) if "--light" in sys.argv else measure(room)
    finally:
        shutil.rmtree(room)
    if "--json" in sys.argv:
        print(json.dumps(found, indent=2))
        return
    for name, mb in found["parts"].items():
        print(f"{mb:8.1f} MB  {name}")
    print(f"{found['total_mb']:8.1f} MB  in all, of which {found['removed_mb']:.1f} MB less by deploy/strip.py")


def measure(room: Path) -> dict[str, Any]:
    """Install into `room` as the Dockerfile does, strip, add up (MB are 10^6 bytes)."""
    tools: dict[str, Any] = runpy.run_path(str(PROJECT / "deploy" / "strip.py"))
    uv = _installer(room)
    subprocess.run([*uv, "--no-deps", "--require-hashes", "-r", str(PROJECT / "requirements.lock")], check=True)
    subprocess.run([*uv, "--no-deps", str(_wheel(room))], check=True)
    (site_packages,) = room.glob("app/lib/python3*/site-packages")
    removed = tools["strip"](site_packages)
    # What was stripped must be missed by nobody.
    subprocess.run([str(room / "app/bin/python"), "-Bc", IMPORTS], check=True, cwd=room)
    return _added({"python:3.11-slim (assumed)": float(BASE_MB)}, site_packages, removed / 1e6)


def light(room: Path) -> dict[str, Any]:
    """Install the wheel by its name into `room`, import the producer, add up."""
    uv, wheel = _installer(room), _wheel(room)
    by_name = ["--find-links", str(wheel.parent), "-c", str(PROJECT / "requirements.lock"), "hanzo-stream"]
    subprocess.run([*uv, *by_name], check=True)
    subprocess.run([str(room / "app/bin/python"), "-Bc", "import streamapp.kafka.producer"], check=True, cwd=room)
    (site_packages,) = room.glob("app/lib/python3*/site-packages")
    return _added({}, site_packages, 0)


def _installer(room: Path) -> list[str]:
    """The command that installs into a new environment in `room`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(room / "app")], check=True)
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--python"]
    return [*uv, str(room / "app/bin/python"), "--compile-bytecode"]


def _wheel(room: Path) -> Path:
    source = room / "source"  # of its own: a build leaves folders behind
    for name in ("streamapp", "tables"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, source)
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*wheel, "--wheel-dir", str(room / "wheel"), str(source)], check=True)
    (made,) = (room / "wheel").glob("*.whl")
    return made


def _added(before: dict[str, float], site_packages: Path, removed_mb: float) -> dict[str, Any]:
    size = runpy.run_path(str(PROJECT / "deploy" / "strip.py"))["size"]
    sizes = {path.name: size(path) / 1e6 for path in site_packages.iterdir()}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:NAMED]
    parts = before | {name: sizes[name] for name in largest}
    parts["everything else"] = size(site_packages.parents[2]) / 1e6 - sum(sizes[name] for name in largest)
    return {"parts": parts, "total_mb": sum(parts.values()), "removed_mb": removed_mb}


if __name__ == "__main__":
    main()
