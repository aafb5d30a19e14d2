"""`streamapp replay` on a real broker: offsets put back, and a table recomputed, with workers before and after."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import forked
import pytest
import rpc_log
from click.testing import CliRunner, Result
from confluent_kafka import Producer
from verify_logs import text
from workers import CHANGELOG, GROUP, NEVER_S, PARTITIONS, USAGE, Cluster, Sent, bodies, cluster

from streamapp.broker.broker import Broker
from streamapp.cli.tables.replay import command
from streamapp.clock import wall_ms
from streamapp.directory.teams import open_directory
from streamapp.meters.calls import rpc_codec
from streamapp.meters.usage import codec
from streamapp.meters.usage.codec import unpack_hour
from streamapp.settings import Settings, current
from streamapp.simulate.usage import HOUR_MS, UsageSpec, usage_stream
from streamapp.verify.bills import metering_settlements

TEAMS = 30
COMMAND = (sys.executable, "-m", "streamapp", "replay", "--group", GROUP)


def run(
    stack: Cluster, *arguments: str, directory: Path | None = None, answer: str = "", group: bool = True
) -> CompletedProcess[str]:
    """The command to its end; `answer` is what a person types."""
    of_group = ("--group", GROUP) if group else ()
    return forked.command(
        "replay", *of_group, *arguments, answer=f"{answer}\n", environment=variables(stack, directory)
    )


def variables(stack: Cluster, directory: Path | None) -> dict[str, str]:
    """The environment of the command."""
    mine = {"STREAM_KAFKA__BOOTSTRAP_SERVERS": stack.broker.bootstrap}
    if directory is not None:
        mine["STREAM_DIRECTORY"] = str(directory)
    return os.environ | mine


def replay(stack: Cluster, *arguments: str, directory: Path | None = None, exit_code: int = 0) -> dict[str, Any]:
    """What the command answers to a program."""
    done = run(stack, "--json", *arguments, directory=directory)
    assert done.returncode == exit_code, done
    if exit_code:
        return {"error": done.stderr}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def talk(stack: Cluster, answer: str, *arguments: str, directory: Path | None = None) -> str:
    """What the command says to a person, who answers its question."""
    done = run(stack, *arguments, directory=directory, answer=answer)
    assert done.returncode == 0, done
    return done.stdout


def usage(count: int, seed: int, directory: Path | None = None) -> list[Sent]:
    """The last hours' usage. A team of the directory is sometimes without its org."""
    now_ms = wall_ms()
    teams = open_directory(directory).first(TEAMS)
    spec = UsageSpec(now_ms - 6 * HOUR_MS, now_ms, count, teams=TEAMS, seed=seed, directory=teams)
    return [Sent(record.key, record.value) for record in usage_stream(spec)]


def list_teams(path: Path, orgs: dict[str, str]) -> Path:
    path.write_text("".join(f'[teams.{team}]\norg = "{org}"\n' for team, org in orgs.items()))
    return path


def worked(stack: Cluster, directory: Path | None = None) -> None:
    """A worker does everything that is there, and ends."""
    worker = stack.start() if directory is None else stack.start(directory=directory)
    stack.drain(worker)
    worker.stop()
    stack.wait(lambda: stack.admin.group(GROUP).state == "Empty")


def plant(stack: Cluster, rows: Iterable[tuple[int, bytes, bytes]], changelog: str = CHANGELOG) -> None:
    """Write rows to the changelog, as a bug would have."""
    producer = Producer({"bootstrap.servers": stack.broker.bootstrap})
    for partition, key, value in rows:
        producer.produce(changelog, value, key, partition=partition)
    assert producer.flush(30) == 0


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """`here(stack, "--dry-run", typed="y")` → what the command does, without a process of its own."""

    def call(stack: Cluster, *arguments: str, typed: str = "") -> Result:
        monkeypatch.setenv("STREAM_KAFKA__BOOTSTRAP_SERVERS", stack.broker.bootstrap)
        current.cache_clear()
        return CliRunner().invoke(command, ["--group", GROUP, *arguments], input=typed)

    yield call
    current.cache_clear()


def answered(here: Callable[..., Result], stack: Cluster, *arguments: str) -> dict[str, Any]:
    """What the command answers to a program."""
    done = here(stack, "--json", *arguments)
    assert done.exit_code == 0, done
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def said(here: Callable[..., Result], stack: Cluster, typed: str, *arguments: str) -> str:
    """What the command says to a person, who answers its question."""
    done = here(stack, *arguments, typed=f"{typed}\n")
    assert done.exit_code == 0, done
    return done.stdout


