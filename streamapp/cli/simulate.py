"""`streamapp simulate`: a realistic, seeded usage stream."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from streamapp.clock import monotonic_s, wall_ms
from streamapp.errors import Misconfigured
from streamapp.kafka.admin import Admin
from streamapp.kafka.producer import RawProducer
from streamapp.kafka.security import confluent_config
from streamapp.kafka.tail import newest_values
from streamapp.ops.simulate import HOUR_MS, SimulatedRecord, UsageSpec, history, usage_stream
from streamapp.ops.verify_billing import read_directory
from streamapp.schemas.decode import decode_usage
from streamapp.schemas.rejected import Rejected
from streamapp.schemas.timestamp import format_ms, parse_ms
from streamapp.settings import Settings, current

TOPIC = "llm_usage"
TAIL = 50  # records of each partition that are asked how far the stream came
WAIT_S = 0.02
SHOWN_EVERY = 512
SHARE = click.FloatRange(0, 1)


@dataclass
class Summary:
    """What was sent. `reasons` counts what `dead_letter` has to say about it."""

    kinds: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    seconds: float = 0.0

    def add(self, record: SimulatedRecord) -> None:
        self.kinds[record.kind.value] += 1
        if record.reason is not None:
            self.reasons[record.reason.value] += 1

    @property
    def per_second(self) -> float:
        return self.acknowledged / self.seconds if self.seconds else 0.0

    def as_json(self, spec: UsageSpec) -> dict[str, Any]:
        return {
            "acknowledged": self.acknowledged,
            "seconds": round(self.seconds, 3),
            "per_second": round(self.per_second),
            "kinds": dict(sorted(self.kinds.items())),
            "reasons": dict(sorted(self.reasons.items())),
            "from": format_ms(spec.start_ms),
            "until": format_ms(spec.end_ms),
            "seed": spec.seed,
        }


@dataclass(frozen=True)
class Pace:
    """How fast, and until when. Rates in events per second, 0: as fast as possible; `live_rate` None: no live part."""

    rate: float
    live_rate: float | None
    until_s: float | None
    stop: threading.Event

    def over(self) -> bool:
        return self.stop.is_set() or (self.until_s is not None and monotonic_s() >= self.until_s)

    def spread(self, times: Iterable[int], rate: float) -> Iterator[int]:
        """The same moments, each when it is due."""
        start_s = monotonic_s()
        for number, at_ms in enumerate(times):
            if rate:
                while number > rate * (monotonic_s() - start_s):
                    if self.over():
                        return
                    self.stop.wait(WAIT_S)
            if number % SHOWN_EVERY == 0 and self.over():
                return
            yield at_ms


@click.command(name="simulate")
@click.option("--events", default=100_000, show_default=True, type=click.IntRange(0), help="Events of the history.")
@click.option("--hours", default=12.0, show_default=True, type=click.FloatRange(0, 13 * 24), help="Its event time.")
@click.option("--rate", default=0.0, show_default=True, help="Events per second; 0: as fast as possible.")
@click.option("--teams", default=200, show_default=True, type=click.IntRange(1, 1_000_000), help="Teams, by zipf.")
@click.option("--late", default=0.01, show_default=True, type=SHARE, help="Share of events of closed hours.")
@click.option("--duplicates", default=0.02, show_default=True, type=SHARE, help="Share of events sent again.")
@click.option("--bad", default=0.005, show_default=True, type=SHARE, help="Share of poison of every kind.")
@click.option("--seed", default=1, show_default=True, help="The same seed and end give the same bytes.")
@click.option("--end", help="Event time at which the history ends, RFC 3339 [default: now].")
@click.option("--continue", "go_on", is_flag=True, help="Begin where the topic ends, if that is within --hours.")
@click.option("--forever", is_flag=True, help="After the history go on at the present time until Ctrl-C.")
@click.option("--for", "for_seconds", type=click.FloatRange(0), help="The same, but stop so many seconds from now.")
@click.option("--live-rate", default=50.0, show_default=True, type=click.FloatRange(0.01), help="Rate after it.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object, no progress bar.")
def command(
    end: str | None,
    go_on: bool,
    forever: bool,
    for_seconds: float | None,
    rate: float,
    live_rate: float,
    as_json: bool,
    **shape: Any,
) -> None:
    """Send a realistic, seeded usage stream to llm_usage.

    A history of --hours of event time that ends now; event time runs by the index of the event, so hours close while it
    is sent. With --forever or --for the stream goes on at the present time. Ctrl-C sends what is under way and ends.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    settings = current()
    if TOPIC not in Admin(settings.kafka).topics():
        raise Misconfigured(f"topic {TOPIC} does not exist; create it with `streamapp topics apply`")
    spec = _spec(settings, end, **shape)
    if go_on:
        spec = continued(spec, newest_values(confluent_config(settings.kafka), TOPIC, TAIL))
    until_s = None if for_seconds is None else monotonic_s() + for_seconds
    live = forever or for_seconds is not None
    summary = send(settings, spec, Pace(rate, live_rate if live else None, until_s, stop), show_progress=not as_json)
    if as_json:
        click.echo(json.dumps(summary.as_json(spec), indent=2))
    else:
        show(summary, spec, Console())


