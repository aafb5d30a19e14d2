"""Each right of the matrix taken away: whoever has it says which one is missing, as `Denied`, whichever client asks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as PartitionTopic
from conftest import wait_until
from locked import Locked, told_of
from searches import is_long
from usage_log import value
from workers import READY_S, refused_to_start, variables

from streamapp.access.acl import ANYTHING, USER, Acl
from streamapp.access.wanted import LAG_MONITOR, of_group, principals, wanted
from streamapp.capture.app import demand_topics
from streamapp.chaos.worker import BILLING, WorkerProcess
from streamapp.cli.checks.verify import check
from streamapp.clock import wall_ms
from streamapp.errors import Denied
from streamapp.exact.needs import topics_there
from streamapp.exact.partition.transaction import PartitionProducer
from streamapp.kafka import provision
from streamapp.kafka.acls import AccessAdmin, apply
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.aio import aiokafka_config, naming_rights
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import Span, read
from streamapp.kafka.produce.loop_producer import LoopProducer
from streamapp.kafka.produce.transacted import Outgoing, TransactedProducer
from streamapp.kafka.producer import EventProducer, RawProducer
from streamapp.kafka.trouble import Right
from streamapp.local.reading import readings, standings
from streamapp.settings import BillingSettings, KafkaSettings, Settings
from streamapp.topics.plan import RAISED_ALONG
from streamapp.topics.registry import EVENT_TOPICS, GROUPS, REDRIVE_ID, REDRIVER, TOPICS

pytest_plugins = ("locked_fixtures",)

HOUR_MS = 3_600_000
OF_GROUPS = {each.principal: each for each in GROUPS}
OTHERS = [one.name for one in principals() if one.name not in OF_GROUPS]
CAPTURE = "insights-capture"
USAGE = {"provider": "p", "model": "m", "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "cost_usd": 1}
CALL = {"agent_id": "a", "consumer_id": "c", "method": "m", "quantity": 1, "price": "1", "currency": "AI"}
PRODUCERS: dict[str, dict[str, Any]] = {  # an event that its topic takes
    "llm-gateway": {"type": "llm.usage.completed", "team_id": "team", "org_id": "org", "data": USAGE},
    "iam-service": {"type": "iam.auth.login", "org_id": "org", "data": {"user_id": "u"}},
    "bot-gateway": {"type": "agent.rpc.metered", "team_id": "team", "org_id": "org", "data": CALL},
}


def each_taken_away(
    admin: AccessAdmin, acls: tuple[Acl, ...], use: Callable[[Acl], object], way: Callable[[Acl], object]
) -> None:
    """Without any one of these entries `use` is denied, and told which. In `make test` one of each `way`: the same on
    another topic is the same question."""
    tried = acls if is_long() else tuple({way(acl): acl for acl in acls}.values())
    back: list[Acl] = []
    try:
        for acl in tried:
            admin.add(back)
            admin.take_away([acl])
            admin.await_in_force(back, [acl])
            with pytest.raises(Denied, match=re.escape(told_of(acl))):
                use(acl)
            back = [acl]
    finally:
        apply(admin)


@pytest.mark.parametrize("each", GROUPS, ids=lambda each: each.name)
def test_no_right_of_any_group_can_be_left_out(each: Any, locked: Locked) -> None:
    kafka, acls = locked.settings(each.principal), of_group(each.name)
    rights = [Right(acl.operation, acl.kind, acl.name) for acl in acls if acl.kind == "topic"]
    there = topics_there(kafka, rights)
    assert there() == {right.name for right in rights}

    def use(acl: Acl) -> None:
        if acl.kind == "topic":
            there()
        else:
            asyncio.run(join(kafka, each.name, *each.topics) if acl.kind == "group" else take_over(kafka, each))

    each_taken_away(locked.admin, acls, use, lambda acl: (acl.kind, acl.operation))


@pytest.mark.parametrize("user", OTHERS)
def test_no_right_of_anybody_else_can_be_left_out(user: str, locked: Locked) -> None:
    kafka = locked.settings(user)
    acls = tuple(acl for acl in wanted() if acl.user == user)
    assert acls
    each_taken_away(locked.admin, acls, lambda acl: used(kafka, acl), way)


def way(acl: Acl) -> tuple[object, ...]:
    """What decides the way in which `used` asks, of one user."""
    name = acl.name
    return acl.kind, acl.operation, acl.prefixed, name == ANYTHING, name == "dead_letter", name in RAISED_ALONG


def used(kafka: KafkaSettings, acl: Acl) -> None:
    """Do with our clients what the entry is for."""
    user, name = acl.user, acl.name
    match acl.kind, acl.operation:
        case _, "DESCRIBE" if user == LAG_MONITOR:
            standings(kafka, readings([each.name for each in GROUPS]))
        case "topic", "WRITE":
            written(kafka, user, name)
        case "topic", "READ":
            _ = [*read(confluent_config(kafka), name)]
            _ = [*read(confluent_config(kafka), name, {0: Span(0, 1)})]  # of an empty topic nothing else is fetched
        case "topic", "CREATE":
            Admin(kafka).create(name, 1, 1, {})
        case "topic", "ALTER":
            Admin(kafka).add_partitions(name, 100)
        case "topic", "ALTER_CONFIGS":
            Admin(kafka).set_configs(name, {"retention.ms": "-1"})
        case "topic", _ if name == ANYTHING:
            provision.checked(Admin(kafka), TOPICS, 1)
        case "topic", "DESCRIBE_CONFIGS":
            Admin(kafka).describe([name])
        case "topic", "DESCRIBE" if name in RAISED_ALONG:
            Admin(kafka).describe([name], settings_of=())
        case "topic", "DESCRIBE":
            standings(kafka, [readings([GROUPS[0].name])[0]._replace(topic=name)])
        case "group", "READ":
            source = next((one.name for one in EVENT_TOPICS if user in one.consumers), "llm_usage")
            asyncio.run(join(kafka, name, source))
        case "group", "DESCRIBE":
            Admin(kafka).group(name)
            standings(kafka, [readings(["billing-agg"])[0]._replace(group=name)])
        case "transactional_id", "WRITE" if acl.prefixed:
            asyncio.run(take_over(kafka, next(each for each in GROUPS if name.startswith(f"{each.name}-"))))
        case "transactional_id", "WRITE":
            TransactedProducer(kafka, name).__enter__()
        case "cluster", "DESCRIBE":
            AccessAdmin(kafka).acls()
        case "cluster", "DESCRIBE_CONFIGS":
            Admin(kafka).broker_configs()


def written(kafka: KafkaSettings, user: str, topic: str) -> None:
    """A record, by the client with which this user writes."""
    if user == CAPTURE:
        asyncio.run(demand_topics(LoopProducer(kafka, bytes_max=8 << 20, records_max=1000)))
    elif user == REDRIVER:
        with TransactedProducer(kafka, REDRIVE_ID) as out:
            out.commit([Outgoing(topic, 0, b"k", b"v")])
    elif user in PRODUCERS:
        asyncio.run(sent(kafka, user, refused=topic == "dead_letter"))
    else:
        with RawProducer(kafka) as out:
            out.send(topic, b"k", b"v")


async def sent(kafka: KafkaSettings, user: str, refused: bool) -> None:
    """An event of a service; one that is `refused` becomes a dead letter."""
    topic = next(one.name for one in EVENT_TOPICS if user in one.producers)
    event = PRODUCERS[user]
    async with EventProducer(kafka, topic=topic, source=user) as producer:
        await producer.send(**{**event, "data": {}} if refused else event)


async def take_over(kafka: KafkaSettings, each: Any) -> None:
    producer = PartitionProducer(kafka, each.name, PartitionTopic(each.topics[0], 0), None)
    try:
        await producer.start()
    finally:
        await producer.stop()


async def join(kafka: KafkaSettings, group: str, *topics: str) -> None:
    consumer = AIOKafkaConsumer(*topics, **aiokafka_config(kafka), group_id=group)
    try:
        with naming_rights(kafka.sasl_username, "READ"):
            await consumer.start()
    finally:
        await consumer.stop()


def worker_of(locked: Locked, folder: Path, name: str, user: str, agent: str = BILLING) -> WorkerProcess:
    environment = {
        **variables(locked.settings(user)),
        "STREAM_STATE_DIR": str(folder / name),
        "STREAM_WEB__PORT": "0",
        "STREAM_BILLING__IDLE_SECONDS": "1",
        "STREAM_WORKER__SESSION_TIMEOUT_SECONDS": "3",
        "STREAM_WORKER__FETCH_WAIT_MS": "100",
    }
    return WorkerProcess(folder / f"{name}.log", environment, agent)


@pytest.mark.timeout(600)
def test_a_worker_bills_with_exactly_its_rights_and_ends_when_one_is_taken_away(locked: Locked, tmp_path: Path) -> None:
    admin = locked.admin
    writes = Acl(f"{USER}billing-aggregator", "topic", "billing_events", "WRITE")
    worker = worker_of(locked, tmp_path, "whole", "billing-aggregator")
    try:
        send_calls(locked, "first")
        commerce = confluent_config(locked.settings("commerce"))
        wait_until(lambda: len([*read(commerce, "billing_events")]) >= 5 or not worker.runs, READY_S)
        assert worker.runs, worker.said()[-3000:]
        report = check(Settings(kafka=locked.settings("reconciler"), billing=BillingSettings()), show_progress=False)
        assert report.ok, report.as_json()

        admin.take_away([writes])
        admin.await_in_force((), [writes])
        send_calls(locked, "late")  # their hour is closed: they are stated as revisions
        told = "principal billing-aggregator lacks WRITE on topic billing_events: `streamapp access apply` adds it"
        refused_to_start(worker, told)
    finally:
        worker.kill()
        apply(admin)


@pytest.mark.long  # eight starts of a worker; what a worker asks before it joins is tested above, for every group
@pytest.mark.timeout(900)
@pytest.mark.parametrize("acl", of_group("billing-agg"), ids=str)
def test_a_worker_without_any_one_of_its_rights_says_which(acl: Acl, locked: Locked, tmp_path: Path) -> None:
    admin = locked.admin
    admin.take_away([acl])
    admin.await_in_force((), [acl])
    worker = worker_of(locked, tmp_path, "maimed", "billing-aggregator")
    try:
        refused_to_start(worker, told_of(acl))
        assert "Traceback" not in worker.said()
    finally:
        worker.kill()
        apply(admin)


def send_calls(locked: Locked, name: str) -> None:
    """A call of each of five teams, in an hour that is over."""
    at_ms = wall_ms() // HOUR_MS * HOUR_MS - 2 * HOUR_MS
    with RawProducer(locked.settings("llm-gateway")) as out:
        for number in range(5):
            team = f"team_{number}"
            out.send("llm_usage", team.encode(), value(f"evt_{name}_{number}", at_ms, team))
