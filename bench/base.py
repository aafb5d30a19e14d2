"""The working tree beside an earlier commit, whole workers in turn: what has a change cost, or saved?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
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
def worktree(commit: str) -> Iterator[Path]:
    """The commit's files in a temporary folder, its fast path compiled by its own script. Raises `CannotRun`."""
    with tempfile.TemporaryDirectory(prefix="stream-base-") as folder:
        tree = Path(folder) / "tree"
        _done(("git", "worktree", "add", "--quiet", "--detach", str(tree), commit), PROJECT, f"commit {commit}")
        try:
            scripts = sorted(tree.glob("streamapp/**/build.py"))  # wherever the package was at that time
            if len(scripts) != 1:
                raise CannotRun(f"{commit} has {len(scripts)} scripts streamapp/**/build.py; 1 compiles the fast path")
            _done((sys.executable, str(scripts[0])), tree, f"compiling the fast path of {commit}")
            yield tree
        finally:
            _done(("git", "worktree", "remove", "--force", str(tree)), PROJECT, "removing the worktree")


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
    rows = []
    with worktree(commit) as tree:
        for group in groups:
            bench = bench_of(group)
            ours = next(contender for contender in bench.contenders if contender.name == NOW)
            topic = bench.prepare(shape, step)
            pairs = judged((of_tree(ours, tree), ours), topic, group, rounds, step, console)
            rows.append(row_of(group, pairs))
    print_rows(rows, console)
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows, indent=2) + "\n")
    return 1 if any(row["ratio"] > RATIO_MAX for row in rows) else 0


def judged(
    both: tuple[Contender, Contender], topic: Prepared, group: str, rounds: int, step: Step, console: Console
) -> list[Pair]:
    """Rounds in turn, and more of them while the group looks dearer than it may be: a busy machine is no regression.
    Raises `CannotRun` for a run that failed or was wrong."""
    pairs: list[Pair] = []
    for number in range(1, rounds * TRIES + 1):
        found: dict[str, float] = {}
        for contender in both if number % 2 else reversed(both):  # nobody is always first
            title = f"{group}, round {number}: {contender.name}"
            found[contender.name] = _checked(contender, topic, title, step).cpu_us_per_event
        pairs.append((found[BASE], found[NOW]))
        said = f"{group}, round {number}: {found[BASE]:.2f} → {found[NOW]:.2f} µs/event"
        console.print(f"{said}, ratio {found[NOW] / found[BASE]:.2f}", markup=False)
        if number % rounds == 0 and row_of(group, pairs)["ratio"] <= RATIO_MAX:
            break
    return pairs


def _checked(contender: Contender, topic: Prepared, title: str, step: Step) -> Figures:
    try:
        one = run_once(contender, topic, lambda done, of: step(title, done, of))
    except RuntimeError as error:
        raise CannotRun(f"{title} failed: {error}") from None
    if not one.correct:
        raise CannotRun(f"{title} gave a wrong answer: {one.problems[0]}")
    return one


def row_of(group: str, pairs: Sequence[Pair]) -> dict[str, Any]:
    """A group's line of the report: medians over the rounds; `ratio` is the median of each round's own."""
    ratios = [now / base for base, now in pairs]
    return {
        "group": group,
        "base_cpu_us": round(median(base for base, _ in pairs), 2),
        "cpu_us": round(median(now for _, now in pairs), 2),
        "ratio": round(median(ratios), 3),
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
