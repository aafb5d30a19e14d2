"""A command that needs Kafka says in one line that it is not there, or that its address is no address."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import forked
import pytest
from confluent_kafka import KafkaError, KafkaException

from streamapp.errors import Unavailable
from streamapp.kafka.admin import Admin
from streamapp.processes.child import free_port
from streamapp.settings import KafkaSettings

COMMANDS = [
    "topics plan",
    "dead-letters stats",
    "dead-letters list",
    "dead-letters redrive --yes",
    "dead-letters drop --because no",
    "verify",
    "replay --group billing-agg --to-earliest --yes",
    "replay --group billing-agg --to-earliest --dry-run",
    "repartition",
    "simulate --events 1",
]


def ran(words: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return forked.command(*words.split(), environment={"STREAM_STATE_DIR": str(folder), **variables})


def test_one_line_and_69_when_kafka_does_not_answer(tmp_path: Path) -> None:
    where = f"127.0.0.1:{free_port()}"
    with ThreadPoolExecutor(len(COMMANDS)) as pool:  # each of them waits for an answer
        every = pool.map(lambda words: ran(words, tmp_path, STREAM_KAFKA__BOOTSTRAP_SERVERS=where), COMMANDS)
        for words, found in zip(COMMANDS, every, strict=True):
            assert (found.returncode, found.stdout, found.stderr.count("\n")) == (69, "", 1), (words, found.stderr)
            assert f"Kafka at {where} does not answer" in found.stderr
            assert "is it running, and is STREAM_KAFKA__BOOTSTRAP_SERVERS right?" in found.stderr


@pytest.mark.parametrize(
    ("given", "right"),
    [("kafka://k:9092", "k:9092"), ("k", "k:9092"), ("a:1,b", "b:9092"), ("a:1,", "kafka:9092")],
)
def test_an_address_that_is_none_is_refused_at_once(given: str, right: str, tmp_path: Path) -> None:
    found = ran("dead-letters stats", tmp_path, STREAM_KAFKA__BOOTSTRAP_SERVERS=given)
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (78, "", 1), found.stderr
    assert f"STREAM_KAFKA__BOOTSTRAP_SERVERS={given!r} is not usable: write host:port" in found.stderr
    assert found.stderr.endswith(f"as in {right}\n")


def test_a_ledger_that_is_none_is_refused_before_a_progress_bar(tmp_path: Path) -> None:
    found = ran("verify", tmp_path, STREAM_LEDGER_URL="mysql://u:secret@h/d")
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (78, "", 1), found.stderr
    assert "STREAM_LEDGER_URL (mysql://…) is not usable" in found.stderr


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._TRANSPORT,
        KafkaError._DESTROY_BROKER,  # while a node of a cluster restarts
        KafkaError._WAIT_COORD,
        KafkaError.NOT_COORDINATOR,
    ],
)
def test_a_broker_that_went_away_during_a_question_is_no_refusal(code: int) -> None:
    def gone() -> None:
        raise KafkaException(KafkaError(code))

    with pytest.raises(Unavailable, match="does not answer"):
        Admin(KafkaSettings(bootstrap_servers="127.0.0.1:1"))._asked("list topics", gone)
