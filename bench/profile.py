"""Where the job's time goes: the worker under py-spy, as a table of functions and of modules."""

from __future__ import annotations

import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.contender import Command, Contender, Run
from bench.contenders import named, ours_command
from bench.load import Prepared, Step
from bench.watch import run_once

RATE_HZ = 500
TOP = 30


@dataclass(frozen=True, slots=True)
class Profile:
    """Samples by the function at the top of the stack: name, file."""

    functions: Mapping[tuple[str, str], int]

    @property
    def samples(self) -> int:
        return sum(self.functions.values())

    def modules(self) -> Counter[str]:
        """The same, by package or module."""
        counts: Counter[str] = Counter()
        for (_, file), samples in self.functions.items():
            counts[module_of(file)] += samples
        return counts


def parse(lines: Iterable[str]) -> Profile:
    """py-spy's raw format: `outer (file:line);inner (file:line) samples`, a line for each stack."""
    functions: Counter[tuple[str, str]] = Counter()
    for line in lines:
        stack, _, samples = line.rpartition(" ")
        name, _, place = stack.rpartition(";")[2].rpartition(" (")
        if name and samples.strip().isdigit():
            functions[name, place.rstrip(")").rpartition(":")[0]] += int(samples)
    return Profile(functions)


def module_of(file: str) -> str:
    """`aiokafka/consumer/fetcher.py` → `aiokafka`; our own modules in full."""
    if not file:
        return "?"
    parts = Path(file).with_suffix("").parts
    ours = next((at for at, part in enumerate(parts) if part in ("streamapp", "tables")), None)
    if ours is not None:
        return ".".join(parts[ours:])
    packages = next((at for at, part in enumerate(parts) if part == "site-packages"), None)
    if packages is not None:
        return parts[packages + 1]
    return f"python: {parts[-1]}"


def profile(prepared: Prepared, out: Path, step: Step, console: Console) -> bool:
    """Run the worker under py-spy and print the shares. Returns whether its answer was right."""
    spy = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if spy is None:
        raise FileNotFoundError("py-spy is not installed in this environment")
    raw = out.resolve() / "profile.raw"
    raw.parent.mkdir(parents=True, exist_ok=True)

    def spied(run: Run) -> tuple[Command, ...]:
        options = ("--rate", str(RATE_HZ), "--format", "raw", "--full-filenames", "--gil", "--output", str(raw))
        return ((spy, "record", *options, "--", *ours_command(run)),)

    contender: Contender = replace(
        named("ours")[0], name="profile", commands=spied, stop=signal.SIGINT
    )  # py-spy writes
    figures = run_once(contender, prepared, partial(step, "profiling"))
    print_profile(parse(raw.read_text().splitlines()), prepared.shape.records, console)
    console.print(f"stacks: {raw} · correct: {figures.correct}")
    return figures.correct


def print_profile(seen: Profile, events: int, console: Console) -> None:
    """Functions, then modules, with the share and the µs per event of each. Sampled is who
    holds the interpreter's lock, so what runs without it (RocksDB, compression) is not seen."""
    us = 1e6 / RATE_HZ / events
    functions = Table(title=f"self time, the first {TOP} functions", title_justify="left")
    for heading in ("function", "module"):
        functions.add_column(heading)
    modules = Table(title="self time by module", title_justify="left")
    modules.add_column("module")
    for table in (functions, modules):
        for heading in ("share", "µs/event"):
            table.add_column(heading, justify="right")
    for (name, file), samples in Counter(seen.functions).most_common(TOP):
        functions.add_row(name, module_of(file), f"{samples / seen.samples:.1%}", f"{samples * us:.2f}")
    for module, samples in seen.modules().most_common(TOP):
        modules.add_row(module, f"{samples / seen.samples:.1%}", f"{samples * us:.2f}")
    console.print(functions, modules)
