"""By which rules dead letters are sent again: the topics and the directory as they are now, and capture itself for what
it refused."""

from __future__ import annotations

from streamapp.capture.again import Again
from streamapp.capture.reading.events import SOURCE
from streamapp.dead_letters.plan import ATTEMPTS_MAX, Fix, Rules
from streamapp.directory import open_directory
from streamapp.kafka.admin import Admin
from streamapp.settings import KafkaSettings, Settings
from streamapp.topics.registry import EVENT_TOPICS


def rules(settings: Settings, kafka: KafkaSettings, fix: Fix, attempts_max: int = ATTEMPTS_MAX) -> Rules:
    """Asks Kafka for partition counts as the user of `kafka`. Raises `StreamError`."""
    there = Admin(kafka).describe([topic.name for topic in EVENT_TOPICS], settings_of=())
    partitions = {name: state.partitions for name, state in there.items()}
    directory = open_directory(settings.directory)
    reentries = {SOURCE: Again(directory, settings.capture.body_bytes_max)}
    return Rules(partitions, directory.org_of, fix, attempts_max, reentries)
