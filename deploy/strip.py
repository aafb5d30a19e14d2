"""Remove from an environment what no process of an image reads: `python strip.py FOLDER`, in the Dockerfile.

Tests of packages, headers and sources for compilers, debugger files. Bytecode stays: without it each start compiles
some hundred modules anew.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

FOLDERS = ("tests", "testing", "include")
FILES = ("*.pyx", "*.pxd", "*.pyi", "*.c", "*.h", "*.cpp", "*.hpp", "*.a")
KEPT = ("streamapp",)  # the worker compares its library with the C sources
PYARROW = ("libarrow_flight.so*", "libarrow_python_flight.so*", "_flight*")  # remote calls, which nobody makes


def strip(site_packages: Path) -> int:
    """Remove it from the packages in this folder. Returns how many bytes went."""
    bytes_gone = 0
    for package in sorted(path for path in site_packages.iterdir() if path.is_dir() and path.name not in KEPT):
        own = PYARROW if package.name == "pyarrow" else ()
        for pattern in (*FOLDERS, *FILES, *own):
            for path in list(package.rglob(pattern)):
                if path.is_dir() != (pattern in FOLDERS):
                    continue
                bytes_gone += size(path)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return bytes_gone


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(each.lstat().st_size for each in path.rglob("*") if not each.is_dir())


def main() -> None:
    """Strip the environment that is named."""
    for site_packages in Path(sys.argv[1]).glob("lib/python3*/site-packages"):
        sys.stdout.write(f"{strip(site_packages) / 1e6:.0f} MB removed\n")


if __name__ == "__main__":
    main()
