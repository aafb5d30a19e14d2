"""audit-archive beside a bare loop that compresses and puts: the same records, store, level and size of objects."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from bench.contender import Contender, Records, Run
from bench.contenders import ours_environment
from bench.events import Event, Shape
from bench.groups.group import GroupBench, ours
from bench.load import RECORDS_PER_STEP, ROOM, Prepared, Step, broker, producer
from bench.oracle import Answer
from streamapp.kafka.admin import Admin
from streamapp.kafka.provision import apply
from streamapp.kafka.train import train
from streamapp.schemas.timestamp import format_ms
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import TOPICS, changelog, topic

GROUP, SOURCE, RAW = "audit-archive", "audit_log", "archive-raw"
COUNTS = "dead_letter"  # where the bare loop says what it has put: nobody else writes there in a run
BEGIN_MS = 1_736_937_120_000
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"
HERE = Path(__file__).parent


def events(shape: Shape) -> Iterator[Event]:
    """Sign-ins of many users, as in the standard's sample."""
    for number in range(shape.events):
        org, at_ms = f"org_{number * 7919 % shape.teams}", BEGIN_MS + number * 10
        envelope = {
            "schema": "hanzo.stream.v1", "id": f"evt_{number:026d}", "type": "iam.auth.login_success", "source": "iam",
            "timestamp": format_ms(at_ms), "org_id": org,
            "data": {
                "user_id": f"user_{number * 104729 % 50_000}", "email": f"user{number % 9973}@example.com",
                "method": "oauth2", "provider": "github", "ip": f"203.0.113.{number % 251}", "user_agent": AGENT,
                "application": f"app-{number % 13}",
            },
        }  # fmt: skip
        yield Event(org, at_ms, json.dumps(envelope))


def prepared(shape: Shape, step: Step) -> Prepared:
    """The topic with the records; the right answer is how many each partition has."""
    template = ROOM / shape.name / "audit"
    counts = template.with_suffix(".json")
    if not counts.exists():
        train(ROOM.parent)
        with broker(template) as running:
            kafka = KafkaSettings(bootstrap_servers=running.bootstrap)
            apply(Admin(kafka), TOPICS, 1)
            client = producer(running.bootstrap)
            for number, event in enumerate(events(shape)):
                if number % RECORDS_PER_STEP == 0:
                    step("loading", number, shape.events)
                    client.flush()
                client.produce(SOURCE, event.value, event.key, timestamp=event.at_ms)
                client.poll(0)
            client.flush()
            numbers = range(topic(SOURCE).partitions)
            ends = Admin(kafka).end_offsets([(SOURCE, number) for number in numbers])
            counts.write_text(json.dumps({number: ends[SOURCE, number] for number in numbers}))
    expected: Answer = {(int(number),): count for number, count in json.loads(counts.read_text()).items()}
    return Prepared(shape, template, expected, SOURCE, topic(SOURCE).partitions)


def archived(records: Records) -> Answer:
    """The extents of every batch that was committed, added up."""
    counts: dict[tuple[int], int] = {}
    for record in records(changelog(GROUP, "archive")):
        if record.key == b"b" and record.value is not None:
            (_, _, count), _ = msgspec.msgpack.decode(record.value)
            counts[record.partition,] = counts.get((record.partition,), 0) + count
    return dict(counts)


def put(records: Records) -> Answer:
    """What the bare loop says of itself."""
    counts: dict[tuple[int], int] = {}
    for record in records(COUNTS):
        key = (int(record.key or b""),)
        counts[key] = counts.get(key, 0) + int(record.value or b"")
    return dict(counts)


def _environment(run: Run) -> Mapping[str, str]:
    return {**ours_environment(run), "STREAM_ARCHIVE__FLUSH_SECONDS": "5"}


def _ours() -> Contender:
    return ours(GROUP, "streamapp.agents.audit_archive", "checked, masked, chained, each record once", archived)


AUDIT_ARCHIVE = GroupBench(
    GROUP,
    prepared,
    (
        _ours(),
        Contender(
            name="raw",
            what="records as they are, compressed and put; offsets committed afterwards",
            prepare=lambda: None,
            commands=lambda run: ((sys.executable, str(HERE / "archive_raw.py")),),
            group=RAW,
            answer=put,
            environment=_environment,
        ),
    ),
)
