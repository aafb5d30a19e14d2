"""What `streamapp simulate` sent: counted topic by topic, for people and for programs."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from streamapp.cli.printed import print_table
from streamapp.schemas.values.timestamp import format_ms
from streamapp.simulate.stream import SimulatedRecord, StreamSpec


@dataclass
class TopicSummary:
    """What one topic was sent. `reasons` counts what `dead_letter` has to say about it."""

    sent: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "kinds": dict(sorted(self.kinds.items())),
            "reasons": dict(sorted(self.reasons.items())),
        }


@dataclass
class Summary:
    """What all topics were sent."""

    topics: dict[str, TopicSummary] = field(default_factory=lambda: defaultdict(TopicSummary))
    acknowledged: int = 0
    seconds: float = 0.0

    def add(self, topic: str, record: SimulatedRecord) -> None:
        one = self.topics[topic]
        one.sent += 1
        one.kinds[record.kind.value] += 1
        if record.reason is not None:
            one.reasons[record.reason.value] += 1

    @property
    def per_second(self) -> float:
        return self.acknowledged / self.seconds if self.seconds else 0.0

    def as_json(self, spec: StreamSpec) -> dict[str, Any]:
        return {
            "acknowledged": self.acknowledged,
            "seconds": round(self.seconds, 3),
            "per_second": round(self.per_second),
            "topics": {topic: one.as_json() for topic, one in sorted(self.topics.items())},
            "from": format_ms(spec.start_ms),
            "until": format_ms(spec.end_ms),
            "seed": spec.seed,
        }


def show(summary: Summary, spec: StreamSpec, console: Console) -> None:
    """Print the summary for a person: a column for each topic."""
    names = sorted(summary.topics, key=lambda topic: -summary.topics[topic].sent)
    topics = [summary.topics[name] for name in names]
    title = f"Simulated from {format_ms(spec.start_ms)} to {format_ms(spec.end_ms)}"
    table = Table("", *(Column(name, justify="right") for name in names), title=title)
    table.add_row("sent", *(f"{one.sent:,}" for one in topics))
    for kind in sorted({kind for one in topics for kind in one.kinds}):
        table.add_row(kind, *(_count(one.kinds[kind]) for one in topics))
    for reason in sorted({reason for one in topics for reason in one.reasons}):
        table.add_row(f"  to dead_letter as {reason}", *(_count(one.reasons[reason]) for one in topics))
    print_table(table, console)
    console.print(
        f"{summary.acknowledged:,} acknowledged in {summary.seconds:,.1f} s, {summary.per_second:,.0f} a second"
    )


def _count(number: int) -> str:
    return f"{number:,}" if number else ""
