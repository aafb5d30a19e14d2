"""How consumer groups stand, asked of a cluster in one go: who is in them, what they committed, where their topics end.

What the members say of themselves (`user_data`) is known to aiokafka's requests only: librdkafka hides it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsRequest, ListGroupsRequest
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest, OffsetResetStrategy

from streamapp.errors import Unavailable
from streamapp.kafka.clients.aio import aiokafka_config, asking
from streamapp.kafka.clients.handshake import disagreement
from streamapp.kafka.partitions import Partition
from streamapp.settings import KafkaSettings

NO_RIGHT = (GroupAuthorizationFailedError, TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
GROUP_COORDINATOR = 0
ANY_REPLICA = -1
UNCOMMITTED = 0


@dataclass(frozen=True, slots=True)
class Member:
    """One consumer of a group. While the group rebalances, Kafka knows only that it is there."""

    client_id: str
    host: str  # as the broker sees it
    user_data: bytes  # what its assignor says
    partitions: tuple[Partition, ...]


@dataclass(frozen=True, slots=True)
class GroupSeen:
    """A group. `state` is Kafka's word (Stable, Empty, Dead …), empty where Kafka does not say; then `problem` has
    its reason, and `denied` tells whether it is a right that is missing."""

    state: str
    members: tuple[Member, ...] = ()
    committed: Mapping[Partition, int] | None = None
    notes: Mapping[Partition, str] = field(default_factory=dict)  # kept with the offsets: Kafka calls them metadata
    problem: str = ""
    denied: bool = False  # the reason is that we may not ask


Target = tuple[str, Partition]
"""A group, and a partition that it reads."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Groups by name, and where their topics begin and end. A partition that is not there, Kafka said nothing of.

    Asked in this order: starts, what groups have committed, ends. So nothing that was committed lies behind an end, and
    nothing that is gone was committed later. `topics` and `names` are all topics and groups that we may know of;
    `names` is None where they were not asked for or Kafka did not say. `dates` has what a `Dating` found, in ms.
    `denied` are topics that we may not ask about.
    """

    groups: Mapping[str, GroupSeen]
    starts: Mapping[Partition, int]
    ends: Mapping[Partition, int]
    topics: frozenset[str] = frozenset()
    names: frozenset[str] | None = None
    dates: Mapping[Target, int] = field(default_factory=dict)
    denied: frozenset[str] = frozenset()


class Dating(Protocol):
    """Finds timestamps of records by asking which offset the first record of a timestamp has: round after round."""

    def asks(self) -> Sequence[Mapping[Partition, int]]:
        """The questions of a round, partition → timestamp in ms. Empty: done."""

    def told(self, answers: Sequence[Mapping[Partition, tuple[int, int]]]) -> None:
        """The answers, one for each question: partition → offset and timestamp, both -1 where there is no such record.
        A partition that is not there, Kafka said nothing of."""

    def found(self) -> Mapping[Target, int]:
        """The timestamps."""


def look(kafka: KafkaSettings, groups: Iterable[str], topics: Iterable[str], timeout_s: float) -> Seen:
    """Ask once. Not for a thread that runs an event loop.

    Raises `Unavailable` without an answer in `timeout_s`, `Misconfigured` for settings that contradict each other or
    the brokers.
    """
    return asyncio.run(looked(kafka, groups, topics, timeout_s))


async def looked(
    kafka: KafkaSettings,
    groups: Iterable[str],
    topics: Iterable[str],
    timeout_s: float,
    *,
    dating: Callable[[Seen], Dating] | None = None,
    names: bool = False,
    explained: bool = True,
) -> Seen:
    """The same in an event loop. `dating` makes of what was seen a search for timestamps; `names`: list the groups.
    `explained`: without an answer the settings are tried, too, for some seconds more."""
    try:
        return await _look(kafka, sorted(groups), sorted(topics), timeout_s, dating, names)
    except Unavailable as error:
        if not explained:
            raise
        raise await asyncio.to_thread(disagreement, kafka) or error from None


async def _look(
    kafka: KafkaSettings,
    groups: list[str],
    topics: list[str],
    timeout_s: float,
    dating: Callable[[Seen], Dating] | None,
    names: bool,
) -> Seen:
    where = f"Kafka at {kafka.bootstrap_servers}"
    try:
        async with asyncio.timeout(timeout_s), asking(aiokafka_config(kafka), timeout_s) as client:
            # Nothing may be under way while something else is awaited alone: it would end unheard, with a traceback.
            cluster = await client.fetch_all_metadata()
            denied = await _denied(client, [name for name in topics if not cluster.partitions_for_topic(name)])
            leaders = _leaders(cluster, topics)
            starts = await _offsets(client, leaders, dict.fromkeys(leaders, OffsetResetStrategy.EARLIEST))
            found = await asyncio.gather(*(_group(client, name) for name in groups))
            ends = await _offsets(client, leaders, dict.fromkeys(leaders, OffsetResetStrategy.LATEST))
            seen = Seen(
                dict(zip(groups, found, strict=True)),
                {partition: offset for partition, (offset, _) in starts.items() if offset >= 0},
                {partition: offset for partition, (offset, _) in ends.items() if offset >= 0},
                frozenset(cluster.topics()),
                await _names(client, cluster) if names else None,
                denied=denied,
            )
            if dating is None:
                return seen
            return replace(seen, dates=await _dates(client, leaders, dating(seen), timeout_s / 2))
    except TimeoutError:
        raise Unavailable(f"{where} does not answer within {timeout_s:g} s") from None
    except KafkaConnectionError:
        raise Unavailable(f"{where} does not answer") from None
    except KafkaError as error:
        raise Unavailable(f"{where} says: {error}") from None


async def _group(client: Any, name: str) -> GroupSeen:
    """A group that may not be asked about is not an answer less about the others."""
    try:
        found = await client.send(client.get_random_node(), FindCoordinatorRequest(name, GROUP_COORDINATOR))
        _check(found.error_code)
        node = found.coordinator_id
        # One group each: aiokafka (0.14) reads an answer about several wrong.
        described, offsets = await asyncio.gather(
            client.send(node, DescribeGroupsRequest([name])), client.send(node, OffsetFetchRequest(name, None))
        )
        code, _, state, _, _, members = described.groups[0][:6]
        _check(code)
        _check(offsets.error_code)
    except KafkaError as error:
        return GroupSeen("", problem=_words(error), denied=isinstance(error, NO_RIGHT))
    committed, notes = {}, {}
    for topic, partitions in offsets.topics:
        for partition, offset, note, failed in partitions:
            if not failed and offset >= 0:
                committed[topic, partition], notes[topic, partition] = offset, note
    return GroupSeen(state, tuple(_member(*member[1:5]) for member in members), committed, notes)


def _member(client_id: str, host: str, metadata: bytes, assignment: bytes) -> Member:
    # Both are empty while the group rebalances.
    data = ConsumerProtocolMemberMetadata.decode(metadata).user_data if metadata else b""
    held = ConsumerProtocolMemberAssignment.decode(assignment).partitions() if assignment else []
    return Member(client_id, host.lstrip("/"), data or b"", tuple((item.topic, item.partition) for item in held))


async def _denied(client: Any, hidden: list[str]) -> frozenset[str]:
    """Those of the topics which are hidden because a right is missing: Kafka says so to who asks by name."""
    if not hidden:
        return frozenset()
    answer = await client.send(client.get_random_node(), MetadataRequest(hidden, allow_auto_topic_creation=False))
    return frozenset(name for code, name, *_ in answer.topics if code == TopicAuthorizationFailedError.errno)


def _leaders(cluster: Any, topics: list[str]) -> dict[Partition, int]:
    """Partition → the broker that leads it."""
    led: dict[Partition, int] = {}
    for topic in topics:
        for partition in cluster.partitions_for_topic(topic) or ():
            leader = cluster.leader_for_partition(TopicPartition(topic, partition))
            if leader is not None and leader >= 0:
                led[topic, partition] = leader
    return led


async def _names(client: Any, cluster: Any) -> frozenset[str] | None:
    """The groups of all brokers; None where one does not say."""
    asked = (client.send(broker.nodeId, ListGroupsRequest()) for broker in cluster.brokers())
    answers = await asyncio.gather(*asked, return_exceptions=True)
    found: list[str] = []
    for answer in answers:
        if isinstance(answer, BaseException) or answer.error_code:
            return None
        found += (name for name, _ in answer.groups)
    return frozenset(found)


async def _dates(
    client: Any, leaders: Mapping[Partition, int], dating: Dating, patience_s: float
) -> Mapping[Target, int]:
    """What is not found in time is missing: all else is known without it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            while asks := dating.asks():
                dating.told(await asyncio.gather(*(_offsets(client, leaders, ask) for ask in asks)))
    return dating.found()


async def _offsets(
    client: Any, leaders: Mapping[Partition, int], wanted: Mapping[Partition, int]
) -> dict[Partition, tuple[int, int]]:
    """Partition → offset and timestamp for a timestamp, of those that we may ask about. A broker that does not answer
    takes only its own partitions along."""
    requests: dict[int, dict[str, list[tuple[int, int]]]] = {}
    for (topic, partition), at in wanted.items():
        requests.setdefault(leaders[topic, partition], {}).setdefault(topic, []).append((partition, at))
    asked = (
        client.send(node, OffsetRequest(ANY_REPLICA, UNCOMMITTED, list(topics.items())))
        for node, topics in requests.items()
    )
    answers = await asyncio.gather(*asked, return_exceptions=True)
    return {
        (topic, item[0]): (item[3], item[2])
        for answer in answers
        if not isinstance(answer, BaseException)
        for topic, items in answer.topics
        for item in items  # partition, error, timestamp, offset
        if not item[1]
    }


def _check(code: int) -> None:
    if code:
        raise for_code(code)()


def _words(error: KafkaError) -> str:
    return str(getattr(error, "description", "") or error).split(".")[0].strip()[:120] or type(error).__name__
