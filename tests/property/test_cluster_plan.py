"""The planner of `streamapp cluster`: from any state to the wanted one, ended at every step and begun again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cluster_model import ALL, Killed, ModelCluster, settings
from hypothesis import given
from hypothesis import strategies as st
from searches import search

from streamapp.broker.quorum import BOOTSTRAP, VOTERS
from streamapp.cluster.grow import Progress, grow, planned
from streamapp.cluster.plan import Have, Node, Want, plan, refusals
from streamapp.cluster.steps import Kind, Step
from streamapp.errors import Refused, Unavailable
from streamapp.kafka.cluster_admin import Replicas

TOPICS = ("llm_usage", "__consumer_offsets", "_schemas", "billing-agg-usage_hourly-changelog")
THREE = Want(3)


def node(number: int, more: dict[str, str], *, voter: bool = True, dynamic: bool = True, lag: int = 0) -> Node:
    return Node(f"directory-{number}" if dynamic else "", voter, lag, settings(number, **more))


@st.composite
def clusters(draw: st.DrawFn) -> Have:
    """One to three nodes of a quorum that is sound, anything else of it unfinished."""
    count = draw(st.integers(1, 3))
    dynamic = draw(st.booleans())
    voters = draw(st.integers(1, count)) if dynamic else draw(st.sampled_from([1, count]))
    static = {VOTERS: ",".join(f"{n}@node-{n}:9094" for n in range(voters))}
    nodes = {}
    for number in range(count):
        keeps = not dynamic or draw(st.booleans())
        told = static if keeps and number < voters else {BOOTSTRAP: "x:1"}
        own = {**told, **(ALL if draw(st.booleans()) else {})}
        one = node(number, own, voter=number < voters, dynamic=dynamic, lag=draw(st.sampled_from([0, 25])))
        nodes[number] = Node(one.directory, one.voter, one.lag, None) if number and draw(st.booleans()) else one
    rows, in_sync = {}, {}
    for topic in draw(st.lists(st.sampled_from(TOPICS), unique=True)):
        in_sync[topic] = draw(st.integers(1, 2))
        for number in range(draw(st.integers(1, 3))):
            has = draw(st.permutations(range(count)))[: draw(st.integers(1, count))]
            synced = draw(st.lists(st.sampled_from(has), min_size=1, unique=True))
            rows[topic, number] = Replicas(tuple(has), frozenset(synced), synced[0])
    throttled = frozenset(draw(st.lists(st.sampled_from(TOPICS), unique=True)))
    return Have("id", dynamic, nodes, rows, in_sync, draw(st.integers(1, 2)), throttled & set(in_sync))


def grown(cluster: ModelCluster) -> int:
    """Until it is done; how often it was ended."""
    for killed in range(200):
        try:
            grow(cluster, THREE, cluster.operator, throttle=1, wait_s=1, poll_s=0)
            return killed
        except Killed:
            continue
    raise AssertionError(f"never done: {plan(cluster.have, THREE)}")


@search(400)
@given(clusters(), st.lists(st.booleans(), max_size=20))
def test_from_any_state_it_ends_in_the_wanted_one_and_is_ended_anywhere(have: Have, kills: list[bool]) -> None:
    left = iter(kills)
    cluster = ModelCluster(have, lambda step: next(left, False))
    grown(cluster)
    now = cluster.have
    assert plan(now, THREE) == ()
    assert len(now.nodes) == 3
    assert all(one.voter and one.settings is not None and VOTERS not in one.settings for one in now.nodes.values())
    for (topic, _), row in now.partitions.items():
        assert len(set(row.nodes)) == len(row.nodes) == len(row.in_sync) == 3
        assert row.leader == row.nodes[0]
        assert now.in_sync[topic] == 2
    assert now.default_in_sync == 2
    assert (now.throttled, now.slowed) == (frozenset(), frozenset())


class Busy(ModelCluster):
    """A cluster that answers now and then with a time-out: to what it did, to what it did not, and to questions."""

    def __init__(self, have: Have, answers: Iterator[str]) -> None:
        super().__init__(have, lambda step: False)
        self._answers = answers

    def seen(self, step: Step | None = None) -> Have:
        if step is not None and next(self._answers, "") == "silent":
            raise Unavailable("timed out")
        return super().seen(step)

    def do(self, step: Step, have: Have, throttle: int) -> None:
        answer = next(self._answers, "")
        if answer != "lost":
            super().do(step, have, throttle)
        if answer:
            raise Unavailable("timed out")


@search(100)
@given(clusters(), st.lists(st.sampled_from(["", "lost", "late", "silent"]), max_size=30))
def test_a_cluster_that_times_out_is_asked_again(have: Have, answers: list[str]) -> None:
    cluster = Busy(have, iter(answers))
    grow(cluster, THREE, cluster.operator, throttle=1, wait_s=60, poll_s=0)
    assert plan(cluster.have, THREE) == ()


def one_broker() -> Have:
    rows = {(topic, n): Replicas((0,), frozenset({0}), 0) for topic in TOPICS for n in range(8)}
    voters = {VOTERS: "0@node-0:9094"}
    return Have("id", False, {0: node(0, voters, dynamic=False)}, rows, dict.fromkeys(TOPICS, 1), 1)


def test_the_plan_of_one_broker_is_whole_and_in_the_order_that_was_verified() -> None:
    names = [step.kind.label for step in plan(one_broker(), THREE)]
    before = ["UpgradeQuorum", "Bootstrap", "StartNode", "StartNode", "AddVoter", "AddVoter"]
    assert names == [*before, "Reassign", "CatchUp", "Unthrottle", "Elect", "RaiseInSync", "SetDefaults"]


def test_it_is_ended_once_in_every_step_of_its_own() -> None:
    left = {"UpgradeQuorum", "AddVoter", "Reassign", "CatchUp", "Unthrottle", "Elect", "RaiseInSync"}

    def once(step: Step) -> bool:
        name = step.kind.label
        return name in left and not left.remove(name)  # type: ignore[func-returns-value]

    cluster = ModelCluster(one_broker(), once)
    assert grown(cluster) >= 6
    assert left <= {"CatchUp"}


def test_leaders_are_spread_over_all_nodes() -> None:
    (reassign,) = (step for step in plan(one_broker(), THREE) if step.kind is Kind.REASSIGN)
    for topic in TOPICS:
        leaders = [nodes[0] for (name, _), nodes in reassign.replicas.items() if name == topic]
        assert sorted(map(leaders.count, range(3))) == [2, 3, 3]


def test_three_static_voters_are_moved_one_restart_at_a_time() -> None:
    voters = {VOTERS: ",".join(f"{n}@node-{n}:9094" for n in range(3))}
    nodes = {n: node(n, {**voters, **ALL}, dynamic=False) for n in range(3)}
    rows = {("llm_usage", 0): Replicas((0, 1, 2), frozenset({0, 1, 2}), 0)}
    have = Have("id", False, nodes, rows, {"llm_usage": 2}, 2)
    assert [step.kind for step in plan(have, THREE)] == [Kind.UPGRADE_QUORUM, *[Kind.BOOTSTRAP] * 3]
    back = replace(
        have, dynamic=True, partitions={key: replace(row, in_sync=frozenset({1, 2})) for key, row in rows.items()}
    )
    assert [step.kind for step in plan(back, THREE)][:2] == [Kind.CATCH_UP, Kind.BOOTSTRAP]
    cluster = ModelCluster(have, lambda step: False)
    grown(cluster)
    assert plan(cluster.have, THREE) == ()


def test_a_topic_that_two_must_have_is_held_to_one_while_its_replicas_catch_up() -> None:
    have = one_broker()
    strict = Have("id", False, have.nodes, have.partitions, dict.fromkeys(TOPICS, 2), 1)
    names = [step.kind.label for step in plan(strict, THREE)]
    assert (
        names.index("HoldInSync") + 1 == names.index("Reassign") < names.index("CatchUp") < names.index("RaiseInSync")
    )
    assert [step.topics for step in plan(strict, THREE) if step.kind is Kind.RAISE_IN_SYNC] == [tuple(sorted(TOPICS))]


def recipes() -> Iterator[Have]:
    """The standard's: new nodes that name three voters beside a quorum of one; then the first one, too."""
    have = one_broker()
    three = {VOTERS: ",".join(f"{n}@node-{n}:9094" for n in range(3))}
    followers = {n: node(n, three, voter=False, dynamic=False) for n in (1, 2)}
    for nodes in ({**have.nodes, **followers}, {0: node(0, three, dynamic=False)}):
        yield Have("id", False, nodes, have.partitions, have.in_sync, 1)


