"""docs/sending.md is true: its examples are events that are taken, its programs send to the partition of their key."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import zlib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from bare import bare
from foreign_producers import go, typescript

from streamapp.broker.broker import Broker
from streamapp.contract.kit import write
from streamapp.kafka.log.reader import Record, read
from streamapp.schemas.catalog import CATALOG, JUDGES
from streamapp.schemas.judging.rejected import Rejected
from streamapp.schemas.values.strict_json import parse
from streamapp.topics import registry
from streamapp.topics.partitioner import partition_for

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "sending.md").read_text()
KCAT, TEAM = "kcat -P ", b"team_abc123"
RUN_S = 60


def blocks(language: str) -> list[str]:
    return [str(found) for found in re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)]


def examples() -> dict[str, str]:
    """Topic → the text of its first example."""
    topics = {entry.event_type: entry.topic for entry in CATALOG}
    found: dict[str, str] = {}
    for text in blocks("json"):
        found.setdefault(topics.get(parse(text.encode())[0]["type"], "audit_log"), text)
    return found


def key_of(topic: str, event: Mapping[str, Any]) -> bytes:
    name = registry.topic(topic).key
    return str(event.get(name) or event["data"][name]).encode()


def ran(command: list[str], kafka: str, folder: Path) -> str:
    environment = os.environ | {"KAFKA_BOOTSTRAP": kafka, "STREAM_KAFKA__BOOTSTRAP_SERVERS": kafka}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def records(broker: Broker, topic: str) -> list[Record]:
    return list(read({"bootstrap.servers": broker.bootstrap}, topic))


def test_each_topic_of_events_has_an_example_that_is_taken() -> None:
    assert examples().keys() == {topic.name for topic in registry.EVENT_TOPICS}
    for text in blocks("json"):
        event, problems = parse(text.encode())
        entry = next((one for one in CATALOG if one.event_type == event["type"]), None)
        model = next(one.model for one in CATALOG if one.family) if entry is None else entry.model
        model.model_validate(event)
        assert not problems
    for topic, judge in JUDGES.items():
        assert not isinstance(judge(examples()[topic].encode()), Rejected), topic


def test_the_key_and_the_user_of_each_topic_are_those_of_the_registry() -> None:
    lines = re.findall(r"^\| `(\w+)` \| `(?:data\.)?(\w+)` \| .* \| `([\w-]+)`(?:, .*)? \|$", GUIDE, re.MULTILINE)
    sent = [topic for topic in registry.EVENT_TOPICS if topic.name in JUDGES]
    assert sorted(lines) == sorted((topic.name, topic.key, topic.producers[0]) for topic in sent)


def test_a_partitioner_that_is_not_murmur2_would_be_seen() -> None:
    partitions = registry.topic("llm_usage").partitions
    assert zlib.crc32(TEAM) % partitions != partition_for(TEAM, partitions), "librdkafka's own default"


@pytest.fixture
def senders(cache_dir: Path, tmp_path: Path) -> dict[str, list[str]]:
    """Language → the command that sends one event of usage."""
    ours = f"import runpy; runpy.run_path({str(DOCS / 'send_usage.py')!r}, run_name='__main__')"
    write(tmp_path / "contract")
    for folder in re.findall(r"^\(cd (\S+) && ", GUIDE, re.MULTILINE):
        assert list((tmp_path / folder).iterdir()), folder
    return {
        "kcat": ["bash", "-ec", blocks("sh")[0].replace("export KAFKA_BOOTSTRAP=", "# ")],
        "UsageProducer, of the base dependencies alone": bare(ours),
        "typescript": typescript(tmp_path / "contract", cache_dir),
        "go": go(tmp_path / "contract", cache_dir),
    }


def test_every_program_sends_an_event_to_the_partition_of_its_team(
    ready_broker: Broker, senders: dict[str, list[str]], tmp_path: Path
) -> None:
    partitions = registry.topic("llm_usage").partitions
    home = partition_for(TEAM, partitions)
    for number, (language, command) in enumerate(senders.items()):
        ran(command, ready_broker.bootstrap, tmp_path)
        found = sorted(records(ready_broker, "llm_usage"), key=lambda record: record.offset)
        assert [(record.partition, record.key) for record in found] == [(home, TEAM)] * (number + 1), language
        assert not isinstance(JUDGES["llm_usage"](found[-1].value), Rejected), language
        assert parse(found[-1].value or b"")[0]["data"]["cost_usd"] == Decimal("0.0038"), language
    assert len({parse(record.value or b"")[0]["id"] for record in found}) == len(senders)

    (line,) = [line for line in blocks("sh")[0].splitlines() if line.startswith(KCAT)]
    for topic in JUDGES.keys() - {"llm_usage"}:
        text = examples()[topic]
        key = key_of(topic, parse(text.encode())[0])
        (tmp_path / "event.json").write_text(text)
        words = shlex.split(line.replace("$KAFKA_BOOTSTRAP", ready_broker.bootstrap))
        words[words.index("-t") + 1], words[words.index("-k") + 1] = topic, key.decode()
        ran(words, ready_broker.bootstrap, tmp_path)
        (record,) = records(ready_broker, topic)
        assert (record.key, record.value) == (key, text.encode())
        assert record.partition == partition_for(key, registry.topic(topic).partitions)
