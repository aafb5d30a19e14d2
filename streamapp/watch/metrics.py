"""The watch's metrics for Prometheus, made from the last look on each scrape. What is not known has no sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import Metric

from streamapp.metrics import Told, counters, gauges
from streamapp.watch.lag import STATES
from streamapp.watch.watcher import Known

GROUP, TOPIC, PLACE = ("group",), ("group", "topic"), ("group", "topic", "partition")


class WatchMetrics(Told):
    """All series of `Known`."""

    def __init__(self, known: Callable[[], Known]) -> None:
        self._known = known
        super().__init__()

    def collect(self) -> Iterator[Metric]:
        known = self._known()
        yield from _places(known)
        yield from _groups(known)
        yield from _money(known)
        about = "When Kafka last answered; without it, it never did"
        at_s = None if known.succeeded_ms is None else known.succeeded_ms / 1000
        yield gauges("stream_watch_last_success_timestamp_seconds", about, (), [((), at_s)])
        about = "Partitions or groups whose series are absent, by reason"
        unknown = (((reason,), count) for reason, count in known.series.unknown.items())
        yield gauges("stream_watch_unknown", about, ("reason",), unknown)
        foreign = ((who, 1) for who in known.series.unregistered)
        yield gauges("stream_unregistered", "1: a topic or group that nobody registered", ("kind", "name"), foreign)


def _places(known: Known) -> Iterator[Metric]:
    places = [
        ((name, topic, str(partition)), unread)
        for name, one in known.series.groups.items()
        for (topic, partition), unread in one.partitions.items()
    ]
    about = "Offsets that the group has not committed"
    yield gauges("kafka_consumer_group_lag", about, PLACE, ((place, one.lag) for place, one in places))
    about = "Age of the first unread record; 0: there is none"
    yield gauges("stream_lag_seconds", about, PLACE, ((place, one.age_s) for place, one in places))
    about = "Until the first unread record is as old as the topic's retention; the retention, where nothing is unread"
    yield gauges("stream_seconds_to_loss", about, PLACE, ((place, one.to_loss_s) for place, one in places))
    about = "Records that Kafka deleted before the group had read them"
    yield counters("stream_records_expired_unread", about, PLACE, ((place, one.expired) for place, one in places))


def _groups(known: Known) -> Iterator[Metric]:
    groups = known.series.groups.items()
    states = (((name, state), state == one.state) for name, one in groups if one.state for state in STATES)
    yield gauges("stream_group_state", "1: the group's state, as Kafka reports it", (*GROUP, "state"), states)
    yield gauges(
        "stream_group_members", "Consumers in the group", GROUP, (((name,), one.members) for name, one in groups)
    )
    about = "Since a commit of the group was seen"
    yield gauges("stream_commit_age_seconds", about, GROUP, (((name,), one.commit_age_s) for name, one in groups))
    growth = (((name, topic), rate) for name, one in groups for topic, rate in one.growth.items())
    yield gauges("stream_lag_growth", "Offsets per second by which the lag grew in the last minute", TOPIC, growth)


def _money(known: Known) -> Iterator[Metric]:
    about = {
        "open": "Read, and not stated yet: US dollars, from the tables of the workers",
        "unread_estimate": "Not read yet: the lag times the mean cost of an event, US dollars",
        "lost": "Deleted unread since the watch began: records times the mean cost of an event, US dollars",
    }
    for at, (word, text) in enumerate(about.items()):
        amounts = ((place, of[at]) for place, of in known.money.items())
        sums = ((place, None if amount is None else float(amount)) for place, amount in amounts)
        yield gauges(f"stream_money_{word}", text, TOPIC, sums)
