"""Any failure stops the process: nothing that runs on can then act on what is no longer true.

The supervisor starts it again; the next owner's `init_transactions` settles what was under way.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from aiokafka.errors import InvalidTimestampError, KafkaConnectionError, ProducerFenced

from streamapp.errors import StreamError, Unavailable

log = logging.getLogger(__name__)

EX_SOFTWARE = 70


@contextmanager
def starting() -> Iterator[None]:
    """Around what a worker's module sets up when it is imported: an error of our tree becomes one line and its exit
    code, for whoever started the process."""
    try:
        yield
    except StreamError as error:
        sys.stderr.write(f"streamapp: {error}\n")
        raise SystemExit(error.exit_code) from None


def failstop(error: BaseException, doing: str) -> NoReturn:
    """Say in one line what failed, and end the process now. Exit code of our error tree, else 70."""
    error = foreseen(error)
    expected = isinstance(error, StreamError)
    name = "" if expected else f"{type(error).__name__}: "
    log.critical("stopped while %s: %s%s", doing, name, error, exc_info=None if expected else error)
    for handler in logging.getLogger().handlers:
        handler.flush()
    sys.stderr.flush()
    os._exit(error.exit_code if isinstance(error, StreamError) else EX_SOFTWARE)


def foreseen(error: BaseException) -> BaseException:
    """The same in our error tree, when it is a client's and part of life."""
    if isinstance(error, ProducerFenced):
        return Unavailable("another owner took the partition; this one was frozen or cut off")
    if isinstance(error, InvalidTimestampError):
        return Unavailable("Kafka does not take records of this moment: the clock of this host is far off")
    if isinstance(error, KafkaConnectionError):
        return Unavailable(f"Kafka does not answer: {error}")
    return error
