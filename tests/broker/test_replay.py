"""`streamapp replay` on a real broker: offsets put back, and a table recomputed, with workers before and after."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from workers import CHANGELOG, GROUP, PARTITIONS, Cluster, Sent, bodies, cluster

from streamapp.clock import wall_ms
from streamapp.kafka.broker import Broker
from streamapp.ops.simulate import HOUR_MS, UsageSpec, usage_stream
from streamapp.ops.verify_billing import read_directory
from streamapp.runtime import codec
from streamapp.runtime.codec import unpack_hour

TEAMS = 30


def replay(stack: Cluster, *arguments: str, directory: Path | None = None, exit_code: int = 0) -> dict[str, Any]:
    """What the command answers."""
    environment = {**os.environ, "STREAM_KAFKA__BOOTSTRAP_SERVERS": stack.broker.bootstrap}
    if directory is not None:
        environment["STREAM_DIRECTORY"] = str(directory)
    command = [sys.executable, "-m", "streamapp", "replay", "--group", GROUP, "--json", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == exit_code, done
    if exit_code:
        return {"error": done.stderr}
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def usage(count: int, seed: int, directory: Path | None = None) -> list[Sent]:
    """The last hours' usage. A team of the directory is sometimes without its org."""
    now_ms = wall_ms()
    teams = read_directory(directory)
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
    stack.wait(lambda: stack.admin.group(GROUP).state == "EMPTY")


def plant(stack: Cluster, rows: Iterable[tuple[int, bytes, bytes]]) -> None:
    """Write rows to the changelog, as a bug would have."""
    producer = Producer({"bootstrap.servers": stack.broker.bootstrap})
    for partition, key, value in rows:
        producer.produce(CHANGELOG, value, key, partition=partition)
    assert producer.flush(30) == 0


def test_a_group_is_put_back_and_bills_nothing_twice(fresh_broker: Broker, tmp_path: Path) -> None:
    with cluster(fresh_broker, tmp_path) as stack:
        stack.send(usage(2000, seed=1))
        running = stack.start_ready()
        stack.drain(running)
        assert f"group {GROUP} runs" in replay(stack, "--to-earliest", "--yes", exit_code=1)["error"]
        running.stop()
        stack.wait(lambda: stack.admin.group(GROUP).state == "EMPTY")
        ends, bills = stack.committed(), stack.bills()

        plan = replay(stack, "--to-offset", "5", "--dry-run")
        assert [move["records"] for move in plan["moves"]] == [ends[number] - 5 for number in range(PARTITIONS)]
        assert stack.committed() == ends
        assert replay(stack, "--to-offset", "3:1000000", "--yes")["partitions_moved"] == 0, "never ahead"
        assert replay(stack, "--to-offset", "3:7,4:0", "--yes")["partitions_moved"] == 2
        assert stack.committed() == ends | {3: 7, 4: 0}
        now = replay(stack, "--to-datetime", "2099-01-01T00:00:00Z", "--yes")
        assert now["partitions_moved"] == 0
        assert replay(stack, "--to-datetime", "2020-01-01", "--yes", exit_code=2)
        assert replay(stack, "--to-earliest", "--yes")["partitions_moved"] == PARTITIONS - 1
        worked(stack)
        assert stack.bills() == bills
        stack.verify()


def test_a_recomputation_publishes_what_changed_and_no_more(fresh_broker: Broker, tmp_path: Path) -> None:
    old = list_teams(tmp_path / "old.toml", {"team_one": "org_a", "team_two": "org_a", "team_three": "org_b"})
    new = list_teams(tmp_path / "new.toml", {"team_one": "org_c", "team_two": "org_a", "team_three": "org_b"})
    with cluster(fresh_broker, tmp_path) as stack:
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


def test_a_wrong_row_in_the_changelog_is_put_right(fresh_broker: Broker, tmp_path: Path) -> None:
    with cluster(fresh_broker, tmp_path) as stack:
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
        assert stack.verify().revisions > 0
        worked(stack)
        stack.verify()
