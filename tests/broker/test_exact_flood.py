"""More poison than a worker may pass on: it stops, and being started again and again changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from usage_log import value
from verify_logs import text
from workers import Cluster, Sent, cluster, refused_to_start

from streamapp.broker.broker import Broker
from streamapp.clock import wall_ms

LIMIT, BAD, TEAM = 60, 400, b"team_flood"
SETTINGS: dict[str, Any] = {"worker__chunk_records": 25, "worker__poison_limit_consecutive": LIMIT}


def floods(stack: Cluster, **settings: Any) -> None:
    """The worker stops because of poison, and says how to go on."""
    refused_to_start(stack.start(**SETTINGS, **settings), "records in a row were refused", "POISON_ACCEPTED_UNTIL=")


@pytest.mark.long
def test_a_worker_started_again_writes_no_more_letters_until_a_person_accepts_them(
    ready_broker: Broker, tmp_path: Path
) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        stack.send([Sent(TEAM, value(f"good-{number}", wall_ms(), "team_flood")) for number in range(10)])
        stack.send([Sent(TEAM, b"not JSON")] * BAD)
        for _ in range(3):
            floods(stack)
        assert 0 < len(stack.letters()) <= LIMIT, "all starts together"

        now_ms = wall_ms()
        worker = stack.start_ready(**SETTINGS, worker__poison_accepted_until=text(now_ms))
        stack.drain(worker)
        assert len(stack.letters()) == BAD
        stack.send([Sent(TEAM, b"not JSON", record_ms=now_ms + 1)] * BAD)
        stack.wait(lambda: not worker.runs)
        assert worker.exit_code == 78
        floods(stack, worker__poison_accepted_until=text(now_ms))
        assert len(stack.letters()) <= BAD + LIMIT, "what was accepted is no licence for what came behind"
        assert stack.done() == 10 + len(stack.letters())
