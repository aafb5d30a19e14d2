"""Who may do what, on a real broker with locks on: what `apply` adds is exactly what everybody can do, and enough."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import forked
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as PartitionTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.transaction import InitProducerIdRequest
from click.testing import CliRunner, Result
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from conftest import wait_until
from usage_log import value
from workers import READY_S, refused_to_start, variables

from streamapp import settings as settings_module
from streamapp.access.acl import CLUSTER, USER, Acl, allowed
from streamapp.access.wanted import of_group, principals, wanted
from streamapp.broker.broker import Broker
from streamapp.broker.secure import ADMIN, Secured
from streamapp.capture.app import demand_topics
from streamapp.chaos.worker import BILLING, WorkerProcess
from streamapp.cli import command
from streamapp.cli.reached import _ask
from streamapp.cli.verify import check
from streamapp.clock import wall_ms
from streamapp.errors import Misconfigured
from streamapp.exact.needs import topics_there
from streamapp.exact.partition.transaction import PartitionProducer
from streamapp.kafka import provision
from streamapp.kafka.acls import AccessAdmin, apply
from streamapp.kafka.admin import Admin
from streamapp.kafka.groups import look
from streamapp.kafka.log.reader import read
from streamapp.kafka.loop_producer import Group, LoopProducer
from streamapp.kafka.outgoing import EventRefused, NotWritable
from streamapp.kafka.producer import EventProducer, RawProducer, UsageProducer
from streamapp.kafka.security import aiokafka_config, confluent_config
from streamapp.kafka.transacted import TransactedProducer
from streamapp.kafka.trouble import NO_RIGHT, Right, naming_rights
from streamapp.settings import BillingSettings, KafkaSettings, Settings
from streamapp.topics.registry import GROUPS, REDRIVE_ID, TOPICS, transactional_ids

USERS = [one.name for one in principals()]
STRANGER, FOREIGN = "stranger", "nobody_asked"  # a principal and a topic that are not ours
OPERATIONS = ["READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"]
OF_GROUPS = ["READ", "DELETE", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"]
OF_CLUSTER = ["CREATE", "ALTER", "DESCRIBE", "CLUSTER_ACTION", "DESCRIBE_CONFIGS", "ALTER_CONFIGS", "IDEMPOTENT_WRITE"]
DENIED = KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
THEIRS = Acl(f"{USER}{STRANGER}", "topic", FOREIGN, "READ")
HOUR_MS = 3_600_000


class Locked(NamedTuple):
    """A broker with locks on, and how each user reaches it."""

    made: Secured
    broker: Broker

    def settings(self, user: str) -> KafkaSettings:
        return self.made.settings(user, self.broker.bootstrap)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Iterator[Locked]:
    """A broker on which nobody but `admin` may do anything yet; it has the registry's topics."""
    made = Secured(tmp_path_factory.mktemp("security"), cache_dir)
    with made.broker(tmp_path_factory.mktemp("secured")) as broker:
        locked = Locked(made, broker)
        admin = Admin(locked.settings(ADMIN))
        provision.apply(admin, TOPICS, 1)
        admin.create(FOREIGN, 1, 1, {})
        yield locked


@pytest.fixture(scope="module")
def locked(secured: Locked) -> Locked:
    """The same, with what `access apply` adds beside an entry that is not ours."""
    admin = AccessAdmin(secured.settings(ADMIN))
    admin.add([THEIRS])
    apply(admin)
    return secured


