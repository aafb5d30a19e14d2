"""What a command begins with: the settings, and Kafka which is asked first."""

from __future__ import annotations

from functools import lru_cache

from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.handshake import demand_agreement
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