def continued(spec: UsageSpec, newest: Iterable[bytes]) -> UsageSpec:
    """The spec from the newest event among these on; as dense as before, if its end comes later than that."""
    found = (decode_usage(value) for value in newest)
    moments = [usage.at_ms for usage in found if not isinstance(usage, Rejected) and usage.at_ms <= spec.end_ms]
    start_ms = max([spec.start_ms, *moments])
    span = max(1, spec.end_ms - spec.start_ms)
    return replace(spec, start_ms=start_ms, events=spec.events * (spec.end_ms - start_ms) // span)


def send(settings: Settings, spec: UsageSpec, pace: Pace, show_progress: bool) -> Summary:
    """Send the stream and wait for every acknowledgement. Raises `DeliveryFailed`."""
    summary, start_s = Summary(), monotonic_s()
    times = pace.spread(history(spec), pace.rate)
    if pace.live_rate is not None:
        times = chain(times, pace.spread(iter(wall_ms, None), pace.live_rate))
    step = 1 if pace.live_rate is not None or pace.rate else SHOWN_EVERY
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with (
        Progress(*columns, console=Console(stderr=True), disable=not show_progress) as progress,
        RawProducer(settings.kafka) as out,
    ):
        bar = progress.add_task("history", total=spec.events)
        for number, record in enumerate(usage_stream(spec, times), 1):
            out.send(TOPIC, record.key, record.value)
            summary.add(record)
            if number % step == 0:
                out.look()
                rate = number / max(0.001, monotonic_s() - start_s)
                live = f"now · {rate:,.0f}/s"
                progress.update(bar, completed=number, description=f"{rate:,.0f}/s" if number < spec.events else live)
        out.flush()
    summary.acknowledged, summary.seconds = out.acknowledged, monotonic_s() - start_s
    return summary


def show(summary: Summary, spec: UsageSpec, console: Console) -> None:
    """Print the summary for a person."""
    table = Table(title="Simulated usage", show_header=False)
    table.add_row("acknowledged", f"{summary.acknowledged:,}")
    table.add_row("seconds", f"{summary.seconds:,.1f}")
    table.add_row("per second", f"{summary.per_second:,.0f}")
    table.add_row("history", f"{format_ms(spec.start_ms)} … {format_ms(spec.end_ms)}")
    for kind, count in sorted(summary.kinds.items()):
        table.add_row(kind, f"{count:,}")
    for reason, count in sorted(summary.reasons.items()):
        table.add_row(f"  to dead_letter as {reason}", f"{count:,}")
    console.print(table)


def _spec(settings: Settings, end: str | None, hours: float, **shape: Any) -> UsageSpec:
    end_ms = wall_ms() if end is None else parse_ms(end)
    if end_ms is None:
        raise click.BadParameter("is not an RFC 3339 timestamp", param_hint="--end")
    if shape["late"] + shape["duplicates"] + shape["bad"] > 1:
        raise click.UsageError("--late, --duplicates and --bad are shares of all records: together at most 1")
    directory = read_directory(settings.directory)
    grace_ms = settings.billing.grace_seconds * 1000
    return UsageSpec(round(end_ms - hours * HOUR_MS), end_ms, grace_ms=grace_ms, directory=directory, **shape)
