"""`streamapp dead-letters redrive` and `drop` with each of their options; a file of receipts that a run left open."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import forked
import pytest
import usage_log
from confluent_kafka import Producer

from streamapp.broker.broker import Broker
from streamapp.clock import wall_ms
from streamapp.dead_letters.done import read_done
from streamapp.dead_letters.read import Letter, extent
from streamapp.dead_letters.read import letters as letters_of
from streamapp.kafka.admin import Admin
from streamapp.kafka.log.reader import Record, read
from streamapp.kafka.provision import apply
from streamapp.schemas.judging.letter import Refused, letter
from streamapp.schemas.judging.rejected import Reason
from streamapp.schemas.values.timestamp import format_ms
from streamapp.settings import KafkaSettings
from streamapp.topics.partitioner import partition_for
from streamapp.topics.registry import TOPICS

MINUTE_MS = 60_000
BEGAN_MS = wall_ms() // MINUTE_MS * MINUTE_MS - 3 * 60 * MINUTE_MS


class Letters:
    """A broker with dead letters, one a minute, of two teams in turn; and the command."""

    def __init__(self, broker: Broker) -> None:
        self.config = {"bootstrap.servers": broker.bootstrap}
        self._environment = {**os.environ, "STREAM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap}
        apply(Admin(KafkaSettings(bootstrap_servers=broker.bootstrap)), TOPICS, 1)

    def add(self, numbers: Iterable[int], name: str | None = None) -> None:
        producer = Producer({**self.config, "log_level": 0})
        for number in numbers:
            at_ms, team = minute(number), f"team_{'ab'[number % 2]}"
            refused = Refused(
                topic="llm_usage", partition=partition_for(team.encode(), 8), offset=number, group="billing-agg",
                reason=Reason.TOKENS_MISMATCH, error="it does not add up", key=team.encode(),
                value=usage_log.value(name or f"evt_{number}", at_ms, team), timestamp_ms=at_ms,
            )  # fmt: skip
            made = letter(refused, at_ms)
            producer.produce("dead_letter", made.value, made.key)
        assert producer.flush(30) == 0

    def run(self, *words: str, before: Callable[[], None] | None = None, code: int = 0) -> str:
        """`streamapp dead-letters …`; what it printed."""
        if before is None:
            forked_one = forked.command("dead-letters", *words, environment=self._environment)
            assert forked_one.returncode == code, forked_one
            return forked_one.stdout + forked_one.stderr
        command = [sys.executable, "-m", "streamapp", "dead-letters", *words]
        ran = subprocess.run(
            command,
            env=self._environment,
            preexec_fn=before,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        assert ran.returncode == code, ran.stdout.decode()
        return ran.stdout.decode()

    def listed(self, state: str) -> list[int]:
        """The numbers of the dead letters in a state."""
        done = read_done(self.config)
        there = (one for one in letters_of(self.config, extent(self.config)) if isinstance(one, Letter))
        return sorted(one.offset or 0 for one in there if done.state(one) == state)

    def sent(self) -> list[Record]:
        """The records that were sent again, oldest first."""
        return sorted(read(self.config, "llm_usage"), key=lambda record: (record.timestamp_ms, record.offset))


def minute(number: int) -> int:
    return BEGAN_MS + number * MINUTE_MS


def number_of(record: Record) -> int:
    return int(json.loads(record.value or b"")["id"].removeprefix("evt_"))


def test_each_option_means_what_it_says(ready_broker: Broker) -> None:
    letters = Letters(ready_broker)
    letters.add(range(12))
    middle = ("--since", format_ms(minute(1)), "--until", format_ms(minute(9)))

    plan = letters.run("redrive", "--dry-run", "--team", "team_a", *middle, "--limit", "3")
    assert "3 records to send" in plan
    told = json.loads(letters.run("redrive", "--dry-run", "--json", "--team", "team_a", *middle, "--limit", "3"))
    assert (told["records"], told["sent"], [one["count"] for one in told["sends"]]) == (3, 0, [3])
    assert "4 dead letters to drop" in letters.run(
        "drop", "--dry-run", "--because", "a test", "--team", "team_b", *middle
    )
    assert letters.sent() == []
    assert read_done(letters.config).by_letter == {}

    said = letters.run("redrive", "--yes", "--team", "team_a", *middle, "--limit", "3", "--rate", "2")
    assert "3 records sent again" in said
    first, second, third = letters.sent()
    assert list(map(number_of, (first, second, third))) == [2, 4, 6], "the oldest of them"
    assert third.timestamp_ms - first.timestamp_ms >= 900, "two, and the third a second after the first"

    letters.run("drop", "--yes", "--because", "a test", "--team", "team_b", *middle, "--limit", "2")
    assert letters.listed("dropped") == [1, 3]
    letters.run("drop", "--yes", "--undo", "--limit", "1")
    assert letters.listed("dropped") == [3]
    assert letters.listed("waiting") == [0, 1, 5, 7, 8, 9, 10, 11]

    letters.run("redrive", "--yes")
    assert sorted(map(number_of, letters.sent())) == [0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert (letters.listed("waiting"), letters.listed("dropped")) == ([], [3])


def test_a_mistyped_id_is_named_and_nothing_is_changed(ready_broker: Broker) -> None:
    letters = Letters(ready_broker)
    letters.add(range(2))
    there = next(one for one in letters_of(letters.config, extent(letters.config)) if isinstance(one, Letter))
    for words in (("redrive", "--yes"), ("redrive", "--dry-run"), ("drop", "--yes", "--because", "a test")):
        said = letters.run(*words, there.id, "evt_nope", code=1)
        assert "no dead letter has the id evt_nope" in said
        assert "evt_0" not in said
    assert letters.listed("waiting") == [0, 1]
    assert "1 record to send" in letters.run("redrive", "--dry-run", there.id)


def test_a_patch_that_makes_two_events_one_is_refused(ready_broker: Broker, tmp_path: Path) -> None:
    letters, patch = Letters(ready_broker), tmp_path / "patch.json"
    letters.add(range(2))
    patch.write_text(json.dumps([{"op": "replace", "path": "/id", "value": "evt_same"}]))
    one, two = (found.id for found in letters_of(letters.config, extent(letters.config)) if isinstance(found, Letter))
    for mode in ("--dry-run", "--yes"):
        said = " ".join(letters.run("redrive", mode, "--patch", str(patch), code=1).split())
        assert f"letters {one} and {two} would both be sent as event evt_same" in said
    assert letters.sent() == []
    letters.run("redrive", "--yes", one, "--patch", str(patch))
    assert [json.loads(record.value or b"")["id"] for record in letters.sent()] == ["evt_same"]
    shown = letters.run("show", one)
    sent = letters.sent()[0]
    assert f"llm_usage[{sent.partition}]@{sent.offset}" in shown


def test_letters_with_one_id_and_other_content_are_not_sent_together(ready_broker: Broker) -> None:
    letters = Letters(ready_broker)
    letters.add([0])
    letters.add([1], name="evt_0")
    plan = letters.run("redrive", "--yes")
    assert "an event with the same id and other content" in plan
    assert list(map(number_of, letters.sent())) == [0]


def test_a_letter_is_found_by_the_id_of_its_event(ready_broker: Broker) -> None:
    letters = Letters(ready_broker)
    letters.add(range(3))
    letters.add([7], name="evt_1")
    assert letters.run("show", "evt_2", "--json").startswith("{")
    old, new = (
        found.id
        for found in letters_of(letters.config, extent(letters.config))
        if isinstance(found, Letter) and found.event_id == "evt_1"
    )
    said = letters.run("show", "evt_1")
    assert f"there are more: {old}" in said
    assert new in said
    assert "no dead letter has the id evt_nope, nor is one about an event evt_nope" in letters.run(
        "show", "evt_nope", code=1
    )


def receipts(path: Path) -> list[dict[str, Any]]:
    """The lines about dead letters."""
    return [line for line in map(json.loads, path.read_text().splitlines()) if "letter" in line]


def small_disk() -> None:
    """No file of this process grows beyond the first lines: what is written then breaks off in the middle."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))


@pytest.mark.long
def test_receipts_are_complete_after_a_run_that_ended_between_commit_and_line(
    ready_broker: Broker, tmp_path: Path
) -> None:
    letters, path = Letters(ready_broker), tmp_path / "sent.jsonl"
    letters.add(range(8))
    again = ("redrive", "--yes", "--receipt", str(path))
    assert "receipts cannot be written" in letters.run(*again, "--limit", "5", before=small_disk, code=69)
    assert len(letters.sent()) == 5
    assert len(path.read_bytes()) == 300

    letters.run(*again)
    told = receipts(path)
    there = read_done(letters.config).by_letter
    assert {one["letter"]: (one["topic"], one["partition"], one["offset"]) for one in told} == {
        name: receipt.sent for name, receipt in there.items()
    }
    assert (len(told), len(letters.sent())) == (8, 8)

    other = tmp_path / "other.jsonl"
    letters.add(range(8, 10))
    letters.run("redrive", "--yes", "--receipt", str(other), before=small_disk, code=69)
    assert "0 records to send" in letters.run("redrive", "--yes", "--receipt", str(other))
    assert len(receipts(other)) == 2
