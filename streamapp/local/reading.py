"""Who reads what in `streamapp run`, how far everybody is, and when everything has been read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from streamapp.local.jobs import producing_groups, stage_of
from streamapp.topics.registry import group, topic
from streamapp.watch.lag import Reading, Standing

SETTLED_S = 1.5  # for the few records that may hide among the markers
NAMED_MAX = 3  # groups that are behind are named in the progress line, the farthest first


def readings(groups: Sequence[str]) -> tuple[Reading, ...]:
    """What these groups read; whoever reads what another one writes comes after it."""
    ordered = sorted(groups, key=stage_of)
    return tuple(Reading(name, read, _markers(read, groups)) for name in ordered for read in group(name).topics)


def _markers(read: str, groups: Collection[str]) -> int:
    """How many offsets at the end of each of its partitions may be markers: one of each partition that a group which
    writes the topic works on."""
    writers = [group(name) for name in producing_groups(read) if name in groups]
    return sum(topic(source).partitions for writer in writers for source in writer.topics)


class Drained:
    """Tells when everything has been read: nobody is behind, and for a while nothing has moved."""

    def __init__(self) -> None:
        self._last: Sequence[Standing] = ()
        self._since_s = 0.0

    def done(self, standings: Sequence[Standing], now_s: float) -> bool:
        """`now_s` is a monotonic clock's."""
        if standings != self._last:
            self._last, self._since_s = standings, now_s
        return not any(each.lag for each in standings) and now_s - self._since_s >= SETTLED_S

    def still_s(self, now_s: float) -> float:
        """For how long nothing has moved."""
        return now_s - self._since_s


def behind_text(standings: Sequence[Standing]) -> str:
    """Who is behind, and how far; short, however many groups there are."""
    lags: Counter[str] = Counter()
    for each in standings:
        lags[each.group] += each.lag
    late = [(name, lag) for name, lag in lags.most_common() if lag]
    if not late:
        return f"all {len(lags)} groups have read everything" if len(lags) > 1 else "everything is read"
    named = [f"{name} {lag:,}" for name, lag in late[:NAMED_MAX]]
    more = [f"{len(late) - NAMED_MAX} more"] if len(late) > NAMED_MAX else []
    return f"behind: {' · '.join(named + more)}"


def progress_text(standings: Sequence[Standing], fed: Collection[str]) -> str:
    """One line: what was sent to the topics that others write, and who is behind."""
    ends = {each.topic: each.end for each in standings if each.topic in fed}
    return f"{sum(ends.values()):,} records on {len(ends)} topics · {behind_text(standings)}"
