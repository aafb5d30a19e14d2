"""How far the move of a table has come, and what the cluster says about it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streamapp.clock import monotonic_s
from streamapp.errors import Misconfigured, Unavailable
from streamapp.exact.needs import missing_text
from streamapp.exact.partition.situation import Situation, Source, situated
from streamapp.kafka.admin import Admin
from streamapp.store.position import StoredPosition

SETTLE_S = 15.0
POLL_S = 0.05


class Stage(NamedTuple):
    """How far a move has come. `sealed`: every copy is there, and step 6 has begun; `old` is `new` when it is over."""

    old: int
    new: int
    sealed: bool


class Found(NamedTuple):
    """What the cluster says."""

    topic_id: str
    changelog_id: str
    partitions: int  # of the topic
    changelog: int  # partitions
    outputs: Mapping[str, int]


def stage_of(positions: Iterable[StoredPosition], changelog: int, topic: int) -> Stage:
    """How far the move of a table has come, by its position rows and the partitions of changelog and topic.

    Raises `Misconfigured` when no move can have led there.
    """
    counts = {at.partitions for at in positions}
    targets = {-count for count in counts if count < 0}
    new = targets.pop() if targets else topic
    before = {count for count in counts if 0 < count != new}
    if not counts and changelog != new:
        before = {changelog}
    if targets or len(before) > 1 or new > topic or max(before, default=0) > new or (before and new in counts):
        raise Misconfigured(
            f"the table was built with {sorted(counts)} partitions, its changelog has {changelog}, its topic {topic}: "
            f"no move leads there; restore the changelog"
        )
    return Stage(before.pop() if before else new, new, -new in counts)


def survey(source: Source, admin: Admin, found: Found, old: int) -> Situation:
    """What the workers of the `old` partitions would be told. Blocks."""
    return situated(source, range(old), admin, (found.topic_id, found.changelog_id), old, dict(found.outputs))


def look(source: Source, admin: Admin) -> Found:
    """Ask Kafka about topic, changelog and outputs. Blocks."""
    wanted = {source.topic, source.changelog, *source.outputs}
    states = admin.describe(wanted, settings_of=())
    missing = sorted(wanted - set(states))
    if missing:
        raise Misconfigured(missing_text(missing))
    topic, changelog = states[source.topic], states[source.changelog]
    if changelog.partitions > topic.partitions:
        raise Misconfigured(
            f"{source.changelog} has {changelog.partitions} partitions, {source.topic} only {topic.partitions}: "
            f"raise the topic to {changelog.partitions}"
        )
    outputs = {name: states[name].partitions for name in source.outputs}
    return Found(topic.topic_id, changelog.topic_id, topic.partitions, changelog.partitions, outputs)


def await_partitions(admin: Admin, topic: str, partitions: int) -> None:
    """A controller answers before every broker has heard of it. Blocks."""
    end_s = monotonic_s() + SETTLE_S
    while admin.describe((topic,), settings_of=())[topic].partitions < partitions:
        if monotonic_s() > end_s:
            raise Unavailable(f"Kafka took the new partitions of {topic}, but does not show them after {SETTLE_S:g} s")
        threading.Event().wait(POLL_S)
    admin.end_offsets([(topic, number) for number in range(partitions)])  # waits until each has a leader
