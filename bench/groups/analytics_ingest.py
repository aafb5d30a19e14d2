"""analytics-ingest beside the bare insert: a loop that fetches as many records and inserts blocks made beforehand.

Both have an engine of their own (`streamapp clickhouse`), whose CPU counts as theirs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping

from bench.contender import Command, Contender, Run
from bench.contenders import faust_command, ours_environment
from bench.events import Event, Shape
from bench.groups.group import GroupBench
from bench.groups.kept import BEGIN_MS, kept_by, said, topic_of
from streamapp.processes.child import free_port
from streamapp.schemas.values.timestamp import format_ms

GROUP, SOURCE, RAW = "analytics-ingest", "events_plugin_ingestion", "analytics-raw"
ENGINE: Command = (sys.executable, "-m", "streamapp", "clickhouse")


def events(shape: Shape) -> Iterator[Event]:
    """Page views, as capture writes them."""
    for number in range(shape.records):
        team, at_ms = f"team_{number * 7919 % shape.teams}", BEGIN_MS + number * 10
        properties = {
            "$current_url": f"https://hanzo.ai/page/{number % 997}", "$browser": "Chrome", "$os": "macOS",
            "$lib": "web", "$screen_width": 1440, "$session_id": f"sess_{number // 20}", "price": number % 100 / 10,
        }  # fmt: skip
        envelope = {
            "schema": "hanzo.stream.v1", "id": f"evt_{number:026d}", "type": "insights.event.captured",
            "source": "insights-capture", "timestamp": format_ms(at_ms), "team_id": team,
            "data": {
                "event": "$pageview", "distinct_id": f"user_{number * 104729 % 50_000}", "properties": properties,
                "session_id": f"sess_{number // 20}", "uuid": f"01942a00-0000-7000-8000-{number:012d}",
            },
        }  # fmt: skip
        yield Event(team, at_ms, json.dumps(envelope))


def _environment(run: Run) -> Mapping[str, str]:
    port = str(free_port())
    found = {"STREAM_CLICKHOUSE__PORT": port, "STREAM_CLICKHOUSE__URL": f"http://127.0.0.1:{port}"}
    return {**ours_environment(run), **found, "STREAM_CLICKHOUSE__FLUSH_SECONDS": "1"}


def _worker(run: Run) -> Command:
    return faust_command(sys.executable, "-A", "streamapp.agents.analytics_ingest", "worker", "-l", "info")


ANALYTICS_INGEST = GroupBench(
    GROUP,
    topic_of(SOURCE, events),
    (
        Contender(
            name="ours",
            what="checked, refused with a reason, each record once",
            prepare=lambda: None,
            commands=lambda run: (ENGINE, _worker(run)),
            group=GROUP,
            answer=kept_by(GROUP, "ingest"),
            environment=_environment,
        ),
        Contender(
            name="raw",
            what="records fetched and not looked at; blocks made beforehand inserted; offsets committed afterwards",
            prepare=lambda: None,
            commands=lambda run: (ENGINE, (sys.executable, "-m", "bench.groups.analytics_raw")),
            group=RAW,
            answer=said,
            environment=_environment,
        ),
    ),
    reference="raw",
)
