"""`streamapp clickhouse`: ClickHouse's engine on this machine."""

from __future__ import annotations

import logging
import os
import socket

import click
import uvicorn

from streamapp.errors import Refused
from streamapp.processes.lock import taken
from streamapp.settings import current
from streamapp.sinks.clickhouse.server import Engine, application

log = logging.getLogger("streamapp.clickhouse")

HOST = "127.0.0.1"  # there are no passwords


@click.command(name="clickhouse")
def command() -> None:
    """Run ClickHouse's engine for one machine, behind its HTTP interface, on loopback.

    For trying things out, as `streamapp broker` is: analytics-ingest finds it at STREAM_CLICKHOUSE__URL. In production
    set that to a ClickHouse server; the same client is used. Data: STREAM_CLICKHOUSE__DIR.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s [%(levelname)s] %(name)s: %(message)s")
    settings = current()
    folder = settings.clickhouse.dir or settings.state_dir / "clickhouse"
    lock = taken(folder / "lock", "clickhouse", "STREAM_CLICKHOUSE__DIR")
    listening = _listen(settings.clickhouse.port)
    engine = Engine(folder / "data")
    log.info("listening on http://%s:%d/, data in %s", HOST, listening.getsockname()[1], folder)
    config = uvicorn.Config(
        application(engine), log_level="warning", access_log=False, lifespan="off", timeout_keep_alive=75
    )
    try:
        uvicorn.Server(config).run([listening])
    finally:
        engine.close()
        os.close(lock)


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError:
        raise Refused(f"port {port} is taken: set STREAM_CLICKHOUSE__PORT to another (0: a free one)") from None
    return listening
