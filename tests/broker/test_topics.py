"""Provisioning on a real cluster, through the command line and the admin wrapper."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import kafka_policy
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Consumer, Producer, TopicPartition
from conftest import CACHE_DIR, wait_until
from kafka_policy import policy_jar

from streamapp import settings
from streamapp.broker.broker import Broker, classpath
from streamapp.cli.kafka.topics import command
from streamapp.errors import Misconfigured, Refused, Unavailable
from streamapp.kafka.admin import Admin
from streamapp.kafka.provision import NotApplied, apply, planned
from streamapp.settings import KafkaSettings
from streamapp.topics.plan import wanted_configs
from streamapp.topics.registry import EVENT_TOPICS, TOPICS, topic

CHANGELOG = "billing-agg-usage_hourly-changelog"


def admin_of(broker: Broker, **more: float) -> Admin:
    return Admin(KafkaSettings(bootstrap_servers=broker.bootstrap), **more)


@pytest.fixture
def admin(broker: Broker) -> Admin:
    return admin_of(broker)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """`run(broker, "plan")` → the result of `streamapp topics plan` against it."""

    def call(broker: Broker, *arguments: str) -> Result:
        monkeypatch.setenv("STREAM_KAFKA__BOOTSTRAP_SERVERS", broker.bootstrap)
        settings.current.cache_clear()
        return CliRunner().invoke(command, arguments)

    yield call
    settings.current.cache_clear()


def write(broker: Broker, topic: str, records: int = 1) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(records):
        producer.produce(topic, key=str(number), value=b"x", partition=0)
    assert producer.flush(30) == 0


def test_plan_apply_check_and_apply_again(fresh_broker: Broker, run: Callable[..., Result]) -> None:
    admin = admin_of(fresh_broker)
    ours = {"somebody_elses", "billing_events"}
    admin.create("somebody_elses", 3, 1, {"retention.ms": "1000"})
    admin.create("billing_events", 2, 1, {"retention.ms": "1000"})
    wait_until(lambda: admin.topics() >= ours)  # the broker hears of them from the controller

    first = run(fresh_broker, "plan")
    assert first.exit_code == 2
    assert "+ raise partitions of billing_events: 2 → 4" in first.output
    assert "+ create llm_usage: 8 partitions" in first.output
    assert run(fresh_broker, "check").exit_code == 1
    assert {name for name in admin.topics() if not name.startswith("__")} == ours, "plan and check change nothing"

    done = run(fresh_broker, "apply")
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, f"{len(TOPICS) + 1} changes")
    again = run(fresh_broker, "apply")
    assert (again.exit_code, again.output) == (0, "0 changes\n")
    assert run(fresh_broker, "plan").exit_code == 0
    checked = run(fresh_broker, "check")
    assert checked.exit_code == 1
    assert checked.output.splitlines() == [
        "! unregistered_topic: somebody_elses: is a topic that nobody registered; add it to "
        "streamapp/topics/registry.py, or delete it once nobody uses it",
        "1 finding",
    ]

    states = admin.describe(item.name for item in TOPICS)
    assert {(name, s.partitions) for name, s in states.items()} == {(t.name, t.partitions) for t in TOPICS}
    for item in EVENT_TOPICS:
        assert states[item.name].configs["retention.ms"] == str(item.retention_ms)
    assert states[CHANGELOG].configs["cleanup.policy"] == "compact"
    assert len({s.topic_id for s in states.values()}) == len(TOPICS)
    foreign = admin.describe(["somebody_elses"])["somebody_elses"]
    assert (foreign.partitions, foreign.configs["retention.ms"]) == (3, "1000")


def test_drift_is_reported_and_left(fresh_broker: Broker, run: Callable[..., Result]) -> None:
    admin = admin_of(fresh_broker)
    apply(admin, TOPICS, 1)
    admin.set_configs("audit_log", {"retention.ms": "9000000000", "retention.bytes": "1000"})
    admin.add_partitions("dead_letter", 3)

    result = run(fresh_broker, "check", "--json")
    assert result.exit_code == 1
    found = json.loads(result.output)
    assert [(item["kind"], item["name"]) for item in found["findings"]] == [
        ("drift", "audit_log"),
        ("drift", "audit_log"),
        ("drift", "dead_letter"),
    ]
    assert run(fresh_broker, "plan").exit_code == 2
    assert run(fresh_broker, "apply").exit_code == 1
    assert admin.describe(["audit_log"])["audit_log"].configs["retention.ms"] == "9000000000"


def test_what_kafka_refuses_does_not_keep_the_rest_from_being_done(
    fresh_broker: Broker, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = admin_of(fresh_broker)
    admin.create("billing_events", 2, 1, {"retention.ms": "1000"})
    wait_until(lambda: admin.topics())
    monkeypatch.setenv("STREAM_KAFKA__REPLICATION_FACTOR", "3")
    done = run(fresh_broker, "apply")
    assert isinstance(done.exception, NotApplied)
    assert done.exception.exit_code == 78
    assert done.output.splitlines()[:2] == [
        "+ raise partitions of billing_events: 2 → 4",
        "+ raise retention.ms of billing_events: 1000 → 2592000000",
    ]
    lines = str(done.exception).splitlines()
    assert lines[0] == f"Kafka refused {len(TOPICS) - 1} of {len(TOPICS) + 1} changes"
    assert sum(line.startswith("! create ") and "replication factor" in line for line in lines) == len(TOPICS) - 1
    assert lines[-2] == "set STREAM_KAFKA__REPLICATION_FACTOR (now 3) to the number of replicas that the cluster takes"
    assert "streamapp topics apply" in lines[-1]
    state = admin.describe(["billing_events"])["billing_events"]
    assert (state.partitions, state.configs["retention.ms"]) == (4, "2592000000")

    monkeypatch.setenv("STREAM_KAFKA__REPLICATION_FACTOR", "1")
    again = run(fresh_broker, "apply")
    assert (again.exit_code, again.output.splitlines()[-1]) == (0, f"{len(TOPICS) - 1} changes")
    assert run(fresh_broker, "apply").output == "0 changes\n"


def test_a_policy_is_told_in_its_own_words(
    new_broker: Callable[..., Broker], formatted: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    path = os.pathsep.join([classpath(CACHE_DIR), str(policy_jar(tmp_path))])
    broker = new_broker(formatted, properties=kafka_policy.PROPERTIES, jvm_flags=["-cp", path])
    broker.start()
    done = run(broker, "apply", "--json")
    assert isinstance(done.exception, NotApplied)
    told = json.loads(done.stdout)
    large = {item.name for item in TOPICS if kafka_policy.FORBIDDEN in dict(item.configs)}
    safe = {item.name for item in TOPICS if item.name.startswith(kafka_policy.SAFE)}
    assert {item["topic"] for item in told["refused"]} == large | safe
    assert {item["topic"] for item in told["changes"]} == {item.name for item in TOPICS} - large - safe
    words = {(item["why"], item["advice"]) for item in told["refused"]}
    assert words == {
        (
            kafka_policy.NO_SETTING,
            "the cluster forbids max.message.bytes as the registry has it: ask its owner to allow it",
        ),
        (
            kafka_policy.MORE_REPLICAS,
            "set STREAM_KAFKA__REPLICATION_FACTOR (now 1) to the number of replicas that the cluster takes",
        ),
    }
    assert set(str(done.exception).splitlines()[-3:-1]) == {advice for _, advice in words}, "each advice once"
    again = run(broker, "apply")
    assert (type(again.exception), again.output) == (NotApplied, "0 changes\n"), "what can be made is there"


def test_check_finds_what_nobody_registered(
    new_broker: Callable[..., Broker], formatted: Path, run: Callable[..., Result]
) -> None:
    broker = new_broker(
        formatted, properties={"auto.create.topics.enable": "true", "offsets.retention.minutes": "10080"}
    )
    broker.start()
    admin = admin_of(broker)
    apply(admin, TOPICS, 1)
    admin.create("prod_MyAdhoc-topic", 1, 1, {})
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "billing-agg-v2"})
    consumer.commit(offsets=[TopicPartition("llm_usage", 0, 0)], asynchronous=False)
    consumer.close()
    result = run(broker, "check", "--json")
    assert result.exit_code == 1
    assert [(item["kind"], item["name"]) for item in json.loads(result.output)["findings"]] == [
        ("unregistered_topic", "prod_MyAdhoc-topic"),
        ("topic_name", "prod_MyAdhoc-topic"),
        ("unregistered_group", "billing-agg-v2"),
        ("group_name", "billing-agg-v2"),
        ("auto_create", "broker 1"),
        ("offsets_retention", "broker 1"),
    ]
    few = {drift.topic: str(drift) for drift in planned(admin, TOPICS, 3).drifts}
    assert "1 replicas, wanted are 3; add replicas with `streamapp cluster grow`" in few["__consumer_offsets"]


def test_a_source_is_raised_only_while_its_table_is_empty(fresh_broker: Broker) -> None:
    admin = admin_of(fresh_broker)
    admin.create("llm_usage", 4, 1, {})
    admin.create(CHANGELOG, 4, 1, {"cleanup.policy": "compact"})
    write(fresh_broker, CHANGELOG)
    held = apply(admin, TOPICS, 1)
    assert sorted(drift.topic for drift in held.drifts if "needs repartition" in str(drift)) == [CHANGELOG, "llm_usage"]
    assert admin.describe(["llm_usage"])["llm_usage"].partitions == 4


def test_what_was_registered_differently_before_is_raised(fresh_broker: Broker) -> None:
    admin = admin_of(fresh_broker)
    admin.create("llm_usage", 4, 1, wanted_configs(topic("llm_usage"), 1))
    write(fresh_broker, "llm_usage")
    assert apply(admin, TOPICS, 1).drifts == ()
    assert admin.describe(["llm_usage"])["llm_usage"].partitions == 8
    assert planned(admin, TOPICS, 1).is_clean


def test_offsets_of_partitions_and_groups(
    broker: Broker, admin: Admin, make_topic: Callable[..., str], unique: Callable[[str], str]
) -> None:
    name, group = make_topic("offsets", partitions=2), unique("group")
    write(broker, name, 3)
    assert admin.end_offsets([(name, 0), (name, 1)]) == {(name, 0): 3, (name, 1): 0}
    assert admin.start_offsets([(name, 0)]) == {(name, 0): 0}
    assert admin.committed(group) == {}
    assert admin.group(group).state == "Dead"

    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(name, 0, 2)], asynchronous=False)
    consumer.close()
    assert admin.committed(group) == {(name, 0): 2}
    assert admin.group(group).state == "Empty"


def test_a_group_is_told_again_when_its_broker_was_away(fresh_broker: Broker) -> None:
    admin = admin_of(fresh_broker)
    assert admin.group("nobody").state == "Dead"
    fresh_broker.kill()
    with pytest.raises(Unavailable, match="does not answer"):
        admin.group("nobody")
    fresh_broker.start()
    assert admin.group("nobody").state == "Dead"


def test_an_open_transaction_holds_back_the_stable_end(
    broker: Broker,
    admin: Admin,
    make_topic: Callable[..., str],
    unique: Callable[[str], str],
    until: Callable[..., None],
) -> None:
    name = make_topic("stable")
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": unique("txn")})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(name, b"x")
    producer.flush(30)
    assert admin.end_offsets([(name, 0)]) == {(name, 0): 1}
    assert admin.end_offsets([(name, 0)], committed=True) == {(name, 0): 0}
    producer.commit_transaction(30)
    # The record and the transaction's marker, which is written after the commit is answered.
    until(lambda: admin.end_offsets([(name, 0)], committed=True) == {(name, 0): 2})


def test_errors_say_what_to_do(broker: Broker, admin: Admin, make_topic: Callable[..., str]) -> None:
    with pytest.raises(Misconfigured, match="no such topic"):
        admin.end_offsets([("never_made", 0)])
    with pytest.raises(Misconfigured, match=r"(?i)replication factor"):
        admin.create("too_many", 1, 3, {})
    with pytest.raises(Refused, match=broker.bootstrap):
        admin.add_partitions(make_topic(partitions=2), 1)


def test_a_cluster_that_does_not_answer_is_unavailable() -> None:
    nobody = Admin(KafkaSettings(bootstrap_servers="127.0.0.1:1"), timeout_s=1)
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 .*STREAM_KAFKA__BOOTSTRAP_SERVERS"):
        nobody.topics()
