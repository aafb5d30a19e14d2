"""A run's samples, and the figures made from them. Arithmetic only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

REFERENCE = "kafka-streams-eos"  # what billing-agg is held to
STEADY_FROM = 0.2  # the steady figures leave out the first fifth: start-up, caches, compilers


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at one moment. `done` are the records whose offsets the contender has committed."""

    at_s: float
    done: int
    cpu_us: float
    rss_bytes: int
    broker_cpu_us: float


@dataclass(frozen=True, slots=True)
class Figures:
    """One run. Rates and costs hold between the first and the last commit seen, the steady ones from a fifth of the
    events on; `from_start_s` is from the start of the processes to the last commit."""

    events: int
    events_per_s: float
    cpu_us_per_event: float
    events_per_s_steady: float
    cpu_us_steady: float
    cpu_us_from_start: float
    broker_cpu_us: float
    rss_mb: float
    from_start_s: float
    correct: bool
    problems: tuple[str, ...] = ()


def figures(samples: Sequence[Sample], problems: Sequence[str] = ()) -> Figures:
    """The figures of a finished run; the first sample is its start. Raises ValueError when nothing was processed."""
    last = next(sample for sample in samples if sample.done == samples[-1].done)
    begun = [sample for sample in samples if 0 < sample.done < last.done] or [samples[0]]
    if last.done <= 0:
        raise ValueError("nothing was processed")
    whole, start = begun[0], samples[0]
    steady = next((sample for sample in begun if sample.done >= STEADY_FROM * last.done), whole)
    return Figures(
        events=last.done,
        events_per_s=_rate(whole, last),
        cpu_us_per_event=_cost(whole, last),
        events_per_s_steady=_rate(steady, last),
        cpu_us_steady=_cost(steady, last),
        cpu_us_from_start=_cost(start, last),
        broker_cpu_us=(last.broker_cpu_us - whole.broker_cpu_us) / (last.done - whole.done),
        rss_mb=max(sample.rss_bytes for sample in samples) / (1 << 20),
        from_start_s=last.at_s - start.at_s,
        correct=not problems,
        problems=tuple(problems),
    )


def _rate(first: Sample, last: Sample) -> float:
    return (last.done - first.done) / (last.at_s - first.at_s)


def _cost(first: Sample, last: Sample) -> float:
    return (last.cpu_us - first.cpu_us) / (last.done - first.done)


def summary(name: str, runs: Sequence[Figures]) -> dict[str, Any]:
    """A contender's entry of the JSON report: medians over its rounds, `correct` only when every round was."""
    row: dict[str, Any] = {"name": name}
    for field, digits in FIELDS.items():
        row[field] = round(median(getattr(run, field) for run in runs), digits or None)
    row["correct"] = all(run.correct for run in runs)
    row["rounds"] = len(runs)
    row["problems"] = [sentence for run in runs for sentence in run.problems][:10]
    return row


FIELDS = {
    "events_per_s": 0,
    "cpu_us_per_event": 2,
    "rss_mb": 1,
    "events": 0,
    "events_per_s_steady": 0,
    "cpu_us_steady": 2,
    "cpu_us_from_start": 2,
    "broker_cpu_us": 2,
    "from_start_s": 2,
}


def with_ratios(rows: list[dict[str, Any]], reference: str) -> list[dict[str, Any]]:
    """Every row with `ratio`: its events per second over the reference's; None where the reference is missing."""
    base = next((row["events_per_s"] for row in rows if row["name"] == reference), None)
    return [{**row, "ratio": round(row["events_per_s"] / base, 2) if base else None} for row in rows]