def test_a_group_is_put_back_and_bills_nothing_twice(
    ready_broker: Broker, tmp_path: Path, here: Callable[..., Result]
) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        records = usage(2000, seed=1)
        stack.send(records[:1000])
        middle_ms = wall_ms() + 1
        stack.wait(lambda: wall_ms() > middle_ms)
        stack.send(records[1000:])
        running = stack.start_ready()
        stack.drain(running)
        assert f"group {GROUP} runs" in replay(stack, "--to-earliest", "--yes", exit_code=1)["error"]
        shown = answered(here, stack, "--to-earliest", "--dry-run")
        assert sum(move["records"] for move in shown["moves"]) == sum(stack.committed().values())
        running.stop()
        stack.wait(lambda: stack.admin.group(GROUP).state == "Empty")
        ends, bills = stack.committed(), stack.bills()

        plan = answered(here, stack, "--to-offset", "5", "--dry-run")
        assert [move["records"] for move in plan["moves"]] == [ends[number] - 5 for number in range(PARTITIONS)]
        assert stack.committed() == ends
        behind = Counter(record.partition for record in stack.read(USAGE) if record.timestamp_ms >= middle_ms)
        plan = answered(here, stack, "--to-datetime", text(middle_ms), "--dry-run")
        assert {move["partition"]: move["records"] for move in plan["moves"]} == behind
        assert behind.total() == 1000
        told = said(here, stack, "n", "--to-datetime", text(middle_ms))
        assert "Read llm_usage again" in told
        assert "Put billing-agg back by 1,000 records? [y/N]:" in told
        assert stack.committed() == ends, "a person said no"
        assert "8 partitions put back" in said(here, stack, "y", "--to-datetime", text(middle_ms))
        assert stack.committed() == {number: end - behind[number] for number, end in ends.items()}
        assert "0 records to read again: billing-agg has read no partition beyond that place" in said(
            here, stack, "", "--to-datetime", text(middle_ms)
        )

        assert answered(here, stack, "--to-offset", "3:1000000", "--yes")["partitions_moved"] == 0, "never ahead"
        assert answered(here, stack, "--to-offset", "3:7,4:0", "--yes")["partitions_moved"] == 2
        assert {**stack.committed(), 3: 7, 4: 0} == stack.committed()
        now = answered(here, stack, "--to-datetime", "2099-01-01T00:00:00Z", "--yes")
        assert now["partitions_moved"] == 0
        assert here(stack, "--to-datetime", "last week", "--yes").exit_code == 2
        assert answered(here, stack, "--to-earliest", "--yes")["partitions_moved"] == PARTITIONS - 1
        worked(stack)
        assert stack.bills() == bills
        stack.verify()


@pytest.mark.long
def test_a_recomputation_publishes_what_changed_and_no_more(ready_broker: Broker, tmp_path: Path) -> None:
    old = list_teams(tmp_path / "old.toml", {"team_one": "org_a", "team_two": "org_a", "team_three": "org_b"})
    new = list_teams(tmp_path / "new.toml", {"team_one": "org_c", "team_two": "org_a", "team_three": "org_b"})
    with cluster(ready_broker, tmp_path) as stack:
        stack.send(usage(4000, 1, old))
        worked(stack, old)
        before, committed = stack.bills(), stack.committed()
        same = replay(stack, "--to-earliest", "--recompute", "--yes", directory=old)
        assert same["recompute"]["changes"] == 0
        assert same["recompute"]["out_of_reach"] == 0
        assert same["recompute"]["hours"] > 100

        seen = replay(stack, "--to-earliest", "--recompute", "--dry-run", directory=new)
        assert stack.bills() == before
        done = replay(stack, "--to-earliest", "--recompute", "--yes", directory=new)
        assert done["recompute"] == seen["recompute"]
        assert done["recompute"]["changes"] == done["published"]["rows"] > 0
        assert set(done["recompute"]["money"].values()) <= {"0.000000000000", "0E-12", "0"}
        more = [body for body in bodies(stack.bills()) if body not in bodies(before)]
        assert len(more) == done["published"]["statements"] > 0
        assert {body["team_id"] for body in more} == {"team_one"}
        assert {body["org_id"] for body in more} <= {"org_a", "org_c"}
        assert replay(stack, "--to-earliest", "--recompute", "--yes", directory=new)["recompute"]["changes"] == 0
        assert stack.committed() == committed
        stack.verify(new)

        stack.send(usage(1000, 2, new))  # late for every hour, on the rows that were put right
        worked(stack, new)
        stack.verify(new)


@pytest.mark.long
def test_a_recomputation_that_is_killed_goes_on(ready_broker: Broker, tmp_path: Path) -> None:
    teams = [f"team_{number}" for number in range(24)]
    old = list_teams(tmp_path / "old.toml", dict.fromkeys(teams, "org_a"))
    new = list_teams(tmp_path / "new.toml", dict.fromkeys(teams, "org_c"))
    with cluster(ready_broker, tmp_path) as stack:
        stack.send(usage(4000, 4, old))
        worked(stack, old)
        recompute = ("--to-earliest", "--recompute")
        changes = replay(stack, *recompute, "--dry-run", directory=new)["recompute"]["changes"]
        before = written(stack)
        with subprocess.Popen([*COMMAND, *recompute, "--yes"], env=variables(stack, new)) as process:
            stack.wait(lambda: written(stack) > before)
            process.kill()
            assert process.wait() == -signal.SIGKILL, "it was killed in the middle"
        left = replay(stack, *recompute, "--dry-run", directory=new)["recompute"]["changes"]
        assert 0 < left <= changes
        said = talk(stack, "y", *recompute, directory=new)
        assert f"{left:,} of " in said
        assert "Publish? [y/N]:" in said
        assert f"{left:,} rows put right" in said
        assert replay(stack, *recompute, "--yes", directory=new)["recompute"]["changes"] == 0
        stack.verify(new)


