"""`streamapp registry`: schemas over HTTP, as clients of Confluent's registry ask for them."""

from __future__ import annotations

import asyncio
import logging

import click

from streamapp.registry.log import Log
from streamapp.registry.registry import Registry
from streamapp.registry.server import PORT, application, rights
from streamapp.settings import Settings
from streamapp.web.entry.gate import Gate
from streamapp.web.job import begun, serve

log = logging.getLogger("streamapp.registry")


@click.command(name="registry")
def command() -> None:
    """Serve the schemas of events over HTTP: Confluent's REST API, on STREAM_REGISTRY__PORT.

    The released versions of this project's types come from its own files, so reading works without Kafka. What other
    teams register is kept in the topic _schemas; that takes the role operator, and Kafka. Several may run: whoever
    writes last fences the other. Its principal is schema-registry. Serves /metrics and /health, too.
    """
    asyncio.run(_run(*begun(lambda settings: settings.registry.host, peers=False, table=rights())))


async def _run(settings: Settings, door: Gate) -> None:
    here = settings.registry
    registry = Registry(Log(settings.kafka))
    app = application(registry, door, settings.web)
    await serve(app, here.host, here.port, PORT, log, lambda: asyncio.create_task(registry.run(), name="schemas"))
    await registry.close()
