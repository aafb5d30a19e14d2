"""audit-archive beside a bare loop that compresses and puts: the same records, store and settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace

from bench.contender import Contender, Run
from bench.contenders import ours_environment
from bench.events import Event, Shape
from bench.groups.group import GroupBench, ours
from bench.groups.kept import BEGIN_MS, kept_by, said, topic_of
from streamapp.schemas.values.timestamp import format_ms

GROUP, SOURCE, RAW = "audit-archive", "audit_log", "archive-raw"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"


def events(shape: Shape) -> Iterator[Event]:
    """Sign-ins of many users, as in the standard's sample."""
    for number in range(shape.records):
        org, at_ms = f"org_{number * 7919 % shape.teams}", BEGIN_MS + number * 10
        envelope = {
            "schema": "hanzo.stream.v1", "id": f"evt_{number:026d}", "type": "iam.auth.login_success", "source": "iam",
            "timestamp": format_ms(at_ms), "org_id": org,
            "data": {
                "user_id": f"user_{number * 104729 % 50_000}", "email": f"user{number % 9973}@example.com",
                "method": "oauth2", "provider": "github", "ip": f"203.0.113.{number % 251}", "user_agent": AGENT,
                "application": f"app-{number % 13}",
            },
        }  # fmt: skip
        yield Event(org, at_ms, json.dumps(envelope))


def _environment(run: Run) -> Mapping[str, str]:
    return {**ours_environment(run), "STREAM_ARCHIVE__FLUSH_SECONDS": "1"}


WHAT = "checked, masked, chained, each record once"
OURS = ours(GROUP, "streamapp.agents.audit_archive", WHAT, kept_by(GROUP, "archive"))

AUDIT_ARCHIVE = GroupBench(
    GROUP,
    topic_of(SOURCE, events),
    (
        replace(OURS, environment=_environment),
        Contender(
            name="raw",
            what="records as they are, compressed and put; offsets committed afterwards",
            prepare=lambda: None,
            commands=lambda run: ((sys.executable, "-m", "bench.groups.archive_raw"),),
            group=RAW,
            answer=said,
            environment=_environment,
        ),
    ),
    reference="raw",
)
