"""From the loads of a run to its report. Arithmetic only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

RATIO_MAX = {"single": 1.4, "batch": 1.5}  # CPU per event over the reference's
HALF_P99_MS_MAX = 50.0


@dataclass(frozen=True, slots=True)
class Load:
    """One load on one front. `events` are those of requests answered 200."""

    requests: int
    events: int
    seconds: float
    cpu_us: float
    broker_cpu_us: float
    rss_bytes: int
    p50_ms: float
    p99_ms: float
    problems: tuple[str, ...]

    @property
    def cpu_us_per_event(self) -> float:
        return self.cpu_us / max(self.events, 1)


@dataclass(frozen=True, slots=True)
class Figures:
    """One front, one kind of request, one round: at saturation, and at half of it."""

    name: str
    kind: str
    round: int
    full: Load
    half: Load


def problems_of(statuses: Mapping[str, int], events: int, records: int) -> tuple[str, ...]:
    """What is wrong with a load: answers other than 200, and a topic that did not grow by what was answered 200.

    `events` in each request; `records` by which the topic grew meanwhile.
    """
    said = [f"{count:,} answers were {status}" for status, count in sorted(statuses.items()) if status != "200"]
    answered = statuses.get("200", 0) * events
    if not answered:
        said.append("nothing was answered 200")
    if records < answered or (records > answered and not said):
        said.append(f"{answered:,} events were answered 200, the topic grew by {records:,}")
    return tuple(said)


def report(runs: Sequence[Figures], reference: str) -> list[dict[str, Any]]:
    """A row for each front and kind: medians over the rounds.

    `ratio` is the median of each round's own CPU per event over the reference's in that round; None without it.
    """
    rows = []
    for kind, name in dict.fromkeys((run.kind, run.name) for run in runs):
        mine = [run for run in runs if (run.kind, run.name) == (kind, name)]
        base = {run.round: run.full.cpu_us_per_event for run in runs if (run.kind, run.name) == (kind, reference)}
        ratios = [run.full.cpu_us_per_event / base[run.round] for run in mine if run.round in base]
        rows.append(_row(mine, round(median(ratios), 2) if ratios else None))
    return rows


def _row(runs: Sequence[Figures], ratio: float | None) -> dict[str, Any]:
    problems = [sentence for run in runs for load in (run.full, run.half) for sentence in load.problems]
    return {
        "name": runs[0].name,
        "kind": runs[0].kind,
        "events_per_s": round(median(run.full.events / run.full.seconds for run in runs)),
        "cpu_us_per_event": round(median(run.full.cpu_us_per_event for run in runs), 2),
        "ratio": ratio,
        "ratio_max": RATIO_MAX[runs[0].kind],
        "broker_cpu_us": round(median(run.full.broker_cpu_us / max(run.full.events, 1) for run in runs), 2),
        "p50_ms": median(run.full.p50_ms for run in runs),
        "p99_ms": median(run.full.p99_ms for run in runs),
        "half_p50_ms": median(run.half.p50_ms for run in runs),
        "half_p99_ms": median(run.half.p99_ms for run in runs),
        "half_p99_ms_max": HALF_P99_MS_MAX,
        "half_cpu_us_per_event": round(median(run.half.cpu_us_per_event for run in runs), 2),
        "rss_mb": round(max(run.full.rss_bytes for run in runs) / (1 << 20), 1),
        "events": sum(run.full.events + run.half.events for run in runs),
        "rounds": len(runs),
        "correct": not problems,
        "problems": problems[:10],
    }
