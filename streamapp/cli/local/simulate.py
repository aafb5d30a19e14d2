"""`streamapp simulate`: realistic, seeded streams of every topic that others write."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import click
import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from streamapp.cli import printed
from streamapp.cli.group import Choice
from streamapp.cli.local.signals import ended_by_signal
from streamapp.cli.local.simulate_summary import Summary, show
from streamapp.cli.moment import Moment
from streamapp.cli.printed import console, print_json
from streamapp.cli.reached import reached
from streamapp.clock import monotonic_s, wall_ms
from streamapp.directory.teams import open_directory
from streamapp.errors import Misconfigured
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.tail import newest_values
from streamapp.kafka.producer import RawProducer
from streamapp.schemas.values.timestamp import parse_ms
from streamapp.settings import Settings
from streamapp.simulate.stream import HOUR_MS, StreamSpec, history
from streamapp.simulate.topics import STREAMS, Simulated, mixed

TAIL = 50  # records of each partition that are asked how far the stream came
WAIT_S = 0.02
SHOWN_EVERY = 512
# So few that a broker on a very busy machine acknowledges them within the delivery timeout: the stream waits instead.
PACED_BUFFER, FAST_BUFFER = 1_000, 10_000
SHARE = click.FloatRange(0, 1)
TOPIC = Choice([one.topic for one in STREAMS])


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
@click.option("--topic", "topics", multiple=True, type=TOPIC, help="Only this topic; may be repeated [default: all].")
@click.option(
    "--events", default=100_000, show_default=True, type=click.IntRange(0), help="Number of events in the history."
)
@click.option(
    "--hours",
    default=12.0,
    show_default=True,
    type=click.FloatRange(0, 13 * 24),
    help="Hours of event time in the history.",
)
@click.option("--rate", default=0.0, show_default=True, help="Events per second; 0: as fast as possible.")
@click.option(
    "--teams",
    default=200,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Number of teams; few send most (Zipf).",
)
@click.option("--late", default=0.01, show_default=True, type=SHARE, help="Fraction of events for closed hours.")
@click.option(
    "--duplicates", default=0.02, show_default=True, type=SHARE, help="Fraction of events that are sent twice."
)
@click.option("--bad", default=0.005, show_default=True, type=SHARE, help="Fraction of invalid events.")
@click.option("--seed", default=1, show_default=True, help="The same seed, end and topics give the same bytes.")
@click.option("--end", "end_ms", type=Moment(), help="Event time at which the history ends [default: now].")
@click.option("--continue", "go_on", is_flag=True, help="Begin where each topic ends, if that is within --hours.")
@click.option("--forever", is_flag=True, help="After the history go on at the present time until Ctrl-C.")
@click.option(
    "--for", "for_seconds", type=click.FloatRange(0), help="Like --forever, but stop after this many seconds."
)
@click.option(
    "--live-rate",
    default=50.0,
    show_default=True,
    type=click.FloatRange(0.01),
    help="Events per second after the history.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object, no progress bar.")
def command(
    topics: tuple[str, ...],
    end_ms: int | None,
    go_on: bool,
    forever: bool,
    for_seconds: float | None,
    rate: float,
    live_rate: float,
    as_json: bool,
    **shape: Any,
) -> None:
    """Send realistic, seeded streams to the topics that others write.

    The same platform speaks on all of them: its model calls (llm_usage), the people on its pages
    (events_plugin_ingestion), calls of its agents (agent_rpc_metering), who did what (audit_log). Numbers and rates are
    those of all topics together: half of the events are usage, 30 % insights, 15 % agents' calls, 5 % audit. With
    --topic only those are sent, in the same proportion.

    A history of --hours of event time that ends now; event time runs by the index of the event, so hours close while it
    is sent. With --forever or --for the streams go on at the present time. Ctrl-C sends what is under way and ends.

    \b
      streamapp simulate --events 1000                            a first look
      streamapp simulate --topic llm_usage --late 0.2             much that comes late
      streamapp simulate --topic audit_log --bad 0.5 --events 50  what ends in dead_letter
      streamapp simulate --continue --forever                     go on where the topics end
    """
    stop = ended_by_signal()
    settings = reached()
    streams = [one for one in STREAMS if one.topic in topics or not topics]
    missing = sorted({one.topic for one in streams} - Admin(settings.kafka).topics())
    if missing:
        raise Misconfigured(f"topics are missing: {', '.join(missing)}; create them with `streamapp topics apply`")
    spec = _spec(settings, end_ms, **shape)
    since_ms: dict[str, int] = {}
    if go_on:
        spec, since_ms = _continued(settings, spec, streams)
    until_s = None if for_seconds is None else monotonic_s() + for_seconds
    live = forever or for_seconds is not None
    pace = Pace(rate, live_rate if live else None, until_s, stop)
    summary = send(settings, spec, streams, since_ms, pace, show_progress=not as_json)
    if as_json:
        print_json(summary.as_json(spec))
    else:
        show(summary, spec, console())


def _continued(settings: Settings, spec: StreamSpec, streams: Sequence[Simulated]) -> tuple[StreamSpec, dict[str, int]]:
    """The spec that goes on where the topics end, and since when each topic does (ms)."""
    # Late events of days ago may be forgotten ids by now: those of the last run must not come again.
    spec = replace(spec, run=spec.end_ms)
    config = confluent_config(settings.kafka)
    parts = {one.topic: continued(spec, newest_values(config, one.topic, TAIL)) for one in streams}
    since_ms = {topic: part.start_ms for topic, part in parts.items()}
    return min(parts.values(), key=lambda part: part.start_ms), since_ms


class _Moment(msgspec.Struct):
    timestamp: str


_read_moment = msgspec.json.Decoder(_Moment).decode


def continued(spec: StreamSpec, newest: Iterable[bytes]) -> StreamSpec:
    """The spec from the newest event among these on; as dense as before, if its end comes later than that."""
    moments = [at_ms for at_ms in map(_moment_of, newest) if at_ms is not None and at_ms <= spec.end_ms]
    start_ms = max([spec.start_ms, *moments])
    span = max(1, spec.end_ms - spec.start_ms)
    return replace(spec, start_ms=start_ms, events=spec.events * (spec.end_ms - start_ms) // span)


def _moment_of(value: bytes) -> int | None:
    try:
        return parse_ms(_read_moment(value).timestamp)
    except msgspec.MsgspecError:
        return None  # poison


def send(
    settings: Settings,
    spec: StreamSpec,
    streams: Sequence[Simulated],
    since_ms: Mapping[str, int],
    pace: Pace,
    show_progress: bool,
) -> Summary:
    """Send the streams and wait for every acknowledgement. Raises `DeliveryFailed`."""
    summary, start_s = Summary(), monotonic_s()
    times = pace.spread(history(spec), pace.rate)
    if pace.live_rate is not None:
        times = chain(times, pace.spread(iter(wall_ms, None), pace.live_rate))
    step = 1 if pace.live_rate is not None or pace.rate else SHOWN_EVERY
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    shares = sum(one.share for one in streams)
    with (
        printed.progress(show_progress, *columns) as progress,
        RawProducer(settings.kafka, buffer_records=PACED_BUFFER if pace.rate else FAST_BUFFER) as out,
    ):
        bars = {one.topic: progress.add_task(one.topic, total=spec.events * one.share // shares) for one in streams}
        for number, (topic, record) in enumerate(mixed(spec, streams, times, since_ms), 1):
            out.send(topic, record.key, record.value)
            summary.add(topic, record)
            if number % step == 0:
                out.look()
                _advance(progress, bars[topic], topic, summary.topics[topic].sent, monotonic_s() - start_s)
        for topic, bar in bars.items():
            _advance(progress, bar, topic, summary.topics[topic].sent, monotonic_s() - start_s)
        out.flush()
    summary.acknowledged, summary.seconds = out.acknowledged, monotonic_s() - start_s
    return summary


def _advance(progress: Progress, bar: Any, topic: str, sent: int, seconds: float) -> None:
    rate = sent / max(0.001, seconds)
    progress.update(bar, completed=sent, description=f"{topic} · {rate:,.0f}/s")


def _spec(settings: Settings, end_ms: int | None, hours: float, **shape: Any) -> StreamSpec:
    end_ms = wall_ms() if end_ms is None else end_ms
    if shape["late"] + shape["duplicates"] + shape["bad"] > 1:
        raise click.UsageError("--late, --duplicates and --bad are shares of all records: together at most 1")
    directory = open_directory(settings.directory).first(shape["teams"])
    grace_ms = settings.billing.grace_seconds * 1000
    return StreamSpec(round(end_ms - hours * HOUR_MS), end_ms, grace_ms=grace_ms, directory=directory, **shape)