@pytest.mark.parametrize("have", recipes(), ids=["new nodes", "the first node"])
def test_the_recipe_with_static_voters_is_refused_and_says_why(have: Have) -> None:
    with pytest.raises(Refused, match=r"elect\s+each other with an empty log.*--no-initial-controllers"):
        planned(have, THREE)


def test_fewer_brokers_are_refused_and_say_why() -> None:
    have = one_broker()
    nodes = {n: node(n, {BOOTSTRAP: "x:1", **ALL}) for n in range(3)}
    three = Have("id", True, nodes, have.partitions, have.in_sync, 1)
    assert "nowhere to move them" in refusals(three, Want(1))[0]
    assert not any(step.kind is Kind.ELECT for step in plan(have, Want(1)))
    assert plan(have, Want(1)) == ()


class Late(ModelCluster):
    """The tool of a run that was ended goes on, and Kafka refuses the second one; or refuses for good."""

    def __init__(self, have: Have, *, done: bool) -> None:
        super().__init__(have, lambda step: False)
        self._done = done

    def do(self, step: Step, have: Have, throttle: int) -> None:
        if self._done:
            super().do(step, have, throttle)
        if step.kind in {Kind.UPGRADE_QUORUM, Kind.ADD_VOTER}:
            raise Refused("DUPLICATE_VOTER")


