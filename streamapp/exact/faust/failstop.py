"""Any failure stops the process: nothing that runs on can then act on what is no longer true.

The supervisor starts it again; the next owner's `init_transactions` settles what was under way.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from aiokafka import errors

from streamapp.errors import StreamError, Unavailable
from streamapp.kafka.clients.aio import behind

log = logging.getLogger(__name__)

EX_SOFTWARE = 70
_PART_OF_LIFE: dict[Any, str] = {
    errors.ProducerFenced: "another owner took the partition; this one was frozen or cut off",
    errors.InvalidTimestampError: "Kafka does not take records of this moment: the clock of this host is far off",
    errors.KafkaConnectionError: "Kafka does not answer: {}",
    errors.NodeNotReadyError: "Kafka does not answer: {}",
    errors.RequestTimedOutError: "Kafka does not answer: {}",
    errors.KafkaTimeoutError: "Kafka does not answer: {}",
}


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
    """The same in our error tree, when it is a client's and part of life. aiokafka raises some in others' clothes: the
    whole chain of causes is looked at."""
    if isinstance(error, StreamError) or (told := behind(error, tuple(_PART_OF_LIFE))) is None:
        return error
    return Unavailable(next(words for kind, words in _PART_OF_LIFE.items() if isinstance(told, kind)).format(told))
