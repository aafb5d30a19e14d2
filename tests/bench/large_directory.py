"""What a large team directory costs a worker: `python tests/bench/large_directory.py [TEAMS]`.

Prints seconds to the first answer, the growth of this process's memory, the microseconds of a lookup, the longest time
that an event loop was held up by lookups while a changed file was read again, and how long that took.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from pathlib import Path

from streamapp.clock import monotonic_s
from streamapp.directory.teams import FileDirectory


def rss_mb() -> int:
    """Resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 >> 20


async def _longest_stop_ms(directory: FileDirectory) -> tuple[float, float]:
    longest, began = 0.0, monotonic_s()
    while True:
        asked = monotonic_s()
        directory.org_of("team_5")
        longest = max(longest, monotonic_s() - asked)
        if not getattr(directory, "is_reading", False):
            return longest * 1000, monotonic_s() - began
        await asyncio.sleep(0.001)


def main() -> None:
    teams = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "teams.toml"
        with path.open("w") as file:
            for number in range(teams):
                file.write(f'[teams.team_{number}]\norg = "org_{number // 7}"\ntokens = ["ha_{number:032x}"]\n\n')
        before, began = rss_mb(), monotonic_s()
        directory = FileDirectory(path)
        assert directory.team_of(f"ha_{teams - 1:032x}") == f"team_{teams - 1}"
        print(f"{teams} teams, {path.stat().st_size >> 20} MiB: first answer after {monotonic_s() - began:.1f} s")
        print(f"memory of this process: {rss_mb() - before} MB more")
        names = [f"team_{random.randrange(teams)}" for _ in range(20_000)]
        began = monotonic_s()
        assert all(directory.org_of(name) for name in names)
        print(f"a lookup: {(monotonic_s() - began) / len(names) * 1e6:.1f} µs")
        for what in ("touched", "changed"):
            with path.open("a") as file:
                file.write("" if what == "touched" else '[teams.new]\norg = "org_new"\n')
            path.touch()
            stopped_ms, took_s = asyncio.run(_longest_stop_ms(directory))
            print(f"{what}: read in {took_s:.1f} s, the loop stood still for {stopped_ms:.1f} ms at most")
        assert directory.org_of("new") == "org_new"


if __name__ == "__main__":
    main()