def test_a_step_that_is_done_already_is_no_failure() -> None:
    late = Late(one_broker(), done=True)
    assert grown(late) == 0
    assert plan(late.have, THREE) == ()
    never = Late(one_broker(), done=False)
    with pytest.raises(Refused, match="DUPLICATE_VOTER"):
        grown(never)


class Restarting(ModelCluster):
    """The operator takes his time, while a replica falls behind and is back; in the controlled shutdown the node leaves
    every in-sync set and answers still; then it is down. The others answer all the time."""

    def __init__(self, have: Have) -> None:
        super().__init__(have, lambda step: False)
        self._looks: list[Have] = []
        self.told: list[Progress] = []

    def seen(self, step: Step | None = None) -> Have:
        have = super().seen(step)
        return self._looks.pop(0) if self._looks else have

    def operator(self, progress: Progress) -> None:
        is_first = all(one.step.subject != progress.step.subject for one in self.told)
        self.told.append(progress)
        node, before = progress.step.node, self.have
        super().operator(progress)
        if is_first and progress.step.kind in {Kind.BOOTSTRAP, Kind.SET_DEFAULTS}:
            rows = {
                key: replace(now, in_sync=now.in_sync - {node}) if len(now.in_sync) > 1 else now
                for key, now in before.partitions.items()
            }
            leaving = replace(before, partitions=rows)
            down = replace(leaving, nodes={**before.nodes, node: replace(before.nodes[node], settings=None)})
            self._looks = [before, leaving, before, leaving, down, down]


def static_voters() -> Have:
    voters = {VOTERS: ",".join(f"{n}@node-{n}:9094" for n in range(3))}
    nodes = {n: node(n, voters, dynamic=False) for n in range(3)}
    rows = {("llm_usage", 0): Replicas((0, 1, 2), frozenset({0, 1, 2}), 0)}
    return Have("id", False, nodes, rows, {"llm_usage": 2}, 2)


@pytest.mark.parametrize("have", [one_broker(), static_voters()], ids=["one broker", "three static voters"])
def test_a_node_that_is_being_restarted_is_waited_for_and_not_asked_for_again(have: Have) -> None:
    cluster = Restarting(have)
    grow(cluster, THREE, cluster.operator, throttle=1, wait_s=5, poll_s=0)
    asked = Counter(one.step.subject for one in cluster.told if one.step.kind.by_operator and not one.left)
    restarts = {(kind, n) for kind in (Kind.BOOTSTRAP, Kind.SET_DEFAULTS) for n in have.nodes}
    assert asked.keys() >= restarts
    assert set(asked.values()) == {1}
    assert not any(kind is Kind.RETURN for kind, _ in asked)


def test_the_return_of_another_node_is_asked_for_while_one_is_to_be_restarted() -> None:
    cluster, asked = ModelCluster(static_voters(), lambda step: False), list[tuple[Kind, int]]()

    def operator(progress: Progress) -> None:
        asked.append(progress.step.subject)
        if progress.step.subject == (Kind.BOOTSTRAP, 0) and len(asked) == 2:
            down = replace(cluster.have.nodes[2], settings=None)
            cluster.have = replace(cluster.have, nodes={**cluster.have.nodes, 2: down})
            return
        cluster.operator(progress)

    grow(cluster, THREE, operator, throttle=1, wait_s=5, poll_s=0)
    assert asked[1:4] == [(Kind.BOOTSTRAP, 0), (Kind.RETURN, 2), (Kind.BOOTSTRAP, 0)]


def test_a_step_of_the_operator_that_is_not_done_ends_the_run_in_time_and_says_which() -> None:
    cluster = ModelCluster(one_broker(), lambda step: False)
    with pytest.raises(Unavailable, match=r"not done within 0\.01 s: node 0: remove .*Call again"):
        grow(cluster, THREE, lambda progress: None, throttle=1, wait_s=0.01, poll_s=0)
