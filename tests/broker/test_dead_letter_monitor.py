"""dead-letter-monitor on a real broker: one incident a cause and exact counts, whatever happens to it or the pager."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import forked
import pytest
from confluent_kafka import Producer
from conftest import wait_until
from pager_stand_in import ROUTING_KEY, Pager, stand_in
from searches import of

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import wall_ms
from streamapp.kafka.admin import Admin
from streamapp.kafka.provision import apply
from streamapp.processes.child import free_port
from streamapp.schemas.judging.letter import Refused, letter
from streamapp.settings import KafkaSettings
from streamapp.topics.registry import TOPICS

GROUP = "dead-letter-monitor"
AGENT = "streamapp.agents.dead_letter_monitor"
LETTERS = max(1_250, of(10_000))
CAUSES = [("too_late", "it is {} days old"), ("invalid_cost", "cost '{}' is negative"), ("unknown_type", "type '{}'")]
QUIET_S = 300
COUNTED = re.compile(r'^stream_dead_letters_total\{group="billing-agg",reason="(\w+)",.*\} ([0-9.]+)$', re.MULTILINE)


class Watch:
    """A broker with dead letters, a pager, and the monitors that were started on them."""

    def __init__(self, broker: Broker, folder: Path, pager: Pager) -> None:
        self.broker, self.folder, self.pager = broker, folder, pager
        self.port = free_port()
        self.monitors: list[WorkerProcess] = []
        self.admin = Admin(KafkaSettings(bootstrap_servers=broker.bootstrap))
        self._producer = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "log_level": 0})
        apply(self.admin, TOPICS, 1)

    def start(self) -> WorkerProcess:
        """A monitor on the same rows as the ones before it."""
        environment = {
            "STREAM_KAFKA__BOOTSTRAP_SERVERS": self.broker.bootstrap,
            "STREAM_STATE_DIR": str(self.folder / "state"),
            "STREAM_WEB__PORT": str(self.port),
            "STREAM_WORKER__SESSION_TIMEOUT_SECONDS": "3",
            "STREAM_WORKER__CHUNK_RECORDS": "100",
            "STREAM_WORKER__FETCH_WAIT_MS": "100",
            "STREAM_ALERTS__PAGERDUTY_ROUTING_KEY": ROUTING_KEY,
            "STREAM_ALERTS__PAGERDUTY_URL": f"{self.pager.url}/v2/enqueue",
            "STREAM_ALERTS__WEBHOOK_URL": f"{self.pager.url}/hook",
            "STREAM_ALERTS__PER_MINUTE": "6000",
            "STREAM_ALERTS__QUIET_SECONDS": str(QUIET_S),
        }
        monitor = forked.worker(self.folder / f"monitor-{len(self.monitors)}.log", environment, AGENT)
        self.monitors.append(monitor)
        return monitor

    def start_ready(self) -> None:
        """The same, when it has the partition: only then what a killed one left open is settled, and can be asked."""
        monitor = self.start()
        wait_until(monitor.takeovers, 30)

    def send(self, numbers: Iterable[int], at_ms: int) -> None:
        """Dead letters of three causes in turn, and every seventh of them twice, with records of this time."""
        for number in numbers:
            reason, error = CAUSES[number % len(CAUSES)]
            refused = Refused(
                topic="llm_usage", partition=0, offset=number, group="billing-agg", reason=reason,
                error=error.format(number), key=b"team_secret", value=b"someone@example.com", timestamp_ms=at_ms,
            )  # fmt: skip
            made = letter(refused, at_ms)
            for _ in range(2 if number % 7 == 0 else 1):
                self._producer.produce("dead_letter", made.value, made.key, timestamp=at_ms)
                self._producer.poll(0)
        assert self._producer.flush(60) == 0

    def done(self) -> int:
        """How many records the group has committed."""
        return self.admin.committed(GROUP).get(("dead_letter", 0), 0)

    def all_done(self) -> bool:
        return self.done() >= self.admin.end_offsets([("dead_letter", 0)])["dead_letter", 0]

    def metrics(self) -> str:
        """What the worker tells Prometheus."""
        return self._get("metrics").decode()

    def page(self, path: str) -> Any:
        """A page's JSON twin."""
        return json.loads(self._get(path))

    def _get(self, path: str) -> bytes:
        said = re.findall(r"http://[0-9.]+:\d+", self.monitors[-1].said())
        with urlopen(f"{said[0]}/{path}", timeout=5) as answer:
            body: bytes = answer.read()
        return body

    def counts(self) -> dict[str, float]:
        return {reason: float(count) for reason, count in COUNTED.findall(self.metrics())}


@pytest.fixture
def watch(ready_broker: Broker, tmp_path: Path) -> Iterator[Watch]:
    with stand_in() as pager:
        made = Watch(ready_broker, tmp_path, pager)
        yield made
        for monitor in made.monitors:
            monitor.kill()


def nothing_private(watch: Watch) -> None:
    """Pager and webhook hear nothing of what is in a letter."""
    heard = json.dumps(watch.pager.events) + json.dumps([body for body, _ in watch.pager.hooks])
    for private in ("someone", "example.com", "team_secret", "c29tZW9uZ"):
        assert private not in heard


def exact(numbers: Iterable[int]) -> dict[str, float]:
    """Reason → dead letters among these."""
    counts: dict[str, float] = {}
    for number in numbers:
        reason = CAUSES[number % len(CAUSES)][0]
        counts[reason] = counts.get(reason, 0) + 1
    return counts


