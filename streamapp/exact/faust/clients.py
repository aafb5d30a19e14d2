"""Faust's own Kafka clients: how they log in, and what ended their membership."""

from __future__ import annotations

from typing import Any

import faust

from streamapp.kafka.clients.aio import aiokafka_config
from streamapp.settings import KafkaSettings


def credentials(kafka: KafkaSettings) -> Any:
    """How Faust's own producer, which writes nothing, logs in. Raises `Misconfigured`."""
    config = aiokafka_config(kafka)
    context = config.get("ssl_context")
    if kafka.security_protocol != "SASL_SSL":
        return None if context is None else faust.SSLCredentials(context)
    user, password = config["sasl_plain_username"], config["sasl_plain_password"]
    return faust.SASLCredentials(username=user, password=password, ssl_context=context)


def group_error(consumer: Any) -> BaseException | None:
    """What ended the consumer's membership, or what its group routine waits for somebody to be told; else None."""
    client = consumer._thread and consumer._thread._consumer
    coordinator = client and client._coordinator
    if coordinator is None:
        return None
    routine = getattr(coordinator, "_coordination_task", None)
    if routine is not None and routine.done() and not routine.cancelled() and routine.exception() is not None:
        ended: BaseException = routine.exception()
        return ended.__cause__ or ended
    waiting: BaseException | None = getattr(coordinator, "_pending_exception", None)
    return waiting
