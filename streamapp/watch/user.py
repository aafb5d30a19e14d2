"""As whom the pages ask Kafka about what is not their worker's."""

from __future__ import annotations

from pathlib import Path

from streamapp.errors import Misconfigured
from streamapp.settings import KafkaSettings, Settings


def pages_user(settings: Settings) -> KafkaSettings:
    """What pages read with: a user of their own, if there is one. Raises `Misconfigured` for one without a password."""
    web = settings.web
    return _as_user(settings.kafka, web.kafka_username, web.kafka_password_file, "KAFKA")


def acting_user(settings: Settings) -> KafkaSettings:
    """What dead letters are sent again with from a page, likewise."""
    web = settings.web
    return _as_user(settings.kafka, web.redrive_username, web.redrive_password_file, "REDRIVE")


def _as_user(kafka: KafkaSettings, username: str | None, file: Path | None, name: str) -> KafkaSettings:
    if username is None:
        return kafka
    if file is None:
        raise Misconfigured(f"STREAM_WEB__{name}_USERNAME needs STREAM_WEB__{name}_PASSWORD_FILE")
    if not file.is_file():
        raise Misconfigured(f"STREAM_WEB__{name}_PASSWORD_FILE={file} is not a file")
    user = {"sasl_username": username, "sasl_password": None, "sasl_password_file": file}
    return kafka.model_copy(update=user)