@pytest.mark.long
def test_ten_thousand_letters_of_three_causes_are_three_incidents_then_quiet(watch: Watch) -> None:
    numbers = range(LETTERS)
    long_ago_ms = wall_ms() - QUIET_S * 1000 + 8_000  # quiet eight seconds from now
    watch.send(numbers, long_ago_ms)
    watch.start()
    wait_until(lambda: len(watch.pager.incidents) == 3, 30)
    wait_until(lambda: all(incident.resolved for incident in watch.pager.incidents), 60)
    wait_until(lambda: len(watch.pager.hooks) >= 6, 30)  # the webhook is told beside the pager, not before or after it
    assert len(watch.pager.incidents) == 3
    assert [incident.triggers for incident in watch.pager.incidents] == [1, 1, 1]
    assert sorted(body["event"] for body, _ in watch.pager.hooks) == ["opened"] * 3 + ["resolved"] * 3
    wait_until(lambda: "stream_incidents_open 0" in watch.metrics())
    assert watch.counts() == exact(numbers)
    rows = [row["key"][0] for row in watch.page("tables/letters.json?limit=500")["rows"]]
    assert {kind: rows.count(kind) for kind in rows if kind != "ids"} == {
        "cause": 3, "position": 1, "tally": 3, "window": 3,
    }  # fmt: skip
    nothing_private(watch)


def test_killed_in_the_middle_there_are_still_three_and_every_letter_counts_once(watch: Watch) -> None:
    now_ms = wall_ms()
    watch.send(range(LETTERS // 2), now_ms)
    watch.start()
    wait_until(lambda: watch.done() > 500, 30)
    watch.monitors[-1].kill()
    watch.send(range(LETTERS // 2, LETTERS), now_ms)
    watch.start_ready()
    before = watch.done()
    wait_until(lambda: watch.done() > before or watch.all_done(), 30)
    watch.monitors[-1].kill()
    watch.start_ready()
    wait_until(watch.all_done, 60)
    wait_until(lambda: len(watch.pager.open()) == 3)
    assert watch.counts() == exact(range(LETTERS))
    assert len(watch.pager.incidents) == 3
    nothing_private(watch)
    watch.monitors[-1].kill()
    watch.start_ready()  # and the counts are there again after a restart with nothing to read
    wait_until(lambda: watch.counts() == exact(range(LETTERS)))


@pytest.mark.long
def test_a_pager_that_was_away_is_told_later_and_once_and_held_up_nothing(watch: Watch) -> None:
    watch.pager.away = True
    watch.start()
    watch.send(range(300), wall_ms())
    wait_until(watch.all_done, 30)
    wait_until(lambda: watch.pager.requests >= 2, 30)
    wait_until(lambda: 'stream_alerts_waiting{destination="pagerduty"} 3.0' in watch.metrics())
    assert watch.counts() == exact(range(300))
    watch.monitors[-1].kill()
    watch.pager.away = False
    watch.start_ready()
    wait_until(lambda: len(watch.pager.open()) == 3, 30)
    wait_until(lambda: 'stream_alerts_total{destination="pagerduty",outcome="delivered"} 3.0' in watch.metrics())
    watch.monitors[-1].kill()
    watch.start_ready()
    watch.send(range(300, 303), wall_ms())
    wait_until(watch.all_done, 30)
    wait_until(lambda: 'stream_alerts_waiting{destination="pagerduty"} 0.0' in watch.metrics())
    assert [incident.triggers for incident in watch.pager.incidents] == [1, 1, 1]


@pytest.mark.long
def test_a_pager_that_is_busy_or_broken_is_asked_again_until_it_knows(watch: Watch) -> None:
    pager = watch.pager
    pager.answers.extend([(429, {"Retry-After": "2"})] * 2)  # pager and webhook, each with its first notice
    pager.answers.extend([(500, {}), (503, {})])
    pager.deaf = 1
    watch.start()
    watch.send(range(300), wall_ms())
    wait_until(watch.all_done, 60)

    def delivered() -> bool:
        said = watch.metrics()
        both = ("pagerduty", "webhook")
        return all(f'stream_alerts_total{{destination="{name}",outcome="delivered"}} 3.0' in said for name in both)

    wait_until(delivered, 60)
    assert pager.asked_s[1] - pager.asked_s[0] >= 2, "when it said"
    assert (len(pager.answers), pager.deaf) == (0, 0)
    assert len(pager.open()) == len(pager.incidents) == len({incident.summary for incident in pager.incidents}) == 3
    assert sum(incident.triggers for incident in pager.incidents) == 4, "one was taken and not answered so"
    assert sorted(body["event"] for body, _ in pager.hooks) == ["opened"] * 3
    assert watch.counts() == exact(range(300))


@pytest.mark.long
def test_a_pager_that_says_nothing_holds_up_neither_letters_nor_the_end(watch: Watch) -> None:
    watch.pager.silent = True
    watch.start_ready()
    watch.send(range(300), wall_ms())
    wait_until(lambda: watch.pager.requests >= 2, 30)  # pager and webhook, each with its first notice
    watch.send(range(300, 600), wall_ms())
    wait_until(watch.all_done, 30)
    wait_until(lambda: watch.counts() == exact(range(600)))
    assert watch.monitors[-1].stop() == 0
    assert (watch.pager.incidents, watch.pager.hooks) == ([], [])
