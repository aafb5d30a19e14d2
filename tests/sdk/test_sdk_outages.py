"""Kafka goes away under the clients' events: nobody is told 200 for what Kafka has not; nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from sdk_capture import TEAM, TOKEN, Arrived, capture, once, relay
from sdk_clients import client
from sdk_packages import packages

from streamapp.broker.broker import Broker
from streamapp.clock import monotonic_s

MANY = 20
EXPECTED = {
    "python": Counter({"clicked": MANY}),
    "node": Counter({"clicked": MANY}),
    "browser": Counter({"clicked": MANY, "$pageview": 1}),
}
OUTAGE_S = 60
RETRIED_S = 120  # the browser's client waits longer each time
# Shorter than the outage, so that capture has to give up what it holds and the client has to send it again.
IMPATIENT = {"STREAM_KAFKA__DELIVERY_TIMEOUT_SECONDS": "2"}


@pytest.mark.parametrize(
    "name", ["node", *(pytest.param(name, marks=pytest.mark.long) for name in ("python", "browser"))]
)
def test_a_broker_killed_before_it_acknowledged(
    ready_broker: Broker, tmp_path: Path, cache_dir: Path, name: str
) -> None:
    modules = packages(cache_dir)
    with capture(ready_broker, tmp_path, {TEAM: TOKEN}, IMPATIENT) as front, relay(front.port) as between:
        assert ready_broker.pid is not None
        os.kill(ready_broker.pid, signal.SIGSTOP)  # takes what it is sent, and acknowledges nothing
        with client(name, between.url, modules, many=MANY) as running:
            running.wait(between.exchanges, OUTAGE_S)
            killed_s = monotonic_s()
            ready_broker.kill()
            running.wait(lambda: 503 in between.statuses(), OUTAGE_S)
            assert between.statuses() <= {503, None}
            ready_broker.start()
            back_s = monotonic_s()
            running.wait(lambda: names(front.arrived()) >= EXPECTED[name], RETRIED_S)
            running.wait(lambda: 200 in between.statuses(), OUTAGE_S)
            figures = {"away": back_s - killed_s, "there after the return": monotonic_s() - back_s}
            told = running.finish()
            answers = Counter(exchange.status for exchange in between.exchanges())
        records = front.arrived()
        arrived = once(records)  # a 503 does not say that Kafka has nothing of it
    print(name, figures, {"requests": dict(answers), "records": len(records), "events": len(arrived)})
    assert names(arrived) == EXPECTED[name] == Counter(told.uuids.values())
    assert {one.event["data"]["uuid"] for one in arrived} == told.uuids.keys()


def names(arrived: list[Arrived]) -> Counter[str]:
    return Counter(one.event["data"]["event"] for one in arrived)
