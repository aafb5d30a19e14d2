"""audit-archive on a real broker: nothing lost and nothing twice, whatever happens to it or to the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import zstandard
from archives import AGENT, BEGIN_MS, PARTITIONS, Trail, assert_each_once, audit_event, lines, objects, org
from click.testing import CliRunner
from conftest import wait_until
from real_s3 import S3

from streamapp import settings as settings_module
from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.cli.checks.archive import command
from streamapp.clock import monotonic_s
from streamapp.schemas.values.timestamp import format_ms
from streamapp.topics.partitioner import partition_for
from streamapp.verify.copies.audit_archive import PAIR

PLANTED = Path(__file__).parent / "planted"


@pytest.fixture
def trail(ready_broker: Broker, tmp_path: Path) -> Iterator[Trail]:
    made = Trail(ready_broker, tmp_path)
    yield made
    made.end()


def test_killed_in_the_middle_and_joined_by_a_second_each_record_is_there_once(trail: Trail) -> None:
    root = trail.folder / "archive"
    trail.send(range(3000))
    first = trail.start()
    trail.wait(lambda: len(objects(root)) >= 3, first)
    first.kill()
    trail.send(range(3000, 4000))
    first = trail.start_ready()
    second = trail.start(state="state-2")
    trail.send(range(4000, 6000))
    trail.wait(second.takeovers, first, second)
    trail.drain(first, second)
    assert_each_once(root, range(6000))
    assert first.stop() == 0
    trail.send(range(6000, 6100))
    trail.drain(second)
    assert_each_once(root, range(6100))
    report = PAIR.check(trail.settings)
    assert (report.events, report.difference, report.waiting) == (6100, 0, 0), report.as_json()


@pytest.mark.long
def test_what_was_fetched_before_the_first_commit_is_fetched_again_when_others_join(trail: Trail) -> None:
    """A partition that nobody has committed begins at its start, also on the worker that keeps it in a rebalance: what
    its client has fetched meanwhile was dropped."""
    a_batch = 2000  # of each partition: nothing is committed before all is sent
    several = {
        "archive__flush_records": str(a_batch),
        "archive__flush_seconds": "100000",
        "worker__chunk_linger_ms": "0",
    }
    homes = {partition_for(org(number).encode(), PARTITIONS): number for number in range(20)}
    assert len(homes) == PARTITIONS
    rounds = [[home + 20 * each for home in homes.values()] for each in range(a_batch)]
    left = iter(rounds)
    first = trail.start("slow_archive", PLANTED, "state", **several)
    trail.wait(first.takeovers, first)
    second = trail.start(AGENT, None, "state-2", **several)

    def shared() -> bool:
        trail.send(next(left, ()))
        return [len(one.takeovers()[-1][0]) for one in (first, second) if one.takeovers()] == [2, 2]

    trail.wait(shared, first, second)
    assert trail.done() == 0
    trail.send(chain.from_iterable(left))
    trail.wait(lambda: trail.done() == trail.sent, first, second, timeout_s=30)
    assert_each_once(trail.folder / "archive", chain.from_iterable(rounds))


@pytest.mark.long
def test_one_event_and_silence_is_archived_within_the_flush_time(trail: Trail) -> None:
    worker = trail.start_ready(archive__flush_seconds="1", archive__flush_records="1000")
    trail.put(audit_event(7, password="hunter2", nested={"api_key": "abc"}), org(7), headers=[("trace", b"t1")])
    began_s = monotonic_s()
    trail.put(b"no json", org(7))
    trail.drain(worker)
    assert monotonic_s() - began_s < 10
    (line,) = lines(trail.folder / "archive")
    assert line["event"]["data"]["password"] == "[masked]"
    assert line["event"]["data"]["nested"] == {"api_key": "[masked]"}
    assert (line["key"], line["timestamp_ms"], line["offset"]) == (org(7), BEGIN_MS, 0)
    assert line["headers"] == [{"key": "trace", "value_b64": "dDE="}]
    (path,) = objects(trail.folder / "archive")
    assert path.relative_to(trail.folder / "archive").parts[2:] == (
        f"date={format_ms(BEGIN_MS)[:10]}",
        f"{0:020d}-{1:020d}.jsonl.zst",
    )
    assert (path.parent / "manifest.json").exists()
    trail.wait(lambda: 'reason="malformed_json"} 1.0' in trail.metrics(worker), worker)
    assert 'stream_events_accepted_total{group="audit-archive"} 1.0' in trail.metrics(worker)


@pytest.mark.long
def test_killed_between_the_write_and_the_commit_the_next_owner_finds_it_done(trail: Trail) -> None:
    root = trail.folder / "archive"
    trail.send(range(1000))
    for step in ("object", "entry", "manifest"):
        worker = trail.start(agent="ended_archive", code=PLANTED, ENDED_BEHIND=step)
        wait_until(worker.exited.is_set, 60)
        assert worker.exit_code == 9, worker.said()[-2000:]
    worker = trail.start_ready()
    trail.drain(worker)
    assert_each_once(root, range(1000))
    assert PAIR.check(trail.settings).difference == 0


@pytest.mark.long
def test_who_was_frozen_in_front_of_a_promised_object_learns_that_the_partition_is_anothers(trail: Trail) -> None:
    """Its successor wrote the object and one more. To a new chain those look like a stranger's; advice about them would
    break the archive."""
    root, of_one_org = trail.folder / "archive", range(0, 8000, 20)
    trail.send(of_one_org[:200])
    frozen = trail.start("frozen_archive", PLANTED)
    trail.wait(lambda: _is_stopped(frozen), frozen)
    assert objects(root) == []
    successor = trail.start(state="state-2")
    trail.drain(successor)
    trail.send(of_one_org[200:])
    trail.drain(successor)
    assert len(objects(root)) >= 2
    frozen.thaw()
    wait_until(frozen.exited.is_set, 60)
    assert frozen.exit_code == 69, frozen.said()[-2000:]
    assert "another owner took the partition" in frozen.said()
    assert "empty prefix" not in frozen.said()
    assert_each_once(root, of_one_org)
    assert PAIR.check(trail.settings).difference == 0


def _is_stopped(worker: WorkerProcess) -> bool:
    """Whether SIGSTOP has frozen it."""
    return Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.long
def test_a_store_that_is_away_is_asked_again_and_lag_grows_meanwhile(
    ready_broker: Broker, tmp_path: Path, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = Trail(ready_broker, tmp_path, s3.settings())
    try:
        worker = trail.start_ready()
        trail.send(range(500))
        trail.drain(worker)
        s3.stop()
        trail.send(range(500, 3000))
        trail.wait(lambda: "stands still: the archive does not answer" in worker.said(), worker)
        trail.wait(lambda: "} 1.0" in _samples(trail, worker, "stream_sink_failing"), worker)
        before = trail.done()
        worker.kill()
        worker = trail.start_ready()
        trail.wait(lambda: "stands still" in worker.said(), worker)
        assert trail.done() == before < trail.sent
        s3.start()
        trail.drain(worker)
        assert_each_once(s3.bucket / "trail", range(3000))
        trail.wait(lambda: "} 1.0" not in _samples(trail, worker, "stream_sink_failing"), worker)
        _read_it_back(trail, s3, monkeypatch)
        s3.secret = "changed"
        s3.stop()
        s3.start()
        trail.send(range(3000, 3400))
        trail.wait(lambda: not worker.runs)
        assert worker.exit_code == 78
        assert "check STREAM_ARCHIVE__ACCESS_KEY_ID" in worker.said()
    finally:
        trail.end()
        settings_module.current.cache_clear()


def _samples(trail: Trail, worker: WorkerProcess, name: str) -> str:
    """A metric's samples, of every partition."""
    return "\n".join(line for line in trail.metrics(worker).splitlines() if line.startswith(f"{name}{{"))


