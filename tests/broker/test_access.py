"""Who may do what, on a real broker with locks on: what `apply` adds is exactly what everybody can do, and enough."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.transaction import InitProducerIdRequest
from click.testing import Result
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from conftest import wait_until
from locked import FOREIGN, STRANGER, THEIRS, Locked

from streamapp.access.acl import CLUSTER, USER, Acl, allowed
from streamapp.access.wanted import principals, wanted
from streamapp.broker.secure import ADMIN
from streamapp.capture.app import demand_topics
from streamapp.clock import wall_ms
from streamapp.errors import Denied, Misconfigured
from streamapp.kafka.acls import AccessAdmin
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.clients.aio import aiokafka_config
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.raw_batch import batch_at
from streamapp.kafka.log.reader import read
from streamapp.kafka.produce.loop_producer import Group, LoopProducer
from streamapp.kafka.produce.outgoing import EventRefused, WriteDenied
from streamapp.kafka.produce.transacted import TransactedProducer
from streamapp.kafka.producer import EventProducer, RawProducer, UsageProducer
from streamapp.kafka.trouble import NO_RIGHT
from streamapp.local.jobs import SIMULATOR
from streamapp.local.kafka import of_simulator
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import GROUPS, REDRIVE_ID, TOPICS, transactional_ids
from streamapp.watch.watcher import Watcher

pytest_plugins = ("locked_fixtures",)

USERS = [one.name for one in principals()]
OPERATIONS = ["READ", "WRITE", "CREATE", "DELETE", "ALTER", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"]
OF_GROUPS = ["READ", "DELETE", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"]
OF_CLUSTER = ["CREATE", "ALTER", "DESCRIBE", "CLUSTER_ACTION", "DESCRIBE_CONFIGS", "ALTER_CONFIGS", "IDEMPOTENT_WRITE"]
TOKENS = {"prompt_tokens": 150, "completion_tokens": 230, "total_tokens": 380}
CALL = {"model": "zen-72b", "provider": "together", "cost_usd": "0.0038", **TOKENS}
DENIED = KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED


def test_apply_adds_only_prune_takes_only_ours_and_a_second_run_changes_nothing(
    secured: Locked, run: Callable[..., Result]
) -> None:
    admin = secured.admin
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
        (
            "lag-monitor lacks READ on topic llm_usage",
            lambda: batch_at(confluent_config(as_user("lag-monitor")), "llm_usage", 0, 0, "", 10),
        ),
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
        with pytest.raises(Denied) as told:
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
                with pytest.raises(WriteDenied, match=words):
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

    with pytest.raises(Denied, match=words):
        raw()


def test_capture_does_not_start_without_its_right(locked: Locked) -> None:
    async def start(user: str) -> None:
        await demand_topics(LoopProducer(locked.settings(user), bytes_max=8 << 20, records_max=1000))

    asyncio.run(start("insights-capture"))
    with pytest.raises(Denied, match="principal llm-gateway lacks WRITE on topic events_plugin_ingestion, and is"):
        asyncio.run(start("llm-gateway"))


def test_people_and_jobs_do_their_work_with_exactly_their_rights(
    locked: Locked, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STREAM_STATE_DIR", str(tmp_path))
    client = AdminClient(confluent_config(locked.settings(ADMIN)))
    ours, admin = {item.name for item in TOPICS}, Admin(locked.settings(ADMIN))
    for answer in client.delete_topics(sorted(admin.topics() & ours)).values():  # who shares the broker has left events
        answer.result(30)
    wait_until(lambda: not admin.topics() & ours)
    admin = Admin(locked.settings(ADMIN))  # the old one remembers the epochs of topics that are gone
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

    async def sent() -> None:
        async with UsageProducer(locked.settings("llm-gateway"), source="llm-gateway") as usage:
            await usage.send(team_id="team", data=CALL)
            with pytest.raises(EventRefused):
                await usage.send(team_id="team", data={"cost_usd": "nothing"})

    asyncio.run(sent())
    watched(locked.settings("lag-monitor"))
    done(run("dead-letter-redriver", "dead-letters", "redrive", "--dry-run"), 0, 1)
    done(run("dead-letter-redriver", "dead-letters", "drop", "--because", "known", "--yes"))
    done(run("replay-operator", "replay", "--group", "billing-agg", "--to-earliest", "--yes"))
    done(run("replay-operator", "replay", "--group", "billing-agg", "--to-earliest", "--recompute", "--yes"))
    done(run("replay-operator", "repartition", "--table", "usage_hourly", "--dry-run"))


def watched(kafka: KafkaSettings) -> None:
    """The watch knows every group and topic, and what nobody registered, as a principal that cannot fetch."""
    watcher = Watcher(kafka, wall_ms, 15, timeout_s=30)
    asyncio.run(watcher.look())
    assert watcher.known.problem == ""
    series = watcher.known.series
    assert {topic for one in series.groups.values() for topic, _ in one.partitions} == {
        each.topics[0] for each in GROUPS
    }
    assert {reason for reason, count in series.unknown.items() if count} <= {"workers", "mean", "commit"}
    assert series.unregistered == (("topic", FOREIGN),)
    with pytest.raises(Misconfigured, match="principal lag-monitor lacks READ on topic llm_usage"):
        [*read(confluent_config(kafka), "llm_usage")]


def test_the_simulator_of_a_secured_run_goes_on_where_a_topic_ends(
    locked: Locked, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As its second start in a run, and the second run in a folder."""
    monkeypatch.setenv("STREAM_STATE_DIR", str(tmp_path))
    admin, own = locked.admin, of_simulator(["audit_log"])
    admin.add(own)
    admin.await_in_force(own)
    for _ in range(2):
        done(run(SIMULATOR, "simulate", "--json", "--continue", "--topic", "audit_log", "--events", "20"))
    admin.take_away(own)
    admin.await_in_force((), own)


def done(result: Result, *codes: int) -> Result:
    """The command did what it was to do, or said no with one of `codes`."""
    assert result.exit_code in (codes or (0,)), (result.output, result.exception)
    return result
