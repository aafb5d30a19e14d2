"""What `streamapp cluster` reads and says, without a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from streamapp.broker.quorum import VOTERS, Member, format_arguments, named_voters
from streamapp.cli.kafka.cluster import command
from streamapp.cluster.live import Seat, quorum
from streamapp.cluster.plan import Have, Node, Want, controller_of, refusals
from streamapp.cluster.steps import Kind, Step
from streamapp.errors import Refused

STATIC = """\
NodeId\tDirectoryId           \tLogEndOffset\tLag\tLastFetchTimestamp\tLastCaughtUpTimestamp\tStatus
0     \tAAAAAAAAAAAAAAAAAAAAAA\t32          \t0  \t1795987574608     \t1795987574608        \tLeader
"""
GROWING = """\
NodeId\tDirectoryId           \tLogEndOffset\tLag\tLastFetchTimestamp\tLastCaughtUpTimestamp\tStatus
0     \tZ3vskOplnQ3fsV-K028Aiw\t53          \t0  \t1795987583618     \t1795987583618        \tLeader
2     \tq3vskOplnQ3fsV-K028Aiw\t50          \t3  \t1795987583618     \t1795987583618        \tFollower
1     \tr3vskOplnQ3fsV-K028Aiw\t12          \t41 \t1795987583618     \t1795987583000        \tObserver
"""


def test_the_quorum_is_read_from_kafkas_own_table() -> None:
    assert quorum(STATIC) == {0: Seat("", True, 0)}
    assert quorum(GROWING) == {
        0: Seat("Z3vskOplnQ3fsV-K028Aiw", True, 0),
        2: Seat("q3vskOplnQ3fsV-K028Aiw", True, 3),
        1: Seat("r3vskOplnQ3fsV-K028Aiw", False, 41),
    }


def test_a_voter_that_lost_its_disk_is_told_with_the_command_that_helps() -> None:
    again = "2     \tnewskOplnQ3fsV-K028Aiw\t53          \t0  \t1795987590000     \t1795987590000        \tObserver\n"
    rows = quorum(GROWING + again)
    assert rows[2] == Seat("newskOplnQ3fsV-K028Aiw", False, 0, "q3vskOplnQ3fsV-K028Aiw")
    third = again.replace("newskO", "thirdO").replace("1795987590000", "1795987591000")
    assert quorum(GROWING + again + third)[2] == Seat("thirdOplnQ3fsV-K028Aiw", False, 0, "q3vskOplnQ3fsV-K028Aiw")
    forgotten = (GROWING + again).replace("Follower", "Observer")  # the vote was taken away
    assert quorum(forgotten)[2] == Seat("newskOplnQ3fsV-K028Aiw", False, 0)
    nodes = {2: Node(rows[2].directory, rows[2].voter, rows[2].lag, {}, rows[2].lost)}
    (reason,) = refusals(Have("id", True, nodes, {}, {}, 2), Want(3))
    assert "--controller-id 2 --controller-directory-id q3vskOplnQ3fsV-K028Aiw" in reason


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({"listeners": "PLAINTEXT://:9092,CONTROLLER://a:9094"}, "a:9094"),
        ({"listeners": "CONTROLLER://:9094", "advertised.listeners": "SSL://a:9093,CONTROLLER://a:9094"}, "a:9094"),
        ({"listeners": "C://a:1", "advertised.listeners": "None", "controller.listener.names": "C"}, "a:1"),
        ({"listeners": "PLAINTEXT://:9092"}, None),
    ],
)
def test_a_controller_is_where_its_node_says(settings: dict[str, str], address: str | None) -> None:
    assert controller_of(settings) == address


def test_a_node_is_formatted_as_the_first_or_without_controllers() -> None:
    first = format_arguments(Member(0, ("a:1",), first=True, cluster_id="id"))
    other = format_arguments(Member(1, ("a:1",), cluster_id="id"))
    assert (first, other) == (["--cluster-id=id", "--standalone"], ["--cluster-id=id", "--no-initial-controllers"])
    assert len(format_arguments(None)) == 1


def test_voters_are_read_with_spaces_and_brackets() -> None:
    assert named_voters({VOTERS: "[0@a:1, 1@b:1]"}) == {0: "a:1", 1: "b:1"}
    assert named_voters({VOTERS: ""}) == named_voters({}) == {}


@pytest.mark.parametrize("text", ["={voters}", " = {voters}", ": {voters}", " {voters}", "={head}\\\n    {tail}"])
def test_a_file_with_the_static_recipe_is_refused_before_it_is_started(text: str, tmp_path: Path) -> None:
    file, voters = tmp_path / "server.properties", "0@a:9094,1@b:9094,2@c:9094"
    head, tail = voters.split(",", 1)
    given = text.format(voters=voters, head=f"{head},", tail=tail)
    file.write_text(f"# three\nnode.id=1\n{VOTERS}{given}\nempty=\n")
    refused = CliRunner().invoke(command, ["check", "--properties", str(file)])
    assert isinstance(refused.exception, Refused)
    assert "drops every topic" in str(refused.exception)


def test_a_file_of_a_cluster_of_one_node_passes(tmp_path: Path) -> None:
    file = tmp_path / "server.properties"
    file.write_text(f"node.id=0\n{VOTERS}=0@a:9094\n")
    assert CliRunner().invoke(command, ["check", "--properties", str(file)]).exit_code == 0


def test_a_line_for_the_operator_says_all_that_is_to_be_set() -> None:
    rows = (("default.replication.factor", "3"), ("offsets.topic.replication.factor", "3"))
    start = Step(Kind.START_NODE, 1, controllers=("a:1", "b:2"), cluster_id="id", settings=rows)
    assert str(start) == (
        "node 1: set node.id=1 controller.quorum.bootstrap.servers=a:1,b:2 default.replication.factor=3 "
        "offsets.topic.replication.factor=3 in its server.properties, and no controller.quorum.voters; on its empty "
        "disk: kafka-storage format --cluster-id=id --no-initial-controllers; start it"
    )
    moved = str(Step(Kind.BOOTSTRAP, 0, controllers=("a:1", "b:2")))
    assert (
        "remove controller.quorum.voters from its server.properties, set controller.quorum.bootstrap.servers=a:1,b:2"
        in moved
    )
    raised = str(Step(Kind.RAISE_IN_SYNC, topics=("x", "y"), new_topics=True))
    assert raised == "set min.insync.replicas=2 of x, y and of new topics"


@pytest.mark.parametrize("kind", Kind)
def test_no_text_of_a_step_has_a_word_that_is_not_filled_in(kind: Kind) -> None:
    text = str(Step(kind, 7, ("host:1",), "id", (("name", "value"),), ("topic",), count=3))
    assert not set("{(") & set(text.replace("(3 partitions are not)", ""))


def test_shrink_is_refused_and_says_why() -> None:
    refused = CliRunner().invoke(command, ["shrink"])
    assert "nowhere to move them" in str(refused.exception)
