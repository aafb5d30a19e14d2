"""How a worker ends: errors that are part of life have their exit code and one line, the others a traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ENDS = {
    "errors.ProducerFenced()": (69, "another owner took the partition"),
    "errors.KafkaConnectionError('no route')": (69, "Kafka does not answer: KafkaConnectionError: no route"),
    "wrapped(errors.KafkaConnectionError('closed'))": (69, "Kafka does not answer: KafkaConnectionError: closed"),
    "errors.RequestTimedOutError()": (69, "Kafka does not answer: "),
    "wrapped(ValueError('unforeseen'))": (70, "ValueError: unforeseen"),
    "circle(ValueError('unforeseen'))": (70, "ValueError: unforeseen"),
    "errors.InvalidTimestampError()": (69, "the clock of this host is far off"),
    "Misconfigured('a topic is missing')": (78, "a topic is missing"),
    "ours(errors.KafkaConnectionError('closed'))": (78, "a topic is missing"),
    "ValueError('unforeseen')": (70, "ValueError: unforeseen"),
}
PROGRAM = """
import logging
from aiokafka import errors
from streamapp.errors import Misconfigured
from streamapp.exact.faust.failstop import failstop
logging.basicConfig()
def wrapped(cause):  # as aiokafka's sender does
    error = errors.KafkaError("Unexpected error during batch delivery")
    error.__cause__ = errors.KafkaError(repr(cause))
    error.__cause__.__cause__ = cause
    return error
def ours(cause):
    error = Misconfigured("a topic is missing")
    error.__cause__ = cause
    return error
def circle(error):  # as `raise error from error` does
    error.__cause__ = error
    return error
try:
    raise {error}
except Exception as error:
    failstop(error, "testing")
"""


@pytest.mark.parametrize("error", ENDS)
def test_it_ends_with_the_code_that_says_what_to_do(error: str) -> None:
    code, words = ENDS[error]
    command = [sys.executable, "-c", PROGRAM.format(error=error)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code
    assert "stopped while testing: " in ended.stderr
    assert words in ended.stderr
    assert ("Traceback" in ended.stderr) == (code == 70)


STARTED = """
from faust.cli.faust import cli
from streamapp.exact.needs import Needs
Needs.demand = lambda self, patience_s: None  # Kafka was there
cli(["-A", "streamapp.agents.billing_agg", "worker"])
"""


def test_kafka_that_goes_while_a_worker_starts_is_an_error_of_the_tree(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        kafka = f"127.0.0.1:{nobody.getsockname()[1]}"
        places = {"STREAM_KAFKA__BOOTSTRAP_SERVERS": kafka, "STREAM_STATE_DIR": str(tmp_path), "STREAM_WEB__PORT": "0"}
        ended = subprocess.run(
            [sys.executable, "-c", STARTED], env=os.environ | places, capture_output=True, text=True, timeout=60
        )
    assert ended.returncode == 69, ended.stderr
    assert "stopped while starting the worker: Kafka does not answer" in ended.stderr
    assert "Traceback" not in ended.stderr


LISTED = """
import asyncio
from types import SimpleNamespace
from unittest.mock import Mock
from streamapp.exact.partition.task import TableTask
from {module} import {view}
class Failing:
    task = Mock()
    async def load(self, now_ms):
        raise ValueError("a row of 3 bytes")
async def main():
    view = {view}(None, None, lambda: 0, None)
    view._view = lambda task, partitions: Failing()
    view.taken({{0: SimpleNamespace(task=Mock(spec=TableTask), number=0)}})
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("module", "view", "listed"),
    [
        ("streamapp.meters.usage.view", "UsageView", "hours"),
        ("streamapp.meters.calls.view", "RpcView", "accounts"),
    ],
)
def test_a_row_that_cannot_be_read_for_the_pages_stops_the_worker(module: str, view: str, listed: str) -> None:
    command = [sys.executable, "-c", LISTED.format(module=module, view=view)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 70, ended.stderr
    assert f"stopped while reading the {listed} for the pages: ValueError: a row of 3 bytes" in ended.stderr