def _read_it_back(trail: Trail, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a person does, with the commands; then with a record edited, doubled and gone."""
    for name, value in trail.environment().items():
        monkeypatch.setenv(name, value)
    settings_module.current.cache_clear()
    run = CliRunner().invoke
    whole = run(command, ["verify", "--json"])
    assert whole.exit_code == 0, whole.output
    report = json.loads(whole.stdout)
    assert (report["records"], report["log"]["events"], report["log"]["difference"]) == (3000, 3000, 0)
    since, until = (format_ms(BEGIN_MS + number) for number in (1000, 2000))
    cat = run(command, ["cat", "--org", org(3), "--since", since, "--until", until])
    told = [json.loads(line)["event"]["id"] for line in cat.stdout.splitlines()]
    assert told == [f"evt_{number:026d}" for number in range(1000, 2000) if org(number) == org(3)]
    assert run(command, ["cat", "--type", "kms", "--count"]).stdout.split() == ["1000"]
    assert json.loads(run(command, ["ls", "--json"]).stdout)["records"] == 3000
    victim = objects(s3.bucket)[-1]
    kept = victim.read_bytes()
    text = zstandard.ZstdDecompressor().decompressobj().decompress(kept).splitlines(keepends=True)
    for edited in (text[:-1], [*text, text[-1]], [*text[:-1], text[-1].replace(b"someone", b"nobody!")]):
        victim.write_bytes(zstandard.ZstdCompressor().compress(b"".join(edited)))
        found = run(command, ["verify"])
        assert found.exit_code == 1, found.output
        assert "The archive is not whole." in found.output
    victim.unlink()
    assert run(command, ["verify", "--no-kafka"]).exit_code == 1
    victim.write_bytes(kept)
    assert run(command, ["verify"]).exit_code == 0
