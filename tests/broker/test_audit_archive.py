"""audit-archive on a real broker: nothing lost and nothing twice, whatever happens to it or to the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import BEGIN_MS, Trail, assert_each_once, audit_event, lines, objects, org

from streamapp.clock import monotonic_s
from streamapp.kafka.broker import Broker


@pytest.fixture
def trail(fresh_broker: Broker, tmp_path: Path) -> Iterator[Trail]:
    made = Trail(fresh_broker, tmp_path)
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
        "date=2025-01-15",
        f"{0:020d}-{1:020d}.jsonl.zst",
    )
    assert (path.parent / "manifest.json").exists()
    trail.wait(lambda: 'reason="malformed_json"} 1.0' in trail.metrics(worker), worker)
    assert 'stream_events_accepted_total{group="audit-archive"} 1.0' in trail.metrics(worker)
