"""The tests of the compiled library with a library that gcc's address and undefined-behaviour sanitizers watch.

They run in a copy of the tree below build/, so that the library in place stays the one that workers use.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPY = ROOT / "build" / "sanitized"
OPTIONS = ("-O1", "-g", "-fno-omit-frame-pointer", "-U_FORTIFY_SOURCE", "-fsanitize=address,undefined")
STRICT = "-fno-sanitize-recover=all"
TESTS = (
    "tests/contract/test_seen_ids.py",
    "tests/property/test_decode.py",
    "tests/property/test_decode_metering.py",
    "tests/property/test_event_columns.py",
    "tests/property/test_fast_path.py",
    "tests/property/test_fast_path_calls.py",
    "tests/property/test_latency_histories.py",
    "tests/property/test_open_calls.py",
    "tests/unit/test_first_bill.py",
    "tests/unit/test_hashes.py",
    "tests/unit/test_hostile_ids.py",
    "tests/unit/test_library_memory.py",
)
OTHERWISE = "not hardened and not signal"  # they look at the usual library, and put a library of their own before ours


def main() -> int:
    if shutil.which("gcc") is None:
        print("gcc is missing: install the packages gcc and libasan8", file=sys.stderr)
        return 78
    shutil.rmtree(COPY, ignore_errors=True)
    COPY.mkdir(parents=True)
    for name in ("streamapp", "tables", "tests"):
        shutil.copytree(ROOT / name, COPY / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy(ROOT / "pyproject.toml", COPY)
    here = {**os.environ, "PYTHONPATH": str(COPY)}
    build = f"from streamapp.lane.build import build; build(*{(*OPTIONS, STRICT)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=COPY, env=here, check=True)
    runtimes = [
        subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    watched = {
        **here,
        "LD_PRELOAD": " ".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter keeps memory until the end
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    # -s: what a sanitizer says before it aborts must not be kept by pytest.
    pytest = [sys.executable, "-m", "pytest", "-q", "-s", "-x", "-p", "no:cacheprovider", "--hypothesis-profile=long"]
    command = [*pytest, "-k", OTHERWISE, *TESTS]
    return subprocess.run(command, cwd=COPY, env=watched, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
