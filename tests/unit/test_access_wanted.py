"""Who may do what: the standard's rows, the rules behind all rows, and a plan that adds, keeps and leaves alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.access.acl import ANYTHING, CLUSTER, EVERYBODY, USER, Acl, allowed
from streamapp.access.plan import AccessPlan, plan
from streamapp.access.wanted import (
    CHECKED,
    LAG_MONITOR,
    PROVISIONER,
    RECONCILER,
    REPLAYER,
    matrix,
    of_group,
    principals,
    wanted,
)
from streamapp.topics.registry import (
    EVENT_TOPICS,
    GROUPS,
    PAGES,
    REDRIVER,
    SCHEMA_REGISTRY,
    TOPICS,
    group,
    transactional_ids,
)
from streamapp.verify.pairs import PAIRS

TOOLS = {PAGES, REDRIVER, REPLAYER, RECONCILER, LAG_MONITOR, PROVISIONER, SCHEMA_REGISTRY}
WATCHERS = {PAGES, RECONCILER, LAG_MONITOR, PROVISIONER}
USERS = [one.name for one in principals()]
STANDARD = {
    # principal: topic, operation (the standard's Access Control Lists, decision 26)
    ("insights-capture", "events_plugin_ingestion", "WRITE"),
    ("llm-gateway", "llm_usage", "WRITE"),
    ("iam-service", "audit_log", "WRITE"),
    ("analytics-ingest", "events_plugin_ingestion", "READ"),
    ("billing-aggregator", "llm_usage", "READ"),
    ("billing-aggregator", "billing_events", "WRITE"),
    ("audit-archiver", "audit_log", "READ"),
    ("bot-gateway", "agent_rpc_metering", "WRITE"),
    ("rpc-billing", "agent_rpc_metering", "READ"),
    ("rpc-billing", "billing_events", "WRITE"),
    ("llm-metrics", "llm_usage", "READ"),
    ("dead-letter-monitor", "dead_letter", "READ"),
    ("billing-ledger", "billing_events", "READ"),
    ("commerce", "billing_events", "READ"),
    ("reporting", "billing_events", "READ"),
    ("compliance", "audit_log", "READ"),
    ("analytics", "llm_usage", "READ"),
}


def operations(user: str, kind: str, name: str) -> set[str]:
    return {acl.operation for acl in wanted() if (acl.user, acl.kind, acl.name) == (user, kind, name)}


def test_the_rows_of_the_standard_are_all_that_services_may_do_with_event_topics() -> None:
    events = {topic.name for topic in EVENT_TOPICS}
    services = {acl for acl in wanted() if acl.kind == "topic" and acl.name in events and acl.user not in TOOLS}
    letters = {(user, "dead_letter", "WRITE") for user in set(USERS) - TOOLS}  # decision 19
    assert {(acl.user, acl.name, acl.operation) for acl in services} == STANDARD | letters


def test_a_worker_has_what_a_transaction_takes_and_nothing_else() -> None:
    rows = [(acl.kind, acl.name, acl.operation, acl.prefixed) for acl in of_group("billing-agg")]
    assert sorted(rows) == sorted(
        [
            ("topic", "llm_usage", "READ", False),
            ("group", "billing-agg", "READ", False),
            ("topic", "billing_events", "WRITE", False),
            ("topic", "billing-agg-usage_hourly-changelog", "READ", False),
            ("topic", "billing-agg-usage_hourly-changelog", "WRITE", False),
            ("topic", "billing-agg-usage_hourly-changelog", "DESCRIBE_CONFIGS", False),
            ("transactional_id", "billing-agg-llm_usage-", "WRITE", True),
            ("topic", "dead_letter", "WRITE", False),
        ]
    )


@pytest.mark.parametrize("name", [each.name for each in GROUPS])
def test_nobody_but_the_group_and_its_stand_in_writes_its_rows_and_its_transactions(name: str) -> None:
    mine = {topic.name for topic in TOPICS if topic.producers == (name,) and topic.kind == "internal"}
    assert mine
    own = {group(name).principal, REPLAYER}
    assert {acl.user for acl in wanted() if acl.name in mine and acl.operation == "WRITE"} <= own
    prefix = transactional_ids(name, group(name).topics[0])
    for user in USERS:
        may = allowed(wanted(), user, "transactional_id", f"{prefix}0", "WRITE")
        assert may == (user in own and operations(user, "transactional_id", prefix) == {"WRITE"})


@pytest.mark.parametrize("name", [each.name for each in GROUPS])
def test_a_worker_touches_no_rows_no_group_and_no_transaction_but_its_own(name: str) -> None:
    internal = {topic.name: topic for topic in TOPICS if topic.kind == "internal"}
    rows = {acl.name for acl in of_group(name) if acl.name in internal}
    assert rows == {topic.name for topic in internal.values() if name in (*topic.producers, *topic.consumers)}
    assert {acl.name for acl in of_group(name) if acl.kind == "group"} == {name}
    ids = {acl.name for acl in of_group(name) if acl.kind == "transactional_id"}
    assert ids == {transactional_ids(name, topic) for topic in group(name).topics}
    assert {acl.kind for acl in of_group(name)} == {"topic", "group", "transactional_id"}


def test_only_one_principal_changes_topics_and_nobody_changes_rights_or_deletes() -> None:
    by: dict[str, set[str]] = {}
    for acl in wanted():
        by.setdefault(acl.operation, set()).add(acl.user)
    assert by["CREATE"] == by["ALTER_CONFIGS"] == {PROVISIONER}
    assert by["ALTER"] == {PROVISIONER, REPLAYER}
    assert by["DESCRIBE"] == WATCHERS
    assert set(by) == {"READ", "WRITE", "DESCRIBE", "DESCRIBE_CONFIGS", "CREATE", "ALTER", "ALTER_CONFIGS"}
    assert {(acl.user, acl.operation) for acl in wanted() if acl.kind == "cluster"} == {
        (RECONCILER, "DESCRIBE"),
        (RECONCILER, "DESCRIBE_CONFIGS"),
    }


def test_the_pages_see_every_group_and_dead_letter_and_write_only_who_unmasked_what() -> None:
    mine = [acl for acl in wanted() if acl.user == PAGES]
    read = {acl.name for acl in mine if acl.operation == "READ"}
    assert read == {"dead_letter", "dead-letter-monitor-letters_done-changelog"}
    assert [acl.name for acl in mine if acl.operation == "WRITE"] == ["audit_log"]
    for each in GROUPS:
        assert allowed(wanted(), PAGES, "group", each.name, "DESCRIBE")
        assert all(allowed(wanted(), PAGES, "topic", name, "DESCRIBE") for name in each.topics)
    assert {acl.operation for acl in mine} == {"READ", "WRITE", "DESCRIBE"}


def test_no_service_has_a_blanket_right() -> None:
    blanket = {(acl.user, acl.operation) for acl in wanted() if acl.name == ANYTHING}
    assert blanket == {(RECONCILER, "DESCRIBE"), (RECONCILER, "DESCRIBE_CONFIGS"), (LAG_MONITOR, "DESCRIBE")}
    assert {acl.kind for acl in wanted() if acl.prefixed} == {"transactional_id"}
    assert all(acl.allow and acl.host == ANYTHING for acl in wanted())


def test_no_entry_is_implied_by_another_of_the_same_principal() -> None:
    for acl in wanted():
        others = [other for other in wanted() if other != acl and other.user == acl.user]
        if acl.name != ANYTHING:
            assert not allowed(others, acl.user, acl.kind, acl.name, acl.operation), acl


def test_the_reconciler_reads_exactly_what_the_pairs_read() -> None:
    read = {name for pair in PAIRS for name in (pair.source, *pair.topics)}
    assert {acl.name for acl in wanted() if acl.user == RECONCILER and acl.operation == "READ"} == read
    assert set(CHECKED) == read - {topic.name for topic in EVENT_TOPICS}


def test_every_entry_stands_once_in_the_matrix() -> None:
    rows = matrix(wanted())
    assert len(wanted()) == len(set(wanted())) == sum(len(operations.split(", ")) for _, _, operations in rows)
    assert len({(user, what) for user, what, _ in rows}) == len(rows)
    assert {user for user, _, _ in rows} == set(USERS)


ACLS = st.builds(
    Acl,
    st.sampled_from([f"{USER}billing-aggregator", f"{USER}llm-gateway", f"{USER}stranger", EVERYBODY, "Group:x"]),
    st.sampled_from(["topic", "group", "transactional_id", "cluster", "user"]),
    st.sampled_from(["llm_usage", "billing_events", "billing-agg", CLUSTER, ANYTHING]),
    st.sampled_from(["READ", "WRITE", "ALL", "DESCRIBE"]),
    st.booleans(),
    st.sampled_from([ANYTHING, "10.0.0.1"]),
    st.booleans(),
)
SOME = st.lists(st.sampled_from(wanted()), unique=True)


@given(SOME, st.lists(ACLS))
def test_apply_adds_what_is_missing_prune_takes_what_is_too_much_and_foreign_entries_stay(
    some: list[Acl], more: list[Acl]
) -> None:
    have = {*some, *more}
    found = plan(wanted(), USERS, have)
    assert set(found.changes) == set(wanted()) - have
    assert set(found.excess).isdisjoint(wanted())
    assert all(acl.user in USERS and acl.principal.startswith(USER) for acl in found.excess)
    assert all(acl.principal not in {USER + user for user in USERS} for acl in found.foreign)
    assert {*found.kept, *found.excess, *found.foreign} == have

    applied = have | set(found.changes)
    again = plan(wanted(), USERS, applied)
    assert (again.changes, set(again.kept)) == ((), set(wanted())), "a second run has nothing to do"
    assert (again.excess, again.foreign) == (found.excess, found.foreign), "apply takes nothing away"
    pruned = plan(wanted(), USERS, applied - set(found.excess))
    assert pruned == AccessPlan((), again.kept, (), found.foreign)
    assert pruned.is_clean == (not any(acl.principal == EVERYBODY for acl in found.foreign))


def test_entries_cover_what_kafka_says_they_do() -> None:
    read = Acl("User:a", "topic", "t", "READ")
    assert read.covers("topic", "t", "READ")
    assert read.covers("topic", "t", "DESCRIBE")
    assert not read.covers("topic", "t2", "READ")
    assert not read.covers("topic", "t", "DESCRIBE_CONFIGS")
    assert not read.covers("group", "t", "READ")
    assert Acl("User:a", "topic", "t", "ALTER_CONFIGS").covers("topic", "t", "DESCRIBE_CONFIGS")
    assert Acl("User:a", "topic", ANYTHING, "ALL").covers("topic", "t", "DELETE")
    assert not Acl("User:a", "topic", "t", "WRITE").covers("topic", "tt", "WRITE")
    assert Acl("User:a", "topic", "t", "WRITE", prefixed=True).covers("topic", "tt", "WRITE")
