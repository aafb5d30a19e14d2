"""The working tree beside an earlier commit, whole workers in turn: what has a change cost, or saved?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.compare import machine
from bench.contender import Contender, Run
from bench.contenders import CONTENDERS, OURS_GROUP
from bench.events import Shape
from bench.groups.group import GroupBench
from bench.groups.registry import group_bench
from bench.load import PROJECT, Prepared, Step, prepare
from bench.measure import Figures
from bench.watch import run_once

GROUPS = (OURS_GROUP, "llm-metrics", "rpc-billing")
RATIO_MAX = 1.05  # CPU per event over that of the base
TRIES = 3  # as many rounds again, at most so often, before a group is called dearer
BASE, NOW = "base", "ours"

Pair = tuple[float, float]
"""CPU µs per event of one round: the base's, and the working tree's."""


class CannotRun(Exception):
    """The commit cannot be measured here; the text says why."""


@contextmanager
def worktree(commit: str, project: Path = PROJECT) -> Iterator[Path]:
    """The commit's files in a temporary folder, its fast path compiled by its own script. Raises `CannotRun`."""
    with tempfile.TemporaryDirectory(prefix="stream-base-") as folder:
        tree = Path(folder) / "tree"
        _done(("git", "worktree", "add", "--quiet", "--detach", str(tree), commit), project, f"commit {commit}")
        try:
            scripts = sorted(tree.glob("streamapp/**/build.py"))  # wherever the package was at that time
            if len(scripts) != 1:
                raise CannotRun(f"{commit} has {len(scripts)} scripts streamapp/**/build.py; 1 compiles the fast path")
            _done((sys.executable, str(scripts[0])), tree, f"compiling the fast path of {commit}")
            yield tree
        finally:
            _done(("git", "worktree", "remove", "--force", str(tree)), project, "removing the worktree")


def _done(command: Sequence[str], folder: Path, what: str) -> None:
    ended = subprocess.run(
        command, cwd=folder, env=_environment(folder), capture_output=True, text=True, timeout=300, check=False
    )
    if ended.returncode:
        raise CannotRun(f"{what}: {ended.stderr.strip() or ended.stdout.strip()}")


def _environment(tree: Path) -> dict[str, str]:
    """The packages of this environment, the project's own from the tree."""
    return {**os.environ, "PYTHONPATH": str(tree)}


def of_tree(contender: Contender, tree: Path) -> Contender:
    """The contender as the tree has it. Its answer is still read and judged by the working tree."""

    def environment(run: Run) -> Mapping[str, str]:
        return {**contender.environment(run), "PYTHONPATH": str(tree)}

    return replace(contender, name=BASE, environment=environment, home=tree)


def bench_of(group: str) -> GroupBench:
    """A group's benchmark. Raises ValueError."""
    return GroupBench(OURS_GROUP, prepare, CONTENDERS) if group == OURS_GROUP else group_bench(group)


def against(
    commit: str, groups: Sequence[str], shape: Shape, rounds: int, files: Sequence[Path], step: Step, console: Console
) -> int:
    """Measure, print, write. The exit code: 1 when a group is dearer than it may be, or a run was wrong or failed."""
    title = f"{commit} and the working tree, {shape.events:,} events, {shape.teams:,} teams, {rounds} rounds"
    console.print(f"{title} · {machine()}", style="bold", markup=False)
    with worktree(commit) as tree:
        rows = [row_of(group, _measured(group, tree, shape, rounds, step, console)) for group in groups]
    print_rows(rows, console)
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows, indent=2) + "\n")
    return 1 if any(row["ratio"] > RATIO_MAX for row in rows) else 0


def _measured(group: str, tree: Path, shape: Shape, rounds: int, step: Step, console: Console) -> list[Pair]:
    """Raises `CannotRun` for a run that failed or was wrong."""
    bench = bench_of(group)
    topic = bench.prepare(shape, step)
    ours = next(contender for contender in bench.contenders if contender.name == NOW)
    both = {NOW: ours, BASE: of_tree(ours, tree)}
    pairs = []

    def measure(name: str, number: int) -> float:
        return _checked(both[name], topic, f"{group}, round {number}: {name}", step).cpu_us_per_event

    for base, now in pairs_of(measure, rounds):
        pairs.append((base, now))
        said = f"{group}, round {len(pairs)}: {base:.2f} → {now:.2f} µs/event, ratio {now / base:.2f}"
        console.print(said, markup=False)
    return pairs


def pairs_of(measure: Callable[[str, int], float], rounds: int) -> Iterator[Pair]:
    """Rounds in turn, and more of them while the group looks dearer than it may be: a busy machine is no regression.
    `measure` runs one of the two, by its name, in a round, and says its CPU µs per event."""
    pairs: list[Pair] = []
    while not pairs or (len(pairs) < rounds * TRIES and ratio_of(pairs) > RATIO_MAX):
        for number in range(len(pairs) + 1, len(pairs) + rounds + 1):
            names = (BASE, NOW) if number % 2 else (NOW, BASE)  # nobody is always first
            found = {name: measure(name, number) for name in names}
            pairs.append((found[BASE], found[NOW]))
            yield pairs[-1]


def ratio_of(pairs: Sequence[Pair]) -> float:
    """The median of each round's own: whatever the machine does meanwhile meets both."""
    return median(now / base for base, now in pairs)


def _checked(contender: Contender, topic: Prepared, title: str, step: Step) -> Figures:
    try:
        one = run_once(contender, topic, lambda done, of: step(title, done, of))
    except RuntimeError as error:
        raise CannotRun(f"{title} failed: {error}") from None
    if not one.correct:
        raise CannotRun(f"{title} gave a wrong answer: {one.problems[0]}")
    return one


def row_of(group: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    """A group's line of the report: medians over the rounds."""
    ratios = [now / base for base, now in pairs]
    return {
        "group": group,
        "base_cpu_us": round(median(base for base, _ in pairs), 2),
        "cpu_us": round(median(now for _, now in pairs), 2),
        "ratio": round(ratio_of(pairs), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "rounds": len(pairs),
    }


def print_rows(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """The report as a table."""
    table = Table(title=f"CPU µs per event; at most {RATIO_MAX:.2f} times that of the base", title_justify="left")
    table.add_column("group")
    for heading in ("base", "now", "ratio", "of single rounds", "rounds"):
        table.add_column(heading, justify="right")
    for row in rows:
        ratio = f"{row['ratio']:.2f}" if row["ratio"] <= RATIO_MAX else f"[bold red]{row['ratio']:.2f}[/]"
        spread = f"{row['ratio_min']:.2f}–{row['ratio_max']:.2f}"
        table.add_row(
            row["group"], f"{row['base_cpu_us']:.2f}", f"{row['cpu_us']:.2f}", ratio, spread, str(row["rounds"])
        )
    console.print(table)
