"""What a container image would hold, added up: `python -m bench.image`. No container engine is needed.

Does in a temporary folder what the Dockerfile does in its first stage, with the same lock. The base image cannot be
measured here: it is counted as `BASE_MB`.
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
        found = measure(room)
    finally:
        shutil.rmtree(room)
    if sys.argv[1:] == ["--json"]:
        print(json.dumps(found, indent=2))
        return
    for name, mb in found["parts"].items():
        print(f"{mb:8.1f} MB  {name}")
    print(f"{found['total_mb']:8.1f} MB  in all, of which {found['removed_mb']:.1f} MB less by deploy/strip.py")


def measure(room: Path) -> dict[str, Any]:
    """Install into `room` as the Dockerfile does, strip, add up (MB are 10^6 bytes)."""
    tools: dict[str, Any] = runpy.run_path(str(PROJECT / "deploy" / "strip.py"))
    venv = room / "app"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--python", str(venv / "bin/python")]
    uv += ["--compile-bytecode", "--no-deps"]
    subprocess.run([*uv, "--require-hashes", "-r", str(PROJECT / "requirements.lock")], check=True)
    source = room / "source"  # of its own: a build leaves folders behind
    for name in ("streamapp", "tables"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, source)
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*wheel, "--wheel-dir", str(room / "wheel"), str(source)], check=True)
    subprocess.run([*uv, *map(str, (room / "wheel").glob("*.whl"))], check=True)
    (site_packages,) = venv.glob("lib/python3*/site-packages")
    removed = tools["strip"](site_packages)
    # What was stripped must be missed by nobody.
    subprocess.run([str(venv / "bin/python"), "-Bc", IMPORTS], check=True, cwd=room)
    sizes = {path.name: tools["size"](path) / 1e6 for path in site_packages.iterdir()}
    largest = sorted(sizes, key=lambda name: -sizes[name])[:NAMED]
    parts = {"python:3.11-slim (assumed)": float(BASE_MB), **{name: sizes[name] for name in largest}}
    parts["everything else"] = tools["size"](venv) / 1e6 - sum(sizes[name] for name in largest)
    return {"parts": parts, "total_mb": sum(parts.values()), "removed_mb": removed / 1e6}


if __name__ == "__main__":
    main()
