"""`streamapp repartition` of the other groups' tables on a real broker: accounts follow their agents, counters stay,
and remembered ids are known wherever their keys have gone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from test_repartition import Ended, command
from workers import USAGE, Cluster, Sent, cluster, refused_to_start

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import BILLING, WorkerProcess
from streamapp.clock import wall_ms
from streamapp.meters.registry import declared
from streamapp.replay.repartition import Moved, repartition
from streamapp.settings import Settings
from streamapp.simulate.rpc import rpc_stream
from streamapp.simulate.stream import HOUR_MS, StreamSpec
from streamapp.simulate.usage import usage_stream
from streamapp.verify import usage_counters
from streamapp.verify.bills import metering_settlements

CALLS = "agent_rpc_metering"
RPC, METRICS = "streamapp.agents.rpc_billing", "streamapp.agents.llm_metrics"
GROUPS = {BILLING: ("billing-agg", USAGE), METRICS: ("llm-metrics", USAGE), RPC: ("rpc-billing", CALLS)}
EVENTS, PARTITIONS = 4000, 12
ENDED_AT = ("fold 3", "mark 9", "copied 7", "seal 5", "clear 4")


def spec(seed: int) -> StreamSpec:
    """Half a day: much of it late, much of it twice."""
    now_ms = wall_ms()
    return StreamSpec(now_ms - 12 * HOUR_MS, now_ms, EVENTS, teams=40, late=0.05, duplicates=0.1, bad=0.01, seed=seed)


class Half:
    """Usage and calls, sent part by part."""

    def __init__(self, stack: Cluster) -> None:
        self._stack = stack
        self._usage = [Sent(record.key, record.value) for record in usage_stream(spec(1))]
        self._calls = [Sent(record.key, record.value) for record in rpc_stream(spec(2))]

    def send(self, start: int, end: int | None) -> None:
        self._stack.send(self._usage[start:end])
        self._stack.send(self._calls[start:end], CALLS)


def start(stack: Cluster, agent: str) -> WorkerProcess:
    return stack.start_agent(agent, None, settlement__idle_seconds=100_000)


def work_off(stack: Cluster, partitions: int, stop: bool) -> None:
    """Everything is committed by every group."""
    workers = [start(stack, agent) for agent in GROUPS]
    for group, topic in GROUPS.values():
        ends = stack.admin.end_offsets([(topic, number) for number in range(partitions)])
        wanted = {place: end for place, end in ends.items() if end}
        stack.wait(lambda: stack.admin.committed(group).items() >= wanted.items(), 60, *workers)  # noqa: B023
    for worker in workers if stop else []:
        worker.ask_to_stop()
    stack.wait(lambda: not (stop and any(worker.runs for worker in workers)))


@pytest.mark.long
def test_accounts_and_counters_of_a_topic_that_has_grown(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        records = Half(stack)
        records.send(0, 2000)
        work_off(stack, 8, stop=True)
        records.send(2000, 2400)
        for topic in (USAGE, CALLS):
            stack.admin.add_partitions(topic, PARTITIONS)
            stack.wait(lambda: stack.admin.describe([topic])[topic].partitions == PARTITIONS)  # noqa: B023
        records.send(2400, 2700)
        refused_to_start(start(stack, RPC), "streamapp repartition --table rpc_hourly")
        stack.wait(lambda: stack.admin.group("rpc-billing").state == "Empty")

        for number, step in enumerate(ENDED_AT):
            with pytest.raises(Ended):
                move(stack, tmp_path / f"move-{number}", ends_at=step)
        assert move(stack, tmp_path / "move").stage.sealed
        moved = command(stack, "repartition", "--table", "latency")
        assert (moved["folded"] >= 400, moved["rows"], moved["ids"] > 0) == (True, 0, True)
        assert command(stack)["rows"] > 100

        records.send(2700, None)
        work_off(stack, PARTITIONS, stop=False)
        settings = Settings(kafka=stack.kafka)
        settled, counted = metering_settlements.PAIR.check(settings), usage_counters.PAIR.check(settings)
        assert (settled.difference, counted.difference) == (0, 0), (settled.as_json(), counted.as_json())
        assert min(settled.events, counted.events) > EVENTS * 0.8
        assert stack.verify().numbers["duplicates"] > 200


def move(stack: Cluster, folder: Path, ends_at: str = "") -> Moved:
    """Move the accounts, up to a step."""
    table = declared("rpc_hourly")

    def step(name: str) -> None:
        if name == ends_at:
            raise Ended(name)

    folder.mkdir()
    settings = Settings(kafka=stack.kafka)
    return asyncio.run(
        repartition(table.origin, settings, table.make_task(settings, wall_ms), folder, wall_ms, step=step)
    )
