"""Fuzz the library under address and undefined-behaviour sanitizers, then compare lanes and models.

`python tests/fuzz/run.py SECONDS` shares the seconds among the harnesses (libFuzzer, built by clang) and the
differential fuzzer. What is found is kept in build/fuzz/, with its log; exit code 1. New inputs go to
build/fuzz/corpus; the seeds in tests/fuzz/corpus are only read.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SOURCES = ROOT / "streamapp" / "lane" / "c"
OUT = ROOT / "build" / "fuzz"
HARNESSES = ("readers", "batches", "lanes")
FLAGS = ("-std=gnu11", "-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=fuzzer,address,undefined")
LONGEST_RUN_S = 25  # an input that takes longer is a fault, too


def built(name: str) -> Path:
    """The harness with all of the library's sources."""
    program = OUT / name
    sources = sorted(map(str, SOURCES.rglob("*.c")))
    strict = ("-fno-sanitize-recover=all", '-DSOURCES="fuzz"', f"-I{SOURCES}")
    subprocess.run(["clang", *FLAGS, *strict, str(HERE / f"{name}.c"), *sources, "-o", str(program)], check=True)
    return program


def fuzzed(name: str, seconds: int) -> bool:
    """Whether a harness found nothing."""
    found = OUT / "corpus" / name
    found.mkdir(parents=True, exist_ok=True)
    limits = (f"-max_total_time={seconds}", f"-timeout={LONGEST_RUN_S}", "-rss_limit_mb=2048", "-max_len=16384")
    command = [str(built(name)), *limits, f"-artifact_prefix={OUT}/{name}-", str(found), str(HERE / "corpus" / name)]
    with (OUT / f"{name}.log").open("w", encoding="utf-8") as log:
        ended = subprocess.run(command, stderr=log, check=False)
    lines = (OUT / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
    if ended.returncode:
        print("\n".join(lines[-60:]), f"{name}: exit code {ended.returncode}; log and input are in {OUT}", sep="\n")
        return False
    print(f"{name}: {lines[-1] if lines else 'no run'}")
    return True


def main() -> int:
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        print(f"usage: {sys.argv[0]} SECONDS", file=sys.stderr)
        return 2
    if shutil.which("clang") is None:
        print("clang is missing: install the packages clang and libclang-rt-14-dev", file=sys.stderr)
        return 78
    OUT.mkdir(parents=True, exist_ok=True)
    share = max(1, int(sys.argv[1]) // (len(HARNESSES) + 1))
    results = [fuzzed(name, share) for name in HARNESSES]
    paths = {**os.environ, "PYTHONPATH": f"{ROOT}:{HERE.parent}"}
    differential = subprocess.run([sys.executable, str(HERE / "differential.py"), str(share)], env=paths, check=False)
    return 0 if all(results) and not differential.returncode else 1


if __name__ == "__main__":
    sys.exit(main())
