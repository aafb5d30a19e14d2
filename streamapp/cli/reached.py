"""What a command begins with: the settings, Kafka which is asked first, and what ends it."""

from __future__ import annotations

import signal
import threading
from functools import lru_cache

from streamapp.kafka.admin import Admin
from streamapp.kafka.handshake import demand_agreement
from streamapp.settings import KafkaSettings, Settings, current

ANSWER_S = 10.0


def reached() -> Settings:
    """The settings of this process, when Kafka answers; it is asked once, before anything else is done.

    Raises `Unavailable` when it does not answer, `Misconfigured` when it does not let us in.
    """
    settings = current()
    _ask(settings.kafka)
    return settings


@lru_cache(maxsize=1)
def _ask(kafka: KafkaSettings) -> None:
    demand_agreement(kafka)
    Admin(kafka, timeout_s=ANSWER_S).topics()


def ended() -> threading.Event:
    """What is set by Ctrl-C and by SIGTERM, for a command that then ends in its own way."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
