"""All contenders side by side: rounds in turn, so that whatever the machine does meanwhile meets everybody."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from bench.contender import Contender, Missing
from bench.events import Shape
from bench.load import Prepared, Step, prepare
from bench.measure import REFERENCE, Figures, summary, with_ratios
from bench.plot import bars
from bench.table import print_table
from bench.watch import run_once

OURS = "ours"


def compare(
    contenders: Sequence[Contender],
    shape: Shape,
    rounds: int,
    files: Sequence[Path],
    plot: Path,
    console: Console,
    prepare: Callable[[Shape, Step], Prepared] = prepare,
    reference: str = REFERENCE,
) -> int:
    """Measure, print, write; ratios are to the contender that is named. The exit code: 1 when one of ours was wrong or
    did not finish."""
    missing: dict[str, str] = {}
    runs: dict[str, list[Figures]] = {}
    failed: dict[str, list[str]] = {}
    title = f"{shape.events:,} events, {shape.teams:,} teams, {rounds} round{'s' * (rounds > 1)} · {machine()}"
    console.print(title, style="bold", markup=False)
    with bar(console) as progress:
        step = steps(progress)
        present = [contender for contender in contenders if _ready(contender, missing, step)]
        topics = {_events_of(contender, shape): shape for contender in present}
        prepared = {events: prepare(replace(shape, events=events), step) for events in topics}
        for number in range(1, rounds + 1):
            for contender in present:
                topic = prepared[_events_of(contender, shape)]
                _round(contender, topic, f"round {number}: {contender.name}", step, runs, failed, console)
    rows = with_ratios([summary(name, done) for name, done in runs.items()], reference)
    rows = [{**row, "failed_rounds": len(failed.get(row["name"], []))} for row in rows]
    print_table(rows, {**missing, **{name: "; ".join(said) for name, said in failed.items()}}, console)
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(rows, indent=2) + "\n")
    plot.parent.mkdir(parents=True, exist_ok=True)
    plot.write_text(bars(rows, title))
    console.print(f"report: {', '.join(map(str, files))} · plot: {plot}")
    wrong = [row["name"] for row in rows if not row["correct"] and row["name"].startswith(OURS)]
    return 1 if wrong or any(name.startswith(OURS) for name in failed) else 0


def _ready(contender: Contender, missing: dict[str, str], step: Step) -> bool:
    step(f"environment of {contender.name}", 0, 1)
    try:
        contender.prepare()
    except Missing as error:
        missing[contender.name] = str(error)
        return False
    step(f"environment of {contender.name}", 1, 1)
    return True


def _round(
    contender: Contender,
    topic: Prepared,
    title: str,
    step: Step,
    runs: dict[str, list[Figures]],
    failed: dict[str, list[str]],
    console: Console,
) -> None:
    try:
        one = run_once(contender, topic, lambda done, of: step(title, done, of))
    except RuntimeError as error:
        lines = str(error).splitlines()
        failed.setdefault(contender.name, []).append(f"{lines[0]} … {lines[-1]}")
        console.print(f"{title} failed: {error}", style="red", markup=False)
        return
    runs.setdefault(contender.name, []).append(one)
    style = "" if one.correct else "red"
    verdict = "correct" if one.correct else f"WRONG in {len(one.problems)} hours, first {one.problems[0]}"
    figures = f"{one.events_per_s:,.0f} events/s, {one.cpu_us_per_event:.1f} µs/event, {verdict}"
    console.print(f"{title}: {figures}", style=style, markup=False)


def _events_of(contender: Contender, shape: Shape) -> int:
    return min(shape.events, contender.events_max or shape.events)


def bar(console: Console) -> Progress:
    """A progress bar that goes away when all is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def steps(progress: Progress) -> Step:
    """Shows what is under way: one line for each title."""
    lines: dict[str, TaskID] = {}

    def step(what: str, done: int, of: int) -> None:
        if what not in lines:
            for line in lines.values():
                progress.remove_task(line)
            lines.clear()
            lines[what] = progress.add_task(what, total=of)
        progress.update(lines[what], completed=done, total=of)

    return step


def machine() -> str:
    """What it ran on, in a few words."""
    names = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    load = next(iter(_lines("/proc/loadavg")), "?").split()[0]
    cpu = names[0] if names else platform.machine()
    return f"{len(names) or '?'} × {cpu}, {memory >> 20} GB, Python {platform.python_version()}, load before {load}"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
