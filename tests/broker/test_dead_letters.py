"""What was refused is found, put right and sent again, and counts once: the whole way, with the real command."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import forked
import pytest
import usage_log
from workers import Cluster, Sent, cluster, counted

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import wall_ms
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.log.reader import read
from streamapp.kafka.producer import EventRefused, UsageProducer
from streamapp.kafka.provision import apply
from streamapp.topics.partitioner import partition_for
from streamapp.topics.registry import TOPICS

HOUR_MS = 3_600_000
FIX = [{"op": "replace", "path": "/data/total_tokens", "value": 15}]


def start(stack: Cluster, *words: str, **settings: str) -> subprocess.Popen[bytes]:
    """`streamapp dead-letters …` against the cluster."""
    environment = {**os.environ, "STREAM_KAFKA__BOOTSTRAP_SERVERS": stack.broker.bootstrap, **settings}
    command = [sys.executable, "-m", "streamapp", "dead-letters", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(stack: Cluster, *words: str, code: int = 0, **settings: str) -> bytes:
    """The same to its end; its standard output. `code` is its exit code."""
    settings = {"STREAM_KAFKA__BOOTSTRAP_SERVERS": stack.broker.bootstrap, **settings}
    ran = forked.command("dead-letters", *words, environment=settings)
    assert ran.returncode == code, ran
    return ran.stdout.encode()


def listed(stack: Cluster, *words: str) -> list[dict[str, Any]]:
    made = json.loads(run(stack, "list", "--json", "--limit", "10000", *words))
    assert made["matching"] == len(made["letters"])
    found: list[dict[str, Any]] = made["letters"]
    return found


def usage(number: int, team: str = "team_a", **facts: Any) -> bytes:
    at_ms = (wall_ms() // HOUR_MS - 3) * HOUR_MS + number
    return usage_log.value(f"evt_{number}", at_ms, team, **facts)


def wrong_total(value: bytes) -> bytes:
    return value.replace(b'"total_tokens":15', b'"total_tokens":9')


def sent_again(stack: Cluster) -> Counter[str]:
    """Letter → how often its record stands in the usage topic."""
    config = {"bootstrap.servers": stack.broker.bootstrap}
    headers = (dict(record.headers) for record in read(config, "llm_usage", headers=True))
    return Counter((found["hanzo-letter"] or b"").decode() for found in headers if "hanzo-letter" in found)


def drain(stack: Cluster, worker: WorkerProcess) -> None:
    """Wait until every record is committed. A partition may end in the marker of a transaction, which nobody gets."""
    ends = {record.partition: record.offset + 1 for record in stack.read("llm_usage")}

    def done() -> bool:
        committed = stack.committed()
        return all(committed.get(partition, 0) >= end for partition, end in ends.items())

    stack.wait(done, 60, worker)


def requests(stack: Cluster) -> dict[str, int]:
    """Team → requests on its newest bills."""
    totals: Counter[str] = Counter()
    for (team, _, _), (_, count) in counted(stack.bills()).items():
        totals[team] += count
    return dict(totals)


def receipts(path: Path) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, path.read_text().splitlines()) if "letter" in line]


def poison(count: int) -> Iterable[Sent]:
    """One broken text, and `count` of each: a wrong total, a foreign key, a team that the directory does not know."""
    yield Sent(b"team_a", b'{"token": "hunter2secret", broken')
    for number in range(count):
        yield Sent(b"team_a", wrong_total(usage(1000 + number)))
        yield Sent(b"somebody", usage(2000 + number))
        yield Sent(b"team_listed", usage(3000 + number, "team_listed", org=None))


def test_the_refused_are_put_right_sent_again_and_billed_once(ready_broker: Broker, tmp_path: Path) -> None:
    count = 20
    directory, patch, receipt = tmp_path / "teams.toml", tmp_path / "patch.json", tmp_path / "receipts"
    directory.write_text("")
    patch.write_text(json.dumps(FIX))
    with cluster(ready_broker, tmp_path) as stack:
        worker = stack.start_ready(billing__idle_seconds=1, directory=directory)
        stack.send(Sent(b"team_a", usage(number)) for number in range(100))
        stack.send(poison(count))
        drain(stack, worker)
        assert Counter(letter.reason for letter in stack.letters()) == {
            "malformed_json": 1, "tokens_mismatch": count, "wrong_partition": count, "org_unresolved": count,
        }  # fmt: skip
        stack.verify()

        before = stack.ends()
        assert f"{3 * count + 1} records to send" not in run(stack, "redrive", "--dry-run").decode()
        assert stack.ends() == before

        plain = run(stack, "redrive", "--dry-run", "--reason", "tokens_mismatch", code=1).decode()
        assert "would be refused again: tokens_mismatch" in plain
        assert "0 records to send" in plain

        again = ("redrive", "--yes", "--receipt", str(receipt))
        run(stack, *again, "--reason", "tokens_mismatch", "--patch", str(patch))
        run(stack, *again, "--reason", "wrong_partition")
        assert "0 records to send" in run(stack, *again, "--reason", "org_unresolved", code=1).decode()
        directory.write_text('[teams.team_listed]\norg = "org_listed"\n')
        run(stack, *again, "--reason", "org_unresolved", STREAM_DIRECTORY=str(directory))

        (broken,) = listed(stack, "--reason", "malformed_json")
        raw = run(stack, "show", broken["id"], "--raw")
        assert raw == b'{"token": "hunter2secret", broken'
        assert b"hunter2secret" not in run(stack, "show", broken["id"])
        whole = tmp_path / "whole.json"
        whole.write_bytes(usage(4000))
        run(stack, *again, broken["id"], "--value", str(whole))

        drain(stack, worker)
        assert stack.letters()[3 * count + 1 :] == []
        assert listed(stack) == []
        told = receipts(receipt)
        assert sent_again(stack) == Counter(one["letter"] for one in told)
        assert len(told) == 3 * count + 1
        for one in told:
            home = b"team_listed" if one["partition"] == partition_for(b"team_listed", 8) else b"team_a"
            assert one["partition"] == partition_for(home, 8)
        stack.wait(lambda: requests(stack) == {"team_a": 101 + 2 * count, "team_listed": count}, 60, worker)
        assert stack.verify(directory).numbers["redriven"] == 3 * count + 1

        assert "0 records to send" in run(stack, *again, "--patch", str(patch)).decode()
        assert len(receipts(receipt)) == 3 * count + 1


def newest_totals(stack: Cluster) -> dict[tuple[str, ...], tuple[Any, Any]]:
    """Bucket → totals and lines of its newest bill."""
    newest: dict[tuple[str, ...], dict[str, Any]] = {}
    for bill in (json.loads(bill) for bill in stack.bills()):
        data = bill["data"]
        bucket = (bill["org_id"], data["team_id"], data["currency"], data["period_start"])
        if bucket not in newest or newest[bucket]["revision"] < data["revision"]:
            newest[bucket] = data
    return {bucket: (data["totals"], data["lines"]) for bucket, data in newest.items()}


@pytest.mark.long
def test_bills_after_a_redrive_equal_those_of_a_run_that_never_failed(
    new_broker: Callable[[Path], Broker], formatted: Path, tmp_path: Path
) -> None:
    count = 10_000
    teams = [f"team_{number % 7}" for number in range(count)]
    events = [usage(number, team, cost=f"0.00{number}") for number, team in enumerate(teams)]
    good = [Sent(team.encode(), event) for team, event in zip(teams, events, strict=True)]

    def refused(number: int) -> Sent:
        if number % 3 == 0:
            return Sent(teams[number].encode(), wrong_total(events[number]))
        if number % 3 == 1:
            return Sent(b"somebody", events[number])
        return Sent(teams[number].encode(), events[number].replace(b'"org_id":"org_a"', b'"org_id":null'))

    def run_of(name: str, records: Iterable[Sent]) -> dict[tuple[str, ...], tuple[Any, Any]]:
        broker, folder = new_broker(formatted), tmp_path / name
        broker.start()
        folder.mkdir()
        directory, patch = folder / "teams.toml", folder / "patch.json"
        directory.write_text("")
        patch.write_text(json.dumps(FIX))
        with cluster(broker, folder) as stack:
            worker = stack.start_ready(billing__idle_seconds=1, directory=directory)
            stack.send(records)
            drain(stack, worker)
            letters = len(stack.letters())
            directory.write_text("".join(f'[teams.{team}]\norg = "org_a"\n' for team in sorted({*teams})))
            run(stack, "redrive", "--yes", "--reason", "tokens_mismatch", "--patch", str(patch))
            run(stack, "redrive", "--yes", STREAM_DIRECTORY=str(directory))
            drain(stack, worker)
            stack.wait(lambda: sum(requests(stack).values()) == count, 60, worker)
            assert stack.verify(directory).numbers["redriven"] == letters
            assert letters == (0 if records is good else count)
            return newest_totals(stack)

    assert run_of("failed", [refused(number) for number in range(count)]) == run_of("never", good)


@pytest.mark.long
def test_a_redrive_that_is_killed_goes_on_where_it_was(ready_broker: Broker, tmp_path: Path) -> None:
    count = 300
    patch = tmp_path / "patch.json"
    patch.write_text(json.dumps(FIX))
    with cluster(ready_broker, tmp_path) as stack:
        worker = stack.start_ready(billing__idle_seconds=1)
        stack.send(Sent(b"team_a", wrong_total(usage(number))) for number in range(count))
        drain(stack, worker)
        assert len(stack.letters()) == count
        process = start(stack, "redrive", "--yes", "--patch", str(patch), "--rate", "60")
        try:
            stack.wait(lambda: sent_again(stack).total() >= 60, 60, worker)
        finally:
            process.kill()
            process.communicate()
        done = sent_again(stack)
        assert 60 <= done.total() < count
        run(stack, "redrive", "--yes", "--patch", str(patch))
        drain(stack, worker)
        sent = sent_again(stack)
        assert set(sent.values()) == {1}
        assert len(sent) == count
        stack.wait(lambda: requests(stack) == {"team_a": count}, 60, worker)
        assert stack.verify().numbers["redriven"] == count


@pytest.mark.long
def test_what_was_refused_too_often_or_dropped_is_left_alone(ready_broker: Broker, tmp_path: Path) -> None:
    directory = tmp_path / "teams.toml"
    directory.write_text('[teams.team_listed]\norg = "org_listed"\n')
    with cluster(ready_broker, tmp_path) as stack:
        worker = stack.start_ready(billing__idle_seconds=1)
        stack.send([Sent(b"team_listed", usage(1, "team_listed", org=None)), Sent(b"team_a", b"x anna@example.com")])
        drain(stack, worker)
        for attempt in (2, 3):
            # The command knows the team, the worker does not.
            run(stack, "redrive", "--yes", "--reason", "org_unresolved", STREAM_DIRECTORY=str(directory))
            drain(stack, worker)
            (waiting,) = listed(stack, "--reason", "org_unresolved")
            assert waiting["attempt"] == attempt
        known = {"STREAM_DIRECTORY": str(directory)}
        limited = ("redrive", "--yes", "--max-attempts", "3", "--reason", "org_unresolved")
        plan = run(stack, *limited, code=1, **known).decode()
        assert "it was refused 3 times or more" in plan
        assert "0 records to send" in plan

        (broken,) = listed(stack, "--reason", "malformed_json")
        run(stack, "drop", "--yes", "--because", "a test of ours", broken["id"])
        (dropped,) = listed(stack, "--state", "dropped")
        assert (dropped["id"], dropped["dropped_because"]) == (broken["id"], "a test of ours")
        assert "it was dropped" in run(stack, "redrive", "--yes", broken["id"]).decode()
        run(stack, "drop", "--yes", "--undo", broken["id"])
        assert listed(stack, "--state", "dropped") == []
        assert {one["id"] for one in listed(stack)} == {broken["id"], waiting["id"]}
        stats = json.loads(run(stack, "stats", "--json"))
        assert stats["total"] == 2
        assert sum(stats["hours"].values()) == 2
        assert {(one["topic"], one["by"], one["reason"]) for one in stats["reasons"]} == {
            ("llm_usage", "billing-agg", "org_unresolved"),
            ("llm_usage", "billing-agg", "malformed_json"),
        }
        for words in (("list", "--state", "all"), ("stats",), ("show", broken["id"])):
            assert b"example.com" not in run(stack, *words)
        stack.verify()


def test_an_event_that_was_counted_before_is_not_counted_again(ready_broker: Broker, tmp_path: Path) -> None:
    good = usage(1)
    with cluster(ready_broker, tmp_path) as stack:
        worker = stack.start_ready(billing__idle_seconds=1)
        elsewhere = (partition_for(b"team_a", 8) + 1) % 8
        stack.send([Sent(b"team_a", good), Sent(b"team_a", good, elsewhere)])
        drain(stack, worker)
        assert [letter.reason for letter in stack.letters()] == ["wrong_partition"]
        (told,) = run(stack, "redrive", "--yes", "--receipt", "-").splitlines()
        assert json.loads(told)["partition"] == partition_for(b"team_a", 8)
        drain(stack, worker)
        stack.wait(lambda: requests(stack) == {"team_a": 1}, 60, worker)
        report = stack.verify()
        assert (report.numbers["redriven"], report.numbers["duplicates"], report.numbers["accepted"]) == (1, 1, 1)


def test_without_dead_letter_a_worker_stops_and_drops_nothing(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        worker = stack.start_ready(kafka__delivery_timeout_seconds=5)
        stack.send([Sent(b"team_a", usage(1))])
        drain(stack, worker)
        done = stack.done()
        client = AdminClient({"bootstrap.servers": ready_broker.bootstrap, "log_level": 0})
        client.delete_topics(["dead_letter"])["dead_letter"].result(timeout=30)
        stack.wait(lambda: "dead_letter" not in stack.admin.topics())
        stack.send([Sent(b"team_a", b"broken"), Sent(b"team_a", usage(2))])
        stack.wait(lambda: not worker.runs, 90)
        assert worker.exit_code != 0
        assert stack.done() == done

        apply(stack.admin, TOPICS, 1)
        again = stack.start_ready(billing__idle_seconds=1)
        drain(stack, again)
        assert [(letter.reason, letter.value) for letter in stack.letters()] == [("malformed_json", b"broken")]
        stack.wait(lambda: requests(stack) == {"team_a": 2}, 60, again)
        stack.verify()


@pytest.mark.long
def test_what_a_producer_refuses_is_a_letter_before_its_caller_is_told(ready_broker: Broker, tmp_path: Path) -> None:
    data = {"model": "zen", "provider": "together", "prompt_tokens": 10, "completion_tokens": 5, "cost_usd": "0.001"}
    patch = tmp_path / "patch.json"
    patch.write_text(json.dumps(FIX))
    with cluster(ready_broker, tmp_path) as stack:
        worker = stack.start_ready(billing__idle_seconds=1)
        at_ms = (wall_ms() // HOUR_MS - 3) * HOUR_MS

        async def send() -> int:
            async with UsageProducer(stack.kafka, source="llm-gateway") as producer:
                facts = {"team_id": "team_a", "org_id": "org_a", "at_ms": at_ms, "data": {**data, "total_tokens": 9}}
                with pytest.raises(EventRefused, match="tokens_mismatch"):
                    await producer.send(**facts)
                with pytest.raises(EventRefused, match="tokens_mismatch"):
                    await producer.enqueue(**facts)
                return len(stack.read("dead_letter"))

        assert asyncio.run(send()) == 2
        one, two = listed(stack, "--group", "llm-gateway")
        assert (one["partition"], one["offset"]) == (None, None)
        assert one["id"] != two["id"]
        run(stack, "redrive", "--yes", "--patch", str(patch))
        drain(stack, worker)
        stack.wait(lambda: requests(stack) == {"team_a": 2}, 60, worker)
        assert stack.verify().numbers["redriven"] == 2
