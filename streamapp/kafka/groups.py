"""How consumer groups stand, asked of a cluster in one go: who is in them, what they committed, where their topics end.

What the members say of themselves (`user_data`) is known to aiokafka's requests only: librdkafka hides it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsRequest
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest, OffsetResetStrategy

from streamapp.errors import Unavailable
from streamapp.kafka.handshake import disagreement
from streamapp.kafka.partitions import Partition
from streamapp.kafka.security import aiokafka_config
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


@dataclass(frozen=True, slots=True)
class Seen:
    """Groups by name, and where their topics begin and end. A partition that is not there, Kafka said nothing of;
    `denied` are topics that we may not ask about."""

    groups: Mapping[str, GroupSeen]
    starts: Mapping[Partition, int]
    ends: Mapping[Partition, int]
    denied: frozenset[str] = frozenset()


def look(kafka: KafkaSettings, groups: Iterable[str], topics: Iterable[str], timeout_s: float) -> Seen:
    """Ask once. Not for a thread that runs an event loop.

    Raises `Unavailable` without an answer in `timeout_s`, `Misconfigured` for settings that contradict each other or
    the brokers.
    """
    try:
        return asyncio.run(_look(kafka, sorted(groups), sorted(topics), timeout_s))
    except Unavailable as error:
        raise disagreement(kafka) or error from None


async def _look(kafka: KafkaSettings, groups: list[str], topics: list[str], timeout_s: float) -> Seen:
    where = f"Kafka at {kafka.bootstrap_servers}"
    client = AIOKafkaClient(**aiokafka_config(kafka), request_timeout_ms=max(1, round(timeout_s * 1000)))
    try:
        async with asyncio.timeout(timeout_s):
            await client.bootstrap()
            # Nothing may be under way while something else is awaited alone: it would end unheard, with a traceback.
            cluster = await client.fetch_all_metadata()
            denied = await _denied(client, [name for name in topics if not cluster.partitions_for_topic(name)])
            leaders = _leaders(cluster, topics)
            seen = asyncio.gather(*(_group(client, name) for name in groups))
            starts = _offsets(client, leaders, OffsetResetStrategy.EARLIEST)
            ends = _offsets(client, leaders, OffsetResetStrategy.LATEST)
            found, first, last = await asyncio.gather(seen, starts, ends)
            return Seen(dict(zip(groups, found, strict=True)), first, last, denied)
    except TimeoutError:
        raise Unavailable(f"{where} does not answer within {timeout_s:g} s") from None
    except KafkaConnectionError:
        raise Unavailable(f"{where} does not answer") from None
    except KafkaError as error:
        raise Unavailable(f"{where} says: {error}") from None
    finally:
        await client.close()


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


def _leaders(cluster: Any, topics: list[str]) -> dict[int, list[Partition]]:
    """Broker → the partitions it leads."""
    led: dict[int, list[Partition]] = {}
    for topic in topics:
        for partition in cluster.partitions_for_topic(topic) or ():
            leader = cluster.leader_for_partition(TopicPartition(topic, partition))
            if leader is not None and leader >= 0:
                led.setdefault(leader, []).append((topic, partition))
    return led


async def _offsets(client: Any, leaders: dict[int, list[Partition]], which: int) -> dict[Partition, int]:
    """Of those that we may ask about. A broker that does not answer takes only its own partitions along."""
    requests = []
    for node, partitions in leaders.items():
        wanted: dict[str, list[tuple[int, int]]] = {}
        for topic, partition in partitions:
            wanted.setdefault(topic, []).append((partition, which))
        requests.append(client.send(node, OffsetRequest(ANY_REPLICA, UNCOMMITTED, list(wanted.items()))))
    answers = await asyncio.gather(*requests, return_exceptions=True)
    return {
        (topic, item[0]): item[3]
        for answer in answers
        if not isinstance(answer, BaseException)
        for topic, items in answer.topics
        for item in items  # partition, error, timestamp, offset, …
        if not item[1] and item[3] >= 0
    }


def _check(code: int) -> None:
    if code:
        raise for_code(code)()


def _words(error: KafkaError) -> str:
    return str(getattr(error, "description", "") or error).split(".")[0].strip()[:120] or type(error).__name__
