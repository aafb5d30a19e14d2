"""Compile the fast path: `python -m streamapp.lane.build`, which `make setup` calls.

Needs a C compiler and nothing of Python's: `cc`, `gcc`, `clang`, or the one in the package `ziglang`.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).parent
SOURCES = FOLDER / "c"
LIBRARY = FOLDER / "lane.so"
WARNINGS = ("-Wall", "-Wextra", "-Werror")
# A write beyond an array, or a call through a pointer that was overwritten, ends the process.
HARDENED = ("-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-Wl,-z,relro,-z,now")
FLAGS = ("-std=c11", "-O3", *WARNINGS, *HARDENED, "-fPIC", "-shared")


def sources_digest() -> str:
    """What the library must say it was made from."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sorted(SOURCES.rglob("*.[ch]")):
        digest.update(path.relative_to(SOURCES).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def compiler() -> list[str] | None:
    """The command of a C compiler, or None."""
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    # Zig alone compiles for the very processor it runs on; an image must run on others, too.
    return [sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline"] if find_spec("ziglang") else None


def build(*options: str, target: Path = LIBRARY) -> None:
    """Compile into `target`, all or nothing. Raises FileNotFoundError without a compiler, CalledProcessError when it
    refuses."""
    command = compiler()
    if command is None:
        raise FileNotFoundError("no C compiler: install gcc or clang, or the Python package ziglang")
    sources = sorted(str(path) for path in SOURCES.rglob("*.c"))
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        stamp = f'-DSOURCES="{sources_digest()}"'
        subprocess.run([*command, *FLAGS, f"-I{SOURCES}", *options, stamp, *sources, "-o", str(made)], check=True)
        made.replace(target)


if __name__ == "__main__":
    build()
