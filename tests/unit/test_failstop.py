"""How a worker ends: errors that are part of life have their exit code and one line, the others a traceback."""

from __future__ import annotations

import subprocess
import sys

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
