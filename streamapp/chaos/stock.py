"""Beside our workers: a counter as the Faust documentation writes it, under the same faults on the same stream.

It only has to count the records of each key, repetitions and poison included: nothing that Faust does not promise.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from streamapp.access.acl import USER, Acl
from streamapp.kafka.log.reader import Record

GROUP = "stock-counter"
CHANGELOG = f"{GROUP}-counts-changelog"
MODULE = "stock_counter"

SOURCE = """\
import os
import ssl

import faust

# Where the broker asks who comes, in the words of our own settings.
login = {{}}
if user := os.environ.get("STREAM_KAFKA__SASL_USERNAME"):
    with open(os.environ["STREAM_KAFKA__SASL_PASSWORD_FILE"]) as file:
        password = file.read()
    trusted = ssl.create_default_context(cafile=os.environ["STREAM_KAFKA__SSL_CA_FILE"])
    login["broker_credentials"] = faust.SASLCredentials(username=user, password=password, ssl_context=trusted)

app = faust.App(
    "{group}",
    broker="kafka://" + os.environ["STREAM_KAFKA__BOOTSTRAP_SERVERS"],
    datadir=os.environ["STREAM_STATE_DIR"],
    web_port=int(os.environ["STREAM_WEB__PORT"]),
    broker_session_timeout=float(os.environ["STREAM_WORKER__SESSION_TIMEOUT_SECONDS"]),
    broker_heartbeat_interval=1.0,
    topic_partitions={partitions},
    topic_replication_factor=1,
    store="memory://",
    **login,
)
usage = app.topic("llm_usage", key_serializer="raw", value_serializer="raw", allow_empty=True)
counts = app.Table("counts", default=int, partitions={partitions})


@app.agent(usage)
async def count(stream):
    async for key, _ in stream.items():
        counts[(key or b"").decode()] += 1
"""

RIGHTS = (
    Acl(USER + GROUP, "topic", "llm_usage", "READ"),
    Acl(USER + GROUP, "group", GROUP, "READ"),
    Acl(USER + GROUP, "topic", f"{GROUP}-", "ALL", prefixed=True),  # what Faust makes for itself
)
"""What its own principal may do, where the broker asks."""


@dataclass(frozen=True, slots=True)
class StockReport:
    """What the stock counter made of it, in records."""

    expected: int
    counted: int
    lost: int
    doubled: int
    unread: int = 0


def write_module(folder: Path, partitions: int) -> None:
    """The counter's source, where `-A stock_counter` finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{MODULE}.py").write_text(SOURCE.format(group=GROUP, partitions=partitions))


def compare(expected: Mapping[bytes, int], changelog: Iterable[Record], unread: int) -> StockReport:
    """The newest count of each key in the table's changelog against what was sent."""
    found: Counter[bytes] = Counter()
    for record in changelog:
        if record.key is not None:
            found[json.loads(record.key).encode()] = 0 if record.value is None else json.loads(record.value)
    differences = [found[key] - expected.get(key, 0) for key in {*found, *expected}]
    return StockReport(
        expected=sum(expected.values()),
        counted=found.total(),
        lost=-sum(one for one in differences if one < 0),
        doubled=sum(one for one in differences if one > 0),
        unread=unread,
    )