def written(stack: Cluster) -> int:
    """How much was ever written to the topic of bills, committed or not."""
    ends = stack.admin.end_offsets([("billing_events", number) for number in range(4)])
    return sum(ends.values())


def test_a_wrong_row_in_the_changelog_is_put_right(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        records = usage(3000, seed=3)
        stack.send(records[:2000])
        worked(stack)
        newest = {
            (row.partition, row.key): row.value
            for row in stack.read(CHANGELOG)
            if row.key is not None and row.key[:1] == b"h" and row.value is not None
        }
        wrong = []
        for (partition, key), value in newest.items():
            row = unpack_hour(key, value)
            for line in row.lines.values():
                line.prompt_tokens += 1_000_000
            wrong.append((partition, key, codec.pack_hour(row)))
        plant(stack, wrong)
        stack.send(records[2000:])
        worked(stack)  # bills what the rows say
        with pytest.raises(AssertionError):
            stack.verify()
        done = replay(stack, "--to-earliest", "--recompute", "--yes")
        assert 0 < done["published"]["statements"] < done["published"]["rows"]
        assert replay(stack, "--to-earliest", "--recompute", "--yes")["recompute"]["changes"] == 0
        assert stack.verify().numbers["revisions"] > 0
        worked(stack)
        stack.verify()


RPC, RPC_TOPIC = "rpc-billing", "agent_rpc_metering"
RPC_CHANGELOG = "rpc-billing-rpc_hourly-changelog"


def called(stack: Cluster, hours: Iterable[int], now_ms: int) -> None:
    """Two calls of each of six agents in each of these hours, counted back from now; a worker counts them, and ends."""
    sent = [
        Sent(agent.encode(), rpc_log.value(f"{agent}-{ago}-{n}", now_ms - ago * HOUR_MS + n, agent, price="0.2"))
        for ago in hours
        for agent in (f"agent_{number}" for number in range(6))
        for n in range(2)
    ]
    stack.send(sent, RPC_TOPIC)
    ends = {at: end for at, end in stack.admin.end_offsets([(RPC_TOPIC, n) for n in range(PARTITIONS)]).items() if end}
    worker = stack.start_agent("streamapp.agents.rpc_billing", None, "rpc", settlement__idle_seconds=NEVER_S)
    stack.wait(lambda: stack.admin.committed(RPC).items() >= ends.items(), 60, worker)
    worker.stop()
    stack.wait(lambda: stack.admin.group(RPC).state == "Empty")


@pytest.mark.long
def test_what_was_settled_wrongly_is_carried_into_the_next_settlement(ready_broker: Broker, tmp_path: Path) -> None:
    now_ms = wall_ms() // HOUR_MS * HOUR_MS
    with cluster(ready_broker, tmp_path) as stack:
        called(stack, (6, 5), now_ms)
        newest = {(row.partition, row.key or b""): row.value for row in stack.read(RPC_CHANGELOG)}
        wrong = []
        for (partition, key), value in newest.items():
            if key[:1] == b"h" and value is not None:
                row = rpc_codec.unpack_hour(key, value)
                row.methods["chat.send"].add(1, Decimal("0.06"))
                wrong.append((partition, key, rpc_codec.pack_hour(row)))
        assert len(wrong) == 12, "both hours are open"
        plant(stack, wrong, RPC_CHANGELOG)
        called(stack, (4,), now_ms)  # closes the first hour, and settles what the rows say
        check = partial(metering_settlements.PAIR.check, Settings(kafka=stack.kafka))
        stack.wait(lambda: check().difference == 12)

        paid = stack.bills()
        recompute = ("--table", "rpc_hourly", "--to-earliest", "--recompute", "--yes")
        done = json.loads(run(stack, "--json", *recompute, group=False).stdout)
        assert done["group"] == RPC
        assert done["recompute"]["money"] == {"AI": "-0.720000000000"}
        assert done["published"] == {"rows": 12, "statements": 0}
        assert json.loads(run(stack, "--json", *recompute, group=False).stdout)["recompute"]["changes"] == 0
        assert stack.bills() == paid
        stack.wait(lambda: check().difference == 0)

        called(stack, (3,), now_ms)
        stack.wait(lambda: len(carried(stack)) == 6)
        assert carried(stack) == [("0.340000000000", 2)] * 6
        assert check().difference == 0


def carried(stack: Cluster) -> list[tuple[str, int]]:
    """Amount and calls of the settlements that correct one before."""
    found = (body["data"] for body in bodies(stack.bills()) if "carried" in body["data"])
    return [(data["amount"], data["request_count"]) for data in found]
