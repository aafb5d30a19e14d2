"""The watch's metrics for Prometheus, made from the last look on each scrape. What is not known has no sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamapp.metrics import exposition, registry
from streamapp.watch.lag import STATES, GroupSeries
from streamapp.watch.watcher import Known

GROUP, TOPIC, PLACE = ("group",), ("group", "topic"), ("group", "topic", "partition")


class WatchMetrics(Collector):
    """All series of `Known`."""

    def __init__(self, known: Callable[[], Known]) -> None:
        self._known = known
        self.registry = registry()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        known = self._known()
        yield from _places(known)
        yield from _groups(known)
        yield from _money(known)
        succeeded = GaugeMetricFamily(
            "stream_watch_last_success_timestamp_seconds", "When Kafka last answered; without it, it never did"
        )
        if known.succeeded_ms is not None:
            succeeded.add_metric((), known.succeeded_ms / 1000)
        unknown = GaugeMetricFamily(
            "stream_watch_unknown", "Partitions or groups whose series are absent, by reason", None, ("reason",)
        )
        for reason, count in known.series.unknown.items():
            unknown.add_metric((reason,), count)
        foreign = GaugeMetricFamily(
            "stream_unregistered", "1: a topic or group that nobody registered", None, ("kind", "name")
        )
        for kind, name in known.series.unregistered:
            foreign.add_metric((kind, name), 1)
        yield from (succeeded, unknown, foreign)

    def exposition(self, openmetrics: bool = False) -> bytes:
        """Prometheus' text format, or OpenMetrics."""
        return exposition(self.registry, openmetrics)


def _places(known: Known) -> Iterator[Metric]:
    lag = GaugeMetricFamily("kafka_consumer_group_lag", "Offsets that the group has not committed", None, PLACE)
    age = GaugeMetricFamily("stream_lag_seconds", "Age of the first unread record; 0: there is none", None, PLACE)
    loss = GaugeMetricFamily(
        "stream_seconds_to_loss",
        "Until the first unread record is as old as the topic's retention; the retention, where nothing is unread",
        None,
        PLACE,
    )
    expired = CounterMetricFamily(
        "stream_records_expired_unread", "Records that Kafka deleted before the group had read them", None, PLACE
    )
    for name, one in known.series.groups.items():
        for (topic, partition), unread in one.partitions.items():
            place = (name, topic, str(partition))
            lag.add_metric(place, unread.lag)
            expired.add_metric(place, unread.expired)
            if unread.age_s is not None:
                age.add_metric(place, unread.age_s)
            if unread.to_loss_s is not None:
                loss.add_metric(place, unread.to_loss_s)
    yield from (lag, age, loss, expired)


def _groups(known: Known) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "stream_group_state", "1: the group's state, as Kafka reports it", None, (*GROUP, "state")
    )
    members = GaugeMetricFamily("stream_group_members", "Consumers in the group", None, GROUP)
    commit = GaugeMetricFamily("stream_commit_age_seconds", "Since a commit of the group was seen", None, GROUP)
    growth = GaugeMetricFamily(
        "stream_lag_growth", "Offsets per second by which the lag grew in the last minute", None, TOPIC
    )
    for name, one in known.series.groups.items():
        _group(name, one, states, members)
        if one.commit_age_s is not None:
            commit.add_metric((name,), one.commit_age_s)
        for topic, rate in one.growth.items():
            growth.add_metric((name, topic), rate)
    yield from (states, members, commit, growth)


def _group(name: str, one: GroupSeries, states: GaugeMetricFamily, members: GaugeMetricFamily) -> None:
    if one.state:
        for state in STATES:
            states.add_metric((name, state), state == one.state)
    if one.members is not None:
        members.add_metric((name,), one.members)


def _money(known: Known) -> Iterator[Metric]:
    about = {
        "open": "Read, and not stated yet: US dollars, from the tables of the workers",
        "unread_estimate": "Not read yet: the lag times the mean cost of an event, US dollars",
        "lost": "Deleted unread since the watch began: records times the mean cost of an event, US dollars",
    }
    families = [GaugeMetricFamily(f"stream_money_{word}", text, None, TOPIC) for word, text in about.items()]
    for place, sums in known.money.items():
        for family, amount in zip(families, sums, strict=True):
            if amount is not None:
                family.add_metric(place, float(amount))
    yield from families
