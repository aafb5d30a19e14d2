"""Whatever a pair declares, the engine asks in the one order of moments (docs/adr/0031, 0035)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from dataclasses import replace

import pytest

from streamapp.errors import Misconfigured
from streamapp.kafka.log.reader import Record, Span
from streamapp.kafka.partitions import Partition
from streamapp.settings import Settings
from streamapp.verify.engine import Pair, Sides
from streamapp.verify.pairs import PAIRS
from streamapp.verify.read.letters import LETTERS


class Cluster:
    """Every topic has one partition with nothing in it. What it is asked is noted."""

    def __init__(self, absent: Collection[str] = ()) -> None:
        self.asked: list[tuple[str, str]] = []
        self.absent = absent

    def partitions(self, topic: str) -> int:
        if topic in self.absent:
            raise Misconfigured(f"there is no topic {topic}")
        return 1

    def committed(self, group: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
        self.asked.append(("committed", group))
        return {}

    def start_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: Iterable[Partition], *, committed: bool = False) -> dict[Partition, int]:
        wanted = [*partitions]
        if committed:
            self.asked += [("end", topic) for topic, _ in wanted]
        return dict.fromkeys(wanted, 0)

    def offsets_at(self, partitions: Iterable[Partition], at_ms: int) -> dict[Partition, int]:
        return dict.fromkeys(partitions, -1)

    def read(self, topic: str, upto: Mapping[int, Span], headers: bool = False) -> Iterator[Record]:
        self.asked.append(("read", topic))
        return iter(())


class Nothing:
    """A destination with nothing in it: ClickHouse's rows, or a store of objects."""

    def close(self) -> None:
        pass

    async def get(self, name: str) -> None:
        pass

    async def names(self, prefix: str, after: str | None = None) -> AsyncIterator[tuple[str, int]]:
        for name in dict[str, int]().items():
            yield name


@pytest.mark.parametrize("pair", PAIRS, ids=[pair.name for pair in PAIRS])
def test_offsets_then_ends_with_the_source_last_then_records(pair: Pair) -> None:
    cluster = Cluster()
    assert pair.check(Settings(), cluster, Nothing()).ok
    steps = [step for step, _ in cluster.asked]
    assert steps == sorted(steps, key=("committed", "end", "read").index)
    assert {name for step, name in cluster.asked if step == "committed"} == {pair.group, pair.refuses or pair.group}
    assert [name for step, name in cluster.asked if step == "end"] == [*pair.topics, pair.source]
    assert LETTERS in pair.topics


def test_a_topic_that_an_older_cluster_lacks_is_empty_and_any_other_is_missed() -> None:
    pair = next(pair for pair in PAIRS if pair.optional)
    assert pair.check(Settings(), Cluster(pair.optional)).ok
    with pytest.raises(Misconfigured, match=pair.source):
        pair.check(Settings(), Cluster([pair.source]))


def test_the_comparison_gets_what_the_declaration_names() -> None:
    given: list[Sides] = []
    pair = replace(PAIRS[0], judge=given.append, name="a=b", right="b")
    report = pair.check(Settings(), Cluster(), whole=True)
    (sides,) = given
    assert (sides.pair, sides.report, sides.since_ms) == (pair, report, None)
    assert (report.name, report.left, report.right) == ("a=b", pair.source, "b")
    assert sides.spans.keys() == {*pair.topics, pair.source}
