"""What llm-metrics tells Prometheus, in its text format. Pure: counts in, text out.

Counters are read from the table's committed rows and carry the partition that they live in: whoever owns it, the same
series goes on where it was. Histograms tell partitions apart and nothing else: by model they would be thousands of
series. The quantiles are by model, of the whole fleet, and absent unless all of it has answered. They are summaries
without sum and count: that type alone may have the label `quantile`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from streamapp.meters.latency.codec import stream_text
from tables.latency.spread import BOUNDS_US, Spread
from tables.latency.tally import STATUSES, Series, Tally

SERIES = ("partition", "provider", "model", "stream")
QUANTILES = (0.5, 0.95, 0.99)
LES = (*(str(bound / 1_000_000) for bound in BOUNDS_US), "+Inf")


class Family(NamedTuple):
    """A metric: its name as samples have it, without the endings of a histogram."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...]


REQUESTS = Family("hanzo_llm_requests_total", "counter", "Calls, by how they ended", (*SERIES, "status"))
ERRORS = Family("hanzo_llm_errors_total", "counter", "Calls that did not end in success", SERIES)
CACHE_HITS = Family("hanzo_llm_cache_hits_total", "counter", "Calls answered from a cache", SERIES)
TOKENS = Family("hanzo_llm_tokens_total", "counter", "Tokens, of prompts and of completions", (*SERIES, "type"))
COST = Family("hanzo_llm_cost_total", "counter", "What the calls cost, exact to 12 decimals", (*SERIES, "currency"))
DURATION = Family("hanzo_llm_request_duration_seconds", "histogram", "How long calls took", ("partition", "le"))
TTFT = Family("hanzo_llm_time_to_first_token_seconds", "histogram", "Until the first token came", ("partition", "le"))
IGNORED = Family(
    "hanzo_llm_measurements_ignored_total",
    "counter",
    "Calls without a duration: the measurement is missing, or unusable (negative, no number, above 24 h)",
    (*SERIES, "measurement", "reason"),
)
DUPLICATES = Family("hanzo_llm_duplicates_total", "counter", "Repeated events that were ignored", ("partition",))
REFUSED = Family("hanzo_llm_refused_total", "counter", "Records that do not count", ("partition", "reason"))
_QUANTILE = ("provider", "model", "stream", "window", "quantile")
DURATION_QUANTILE = Family(
    "hanzo_llm_request_duration_quantile_seconds",
    "summary",
    "Of all workers, within 1 %: the last full minute (1m) and hour (1h)",
    _QUANTILE,
)
TTFT_QUANTILE = Family(
    "hanzo_llm_time_to_first_token_quantile_seconds", "summary", "Likewise, until the first token", _QUANTILE
)
UNANSWERED = Family(
    "hanzo_llm_partitions_unanswered",
    "gauge",
    "Partitions without an answering worker; quantiles are absent meanwhile",
    (),
)

FAMILIES = (
    REQUESTS,
    ERRORS,
    CACHE_HITS,
    TOKENS,
    COST,
    DURATION,
    TTFT,
    IGNORED,
    DUPLICATES,
    REFUSED,
    DURATION_QUANTILE,
    TTFT_QUANTILE,
    UNANSWERED,
)


GAUGES = (DURATION_QUANTILE, TTFT_QUANTILE, UNANSWERED)  # of the fleet; the others are of partitions


class PartitionCounts(NamedTuple):
    """What one partition has counted, ever."""

    partition: int
    totals: Mapping[Series, Tally]
    refused: Mapping[str, int]  # reason → records
    duplicates: int


class Quantiles(NamedTuple):
    """Of one series in one window, in seconds, in the order of `QUANTILES`; None when nothing was counted."""

    series: Series
    window: str
    duration_s: Sequence[float] | None
    ttft_s: Sequence[float] | None


def counters(partitions: Iterable[PartitionCounts], openmetrics: bool = False) -> str:
    """The counters and histograms of the partitions in hand."""
    lines: dict[Family, list[str]] = {family: [] for family in FAMILIES if family not in GAUGES}
    for one in partitions:
        partition = f'partition="{one.partition}"'
        latency, ttft = Spread(), Spread()
        for series, tally in one.totals.items():
            for family, line in _counted(f"{partition},{_names(series)}", tally):
                lines[family].append(line)
            latency.add_exact(tally.latency)
            ttft.add_exact(tally.ttft)
        lines[DURATION] += _histogram(partition, latency)
        lines[TTFT] += _histogram(partition, ttft)
        lines[DUPLICATES].append(f'{{partition="{one.partition}"}} {one.duplicates}')
        for reason, count in one.refused.items():
            lines[REFUSED].append(f'{{partition="{one.partition}",reason="{_escaped(reason)}"}} {count}')
    return _text(lines, openmetrics)


def gauges(quantiles: Iterable[Quantiles], unanswered: int, openmetrics: bool = False) -> str:
    """The quantiles of the fleet; none of them while partitions are `unanswered`."""
    lines: dict[Family, list[str]] = {family: [] for family in GAUGES}
    lines[UNANSWERED].append(f" {unanswered}")
    for one in quantiles if not unanswered else ():
        labels = f'{_names(one.series)},window="{one.window}"'
        for family, values in ((DURATION_QUANTILE, one.duration_s), (TTFT_QUANTILE, one.ttft_s)):
            for rank, value in zip(QUANTILES, values or (), strict=False):
                lines[family].append(f'{{{labels},quantile="{rank}"}} {value:.9g}')
    return _text(lines, openmetrics)


def _counted(labels: str, tally: Tally) -> Iterator[tuple[Family, str]]:
    for status, count in zip(STATUSES, tally.statuses, strict=True):
        if count:
            yield REQUESTS, f'{{{labels},status="{status}"}} {count}'
    yield ERRORS, f"{{{labels}}} {tally.errors}"
    yield CACHE_HITS, f"{{{labels}}} {tally.cache_hits}"
    yield TOKENS, f'{{{labels},type="prompt"}} {tally.prompt_tokens}'
    yield TOKENS, f'{{{labels},type="completion"}} {tally.completion_tokens}'
    for currency, cost in tally.cost.items():
        yield COST, f'{{{labels},currency="{currency}"}} {cost:f}'
    for (measurement, reason), count in tally.ignored.items():
        if count:
            yield IGNORED, f'{{{labels},measurement="{measurement}",reason="{reason}"}} {count}'


def _histogram(labels: str, spread: Spread) -> Iterator[str]:
    if not spread.count:
        return
    for le, count in zip(LES, accumulate(spread.buckets), strict=True):
        yield f'_bucket{{{labels},le="{le}"}} {count}'
    whole, rest = divmod(spread.sum_us, 1_000_000)
    yield f"_sum{{{labels}}} {whole}.{rest:06d}"
    yield f"_count{{{labels}}} {spread.count}"


def _names(series: Series) -> str:
    stream = stream_text(series.stream)
    return f'provider="{_escaped(series.provider)}",model="{_escaped(series.model)}",stream="{stream}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _text(lines: Mapping[Family, Sequence[str]], openmetrics: bool) -> str:
    parts: list[str] = []
    for family, samples in lines.items():
        if samples or family in GAUGES:  # those may be unknown for a while, and are told even so
            # OpenMetrics names a counter without the ending of its samples.
            name = family.name.removesuffix("_total") if openmetrics and family.kind == "counter" else family.name
            parts += (f"# HELP {name} {family.meaning}", f"# TYPE {name} {family.kind}")
            parts += [family.name + sample for sample in samples]
    return "".join(f"{part}\n" for part in parts)
