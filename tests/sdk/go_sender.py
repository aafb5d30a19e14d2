"""The Go program of docs/sending.md, built once: Go comes in a wheel, its modules are those of `sender/go.sum`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from streamapp.broker.jars import held

MODULE = Path(__file__).parent / "sender"
GO = Path(sys.executable).parent / "go"
BUILD_S_MAX = 280


def built(source: str, cache_dir: Path) -> Path:
    """The program. Several test processes may ask at once; one builds it, the next time it is there."""
    files = [(MODULE / name).read_bytes() for name in ("go.mod", "go.sum")]
    name = hashlib.sha256(b"".join((source.encode(), *files))).hexdigest()[:16]
    done = cache_dir.resolve() / "sdk" / f"sender-{name}"
    done.parent.mkdir(parents=True, exist_ok=True)
    with held(done.parent / "sender.lock"):
        if not done.exists():
            _build(source, done)
    return done


def _build(source: str, done: Path) -> None:
    room = done.with_suffix(".building")  # kept when it is cut off: the next build goes on there
    shutil.copytree(MODULE, room / "module", dirs_exist_ok=True)
    (room / "module" / "main.go").write_text(source)
    places = {"GOPATH": str(room / "path"), "GOCACHE": str(room / "cache"), "GOTOOLCHAIN": "local"}
    command = [str(GO), "build", "-modcacherw", "-trimpath", "-ldflags=-s -w", "-o", str(room / "sender"), "."]
    ended = subprocess.run(
        command,
        cwd=room / "module",
        env=os.environ | places,
        capture_output=True,
        text=True,
        timeout=BUILD_S_MAX,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    os.replace(room / "sender", done)
    shutil.rmtree(room)