@pytest.fixture
def run(secured: Locked, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """`run("reconciler", "access", "plan")` → how the command ended."""

    def ran(user: str, *arguments: str, **options: Any) -> Result:
        for name, given in variables(secured.settings(user)).items():
            monkeypatch.setenv(name, given)
        settings_module.current.cache_clear()
        _ask.cache_clear()
        return CliRunner().invoke(command, arguments, **options)

    return ran


def test_apply_adds_only_prune_takes_only_ours_and_a_second_run_changes_nothing(
    secured: Locked, run: Callable[..., Result]
) -> None:
    admin = AccessAdmin(secured.settings(ADMIN))
    there = admin.acls()
    admin.take_away(there)
    admin.await_in_force((), there)
    foreign = THEIRS
    likewise = Acl(f"{USER}llm-gateway", "topic", "llm_usage", "WRITE", host="10.0.0.1")  # as ours, but for the host
    excess = Acl(f"{USER}commerce", "topic", "billing_events", "WRITE")
    admin.add([foreign, likewise, excess])
    admin.await_in_force([foreign, likewise, excess])

    planned = run(ADMIN, "access", "plan")
    assert (planned.exit_code, planned.output.splitlines()[-1]) == (2, f"{len(wanted())} changes to do")
    assert run(ADMIN, "access", "check").exit_code == 1
    refused = run(STRANGER, "access", "plan").exception
    assert isinstance(refused, Misconfigured)
    assert "principal stranger lacks DESCRIBE on the cluster, and is not meant to have it" in str(refused)

    applied = run(ADMIN, "access", "apply", "--json")
    assert applied.exit_code == 1, "a right too many is left for a person"
    told = json.loads(applied.output)
    assert [item["text"] for item in told["changes"]] == [str(acl) for acl in wanted()]
    assert {item["text"] for item in told["excess"]} == {str(likewise), str(excess)}
    assert [item["text"] for item in told["foreign"]] == [str(foreign)]
    assert admin.acls() == {*wanted(), foreign, likewise, excess}

    again = run(ADMIN, "access", "apply")
    assert (again.exit_code, again.output.splitlines()[-1]) == (1, "0 changes")
    kept = run(ADMIN, "access", "prune", input="n\n")
    assert kept.exit_code == 1
    assert admin.acls() == {*wanted(), foreign, likewise, excess}
    cannot = run("reconciler", "access", "prune", "--yes").exception
    assert "principal reconciler lacks ALTER on the cluster" in str(cannot)
    pruned = run(ADMIN, "access", "prune", "--yes")
    assert pruned.output.splitlines()[-1] == "2 rights taken away"
    assert admin.acls() == {*wanted(), foreign}
    checked = run("reconciler", "access", "check")
    assert (checked.exit_code, checked.output.splitlines()[-1]) == (0, f"{len(wanted())} rights as registered")
    assert run(ADMIN, "access", "prune", "--yes").output == "0 rights taken away\n"


def test_everybody_can_do_exactly_what_the_matrix_says(locked: Locked) -> None:
    topics = [*(topic.name for topic in TOPICS), FOREIGN]
    ids = [f"{transactional_ids(each.name, each.topics[0])}0" for each in GROUPS] + [REDRIVE_ID, "foreign-0"]
    names = [*(each.name for each in GROUPS), "commerce", "foreign"]
    cells, there = 0, [*wanted(), THEIRS]
    for user in [*USERS, STRANGER]:
        client = AdminClient(confluent_config(locked.settings(user)))
        found = {("topic", name): operations for name, operations in topic_operations(client, topics).items()}
        found |= {("group", name): operations for name, operations in group_operations(client, names).items()}
        cluster = client.describe_cluster(include_authorized_operations=True, request_timeout=30).result()
        found["cluster", CLUSTER] = {operation.name for operation in cluster.authorized_operations or ()}
        begun = asyncio.run(transactional(locked.settings(user), ids))
        found |= {("transactional_id", name): {"WRITE"} if may else set() for name, may in begun.items()}
        asked = {"topic": OPERATIONS, "group": OF_GROUPS, "cluster": OF_CLUSTER, "transactional_id": ["WRITE"]}
        for (kind, name), can in found.items():
            may = {each for each in asked[kind] if allowed(there, user, kind, name, each)}
            assert can == may or (kind == "cluster" and "DESCRIBE" not in may and not can), (user, kind, name)
            cells += len(asked[kind])
    assert cells > 3000


def topic_operations(client: AdminClient, names: list[str]) -> dict[str, set[str]]:
    """What the client may do to topics, by the broker's word; nothing, where it may not even ask."""
    answers = client.describe_topics(TopicCollection(names), include_authorized_operations=True, request_timeout=30)
    return {name: authorized(answer) for name, answer in answers.items()}


def group_operations(client: AdminClient, names: list[str]) -> dict[str, set[str]]:
    """The same of groups. A cluster that just began may still be looking for their coordinator."""
    found: dict[str, set[str]] = {}

    def told() -> bool:
        answers = client.describe_consumer_groups(names, include_authorized_operations=True, request_timeout=30)
        for name, answer in answers.items():
            with suppress(Retriable):
                found[name] = authorized(answer)
        return len(found) == len(names)

    wait_until(told)
    return found


def authorized(answer: Any) -> set[str]:
    try:
        return {operation.name for operation in answer.result().authorized_operations}
    except KafkaException as exception:
        if exception.args[0].code() not in NO_RIGHT:
            raise Retriable from exception
        return set()


class Retriable(Exception):
    """Kafka does not say yet."""


async def transactional(kafka: KafkaSettings, ids: list[str]) -> dict[str, bool]:
    """Whether a transaction may begin under each id: by beginning."""
    client = AIOKafkaClient(**aiokafka_config(kafka))
    await client.bootstrap()
    try:
        node = client.get_random_node()
        answers = {name: await client.send(node, InitProducerIdRequest(name, 10_000)) for name in ids}
        return {name: answer.error_code != DENIED for name, answer in answers.items()}
    finally:
        await client.close()


def test_one_real_request_of_each_kind_is_refused_with_the_name_of_the_right(locked: Locked) -> None:
    as_user = locked.settings
    refused: list[tuple[str, Callable[[], object]]] = [
        ("commerce lacks READ on topic llm_usage", lambda: [*read(confluent_config(as_user("commerce")), "llm_usage")]),
        ("llm-gateway lacks CREATE on topic new", lambda: Admin(as_user("llm-gateway")).create("new", 1, 1, {})),
        (
            "lag-monitor lacks ALTER on topic llm_usage",
            lambda: Admin(as_user("lag-monitor")).add_partitions("llm_usage", 9),
        ),
        (
            "reconciler lacks ALTER_CONFIGS on topic llm_usage",
            lambda: Admin(as_user("reconciler")).set_configs("llm_usage", {"retention.ms": "1"}),
        ),
        (
            "billing-aggregator lacks DESCRIBE_CONFIGS on topic llm_usage",
            lambda: Admin(as_user("billing-aggregator")).describe(["llm_usage"]),
        ),
        ("provisioner lacks DESCRIBE_CONFIGS on the cluster", lambda: Admin(as_user("provisioner")).broker_configs()),
        (
            "commerce lacks DESCRIBE on group billing-agg",
            lambda: Admin(as_user("commerce"), timeout_s=5).committed("billing-agg", [("billing_events", 0)]),
        ),
        ("llm-metrics lacks DESCRIBE on group billing-agg", lambda: Admin(as_user("llm-metrics")).group("billing-agg")),
        (
            "rpc-billing lacks DESCRIBE on topic llm_usage",
            lambda: Admin(as_user("rpc-billing")).end_offsets([("llm_usage", 0)]),
        ),
        (
            "llm-gateway lacks WRITE on transactional id dead-letters-done",
            lambda: TransactedProducer(as_user("llm-gateway"), "dead-letters-done").__enter__(),
        ),
        ("commerce lacks ALTER on the cluster", lambda: AccessAdmin(as_user("commerce")).add(wanted()[:1])),
    ]
    for words, attempt in refused:
        with pytest.raises(Misconfigured) as told:
            attempt()
        assert f"principal {words}, and is not meant to have it" in str(told.value)


@pytest.mark.parametrize("user", ["commerce", "lag-monitor"])  # one may write another topic, one may write none
def test_a_denied_record_is_an_error_of_its_sender(user: str, locked: Locked) -> None:
    words = rf"principal {user} lacks WRITE on topic audit_log"
    kafka = locked.settings(user)
    facts = {"type": "iam.auth.login", "org_id": "org", "data": {"user_id": "u"}}

    async def send() -> None:
        async with EventProducer(kafka, topic="audit_log", source="test") as producer:
            for _ in range(2):
                with pytest.raises(NotWritable, match=words):
                    await asyncio.wait_for(producer.send(**facts), 60)

    async def capture() -> str | None:
        producer = LoopProducer(kafka, bytes_max=8 << 20, records_max=1000)
        future = producer.send([Group("audit_log", b"org", [b"x"])])
        assert future is not None
        told = await asyncio.wait_for(future, 60)
        await producer.close(10)
        return told

    asyncio.run(send())
    assert f"principal {user} lacks WRITE on topic audit_log" in (asyncio.run(capture()) or "")

    def raw() -> None:
        with RawProducer(kafka) as out:
            out.send("audit_log", b"org", b"x")

    with pytest.raises(Misconfigured, match=words):
        raw()


def test_capture_does_not_start_without_its_right(locked: Locked) -> None:
    async def start(user: str) -> None:
        await demand_topics(LoopProducer(locked.settings(user), bytes_max=8 << 20, records_max=1000))

    asyncio.run(start("insights-capture"))
    with pytest.raises(
        Misconfigured, match="principal llm-gateway lacks WRITE on topic events_plugin_ingestion, and is"
    ):
        asyncio.run(start("llm-gateway"))


def test_people_and_jobs_do_their_work_with_exactly_their_rights(
    locked: Locked, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STREAM_STATE_DIR", str(tmp_path))
    client = AdminClient(confluent_config(locked.settings(ADMIN)))
    for answer in client.delete_topics(["audit_log", "agent_rpc_metering"]).values():
        answer.result(30)
    admin = Admin(locked.settings(ADMIN))
    wait_until(lambda: not admin.topics() & {"audit_log", "agent_rpc_metering"})
    admin.create("agent_rpc_metering", 4, 1, {"retention.ms": "1000"})
    wait_until(lambda: "agent_rpc_metering" in admin.topics())
    done(run("provisioner", "topics", "apply"))
    assert done(run("provisioner", "topics", "plan")).output == "0 changes to do\n"

    found = json.loads(run("reconciler", "topics", "check", "--json").output)["findings"]
    assert [(item["kind"], item["name"]) for item in found] == [("unregistered_topic", FOREIGN)]
    done(
        run(
            "reconciler",
            "verify",
            *(f"--pair={name}" for name in ("usage=bills", "usage=counters", "metering=settlements")),
        )
    )
    names, topics = [each.name for each in GROUPS], {each.topics[0] for each in GROUPS}
    seen = look(locked.settings("lag-monitor"), names, topics, 30)
    assert [one.problem for one in seen.groups.values()] == [""] * len(names)
    assert {name for name, _ in seen.ends} == topics

    async def refused() -> None:
        async with UsageProducer(locked.settings("llm-gateway"), source="llm-gateway") as usage:
            with pytest.raises(EventRefused):
                await usage.send(team_id="team", data={"cost_usd": "nothing"})

    asyncio.run(refused())
    done(run("dead-letter-redriver", "dead-letters", "redrive", "--dry-run"), 0, 1)
    done(run("dead-letter-redriver", "dead-letters", "drop", "--because", "known", "--yes"))
    done(run("replay-operator", "replay", "--group", "billing-agg", "--to-earliest", "--yes"))
    done(run("replay-operator", "replay", "--group", "billing-agg", "--to-earliest", "--recompute", "--yes"))
    done(run("replay-operator", "repartition", "--table", "usage_hourly", "--dry-run"))


def done(result: Result, *codes: int) -> Result:
    """The command did what it was to do, or said no with one of `codes`."""
    assert result.exit_code in (codes or (0,)), (result.output, result.exception)
    return result


@pytest.mark.parametrize("each", GROUPS, ids=lambda each: each.name)
def test_no_right_of_any_group_can_be_left_out(each: Any, locked: Locked) -> None:
    admin, kafka = AccessAdmin(locked.settings(ADMIN)), locked.settings(each.principal)
    acls = of_group(each.name)
    rights = [Right(acl.operation, acl.kind, acl.name) for acl in acls if acl.kind == "topic"]
    there = topics_there(kafka, rights)
    assert there() == {right.name for right in rights}

    def use(acl: Acl) -> None:
        if acl.kind == "topic":
            there()
        else:
            asyncio.run(join(kafka, each) if acl.kind == "group" else take_over(kafka, each))

    try:
        for acl in acls:
            admin.take_away([acl])
            admin.await_in_force((), [acl])
            with pytest.raises(Misconfigured, match=re.escape(told_of(acl))):
                use(acl)
            apply(admin)
    finally:
        apply(admin)


async def take_over(kafka: KafkaSettings, each: Any) -> None:
    producer = PartitionProducer(kafka, each.name, PartitionTopic(each.topics[0], 0), None)
    try:
        await producer.start()
    finally:
        await producer.stop()


async def join(kafka: KafkaSettings, each: Any) -> None:
    consumer = AIOKafkaConsumer(*each.topics, **aiokafka_config(kafka), group_id=each.name)
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
    return forked.worker(folder / f"{name}.log", environment, agent)


@pytest.mark.timeout(600)
def test_a_worker_bills_with_exactly_its_rights_and_ends_when_one_is_taken_away(locked: Locked, tmp_path: Path) -> None:
    admin = AccessAdmin(locked.settings(ADMIN))
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


@pytest.mark.timeout(900)
@pytest.mark.parametrize("acl", of_group("billing-agg"), ids=str)
def test_a_worker_without_any_one_of_its_rights_says_which(acl: Acl, locked: Locked, tmp_path: Path) -> None:
    admin = AccessAdmin(locked.settings(ADMIN))
    admin.take_away([acl])
    admin.await_in_force((), [acl])
    worker = worker_of(locked, tmp_path, "maimed", "billing-aggregator")
    try:
        refused_to_start(worker, told_of(acl))
        assert "Traceback" not in worker.said()
    finally:
        worker.kill()
        apply(admin)


def told_of(acl: Acl) -> str:
    """How the message begins that names a right."""
    what = f"{acl.kind.replace('_', ' ')} {acl.name}"
    return f"principal {acl.user} lacks {acl.operation} on {what}"


def send_calls(locked: Locked, name: str) -> None:
    """A call of each of five teams, in an hour that is over."""
    at_ms = wall_ms() // HOUR_MS * HOUR_MS - 2 * HOUR_MS
    with RawProducer(locked.settings("llm-gateway")) as out:
        for number in range(5):
            team = f"team_{number}"
            out.send("llm_usage", team.encode(), value(f"evt_{name}_{number}", at_ms, team))
