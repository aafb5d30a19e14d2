"""llm-metrics on a real broker: a kill, a worker that joins and one that leaves; nothing lost, nothing counted twice,
no counter ever goes back, and quantiles of the whole fleet are true."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from workers import PARTITIONS, READY_S, Cluster, Sent, cluster

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.clock import wall_ms
from streamapp.schemas.values.timestamp import format_ms
from streamapp.settings import Settings
from streamapp.verify.usage_counters import PAIR

GROUP = "llm-metrics"
AGENT = "streamapp.agents.llm_metrics"
EVENTS = 12_000
MODELS = ("fast", "slow", "odd")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def events(first: int, count: int, at_ms: int) -> list[Sent]:
    """Calls of one moment: every tenth twice, every hundredth broken. How long number n takes follows from n."""
    sent = []
    for number in range(first, first + count):
        team = f"team_{number % 97}"
        model = MODELS[number % len(MODELS)] if number % 3 else "gégé"
        value = (
            f'{{"schema":"hanzo.stream.v1","id":"evt_{number}","type":"llm.usage.completed","source":"gateway",'
            f'"timestamp":"{format_ms(at_ms)}","team_id":"{team}","org_id":"org_a","data":{{"model":"{model}",'
            f'"provider":"p","prompt_tokens":{number},"completion_tokens":1,"total_tokens":{number + 1},'
            f'"latency_ms":{latency_ms(number)},"cost_usd":0.000000000001,"stream":true}}}}'
        ).encode()
        sent.append(Sent(team.encode(), value))
        if number % 10 == 0:
            sent.append(sent[-1])
        if number % 100 == 0:
            sent.append(Sent(team.encode(), value[:-1]))
    return sent


def latency_ms(number: int) -> int:
    return 50 + number * 7919 % 40_009


class Scraper:
    """Looks at every worker as Prometheus does, and holds the series of each partition to never going back."""

    def __init__(self) -> None:
        self.highest: Samples = {}

    def look(self, *workers: WorkerProcess) -> Samples:
        """The samples of all workers that answer; of a series that two of them show, the higher one."""
        seen: Samples = defaultdict(float)
        for worker in workers:
            text = ""
            with suppress(OSError):
                text = page(worker, "metrics")
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if sample.name.startswith("hanzo_llm_") and family.type in {"counter", "histogram"}:
                        at = (sample.name, tuple(sorted(sample.labels.items())))
                        assert sample.value >= self.highest.get(at, 0), (at, sample.value, self.highest[at])
                        self.highest[at] = sample.value
                    if sample.name.startswith("hanzo_llm_"):
                        at = (sample.name, tuple(sorted(sample.labels.items())))
                        seen[at] = max(seen[at], sample.value)
        return seen


def page(worker: WorkerProcess, path: str) -> str:
    said = re.findall(r"http://[0-9.]+:\d+", worker.said())
    if not said or not worker.runs:
        raise OSError("it has no address yet")
    with urlopen(f"{said[0]}/{path}", timeout=10) as answer:
        body: bytes = answer.read()
    return body.decode()


def total(samples: Samples, name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (one, have), value in samples.items() if one == name and wanted <= set(have))


def start(stack: Cluster) -> WorkerProcess:
    return stack.start_agent(AGENT, None)


def done(stack: Cluster) -> int:
    offsets = stack.admin.committed(GROUP)
    return sum(offset for (topic, _), offset in offsets.items() if topic == "llm_usage")


@pytest.mark.long
def test_counters_and_quantiles_of_a_fleet_that_is_hurt(ready_broker: Broker, tmp_path: Path) -> None:
    minute_ms = wall_ms() // 60_000 * 60_000 - 120_000
    scraper = Scraper()
    with cluster(ready_broker, tmp_path) as stack:
        first = start(stack)
        sent = stack.send(events(0, EVENTS // 2, minute_ms))
        stack.wait(lambda: scraper.look(first) and done(stack) > sent // 4, 60, first)
        first.kill()
        second, third = start(stack), start(stack)  # the same place again, and one more
        sent += stack.send(events(EVENTS // 2, EVENTS // 2, minute_ms))
        stack.wait(lambda: third.takeovers() and second.takeovers(), 60, second, third)
        stack.wait(lambda: scraper.look(second, third) and done(stack) >= sent, 60, second, third)

        whole = whole_fleet(stack, scraper, second, third)
        check_counters(whole)
        document = json.loads(page(second, "latency.json?minutes=10"))
        assert (document["missing"], document["partitions_unanswered"]) == ([], [])
        check_document(document, minute_ms)

        assert third.stop() == 0
        stack.wait(lambda: len(second.takeovers()[-1][0]) == PARTITIONS, READY_S, second)
        check_counters(scraper.look(second))
        assert stack.read("dead_letter") == [], "billing-agg writes the dead letters"

        stack.drain(stack.start())
        report = PAIR.check(Settings(kafka=stack.kafka))
        assert (report.difference, report.events, report.waiting) == (0, EVENTS, 0), report.as_json()


def whole_fleet(stack: Cluster, scraper: Scraper, *workers: WorkerProcess) -> Samples:
    """What all of them show once every partition has somebody who speaks for it."""
    found: list[Samples] = []

    def is_whole() -> bool:
        found.append(scraper.look(*workers))
        return found[-1].get(("hanzo_llm_partitions_unanswered", ()), 1) == 0

    stack.wait(is_whole, READY_S, *workers)
    return found[-1]


def check_counters(samples: Samples) -> None:
    assert total(samples, "hanzo_llm_requests_total") == EVENTS
    assert total(samples, "hanzo_llm_requests_total", model="gégé") == EVENTS // 3
    assert total(samples, "hanzo_llm_tokens_total", type="prompt") == EVENTS * (EVENTS - 1) // 2
    assert total(samples, "hanzo_llm_duplicates_total") == EVENTS // 10
    assert total(samples, "hanzo_llm_refused_total", reason="malformed_json") == EVENTS // 100
    name = "hanzo_llm_request_duration_seconds"
    for le in ("0.1", "5.0", "+Inf"):
        quick = sum(latency_ms(number) <= float(le) * 1000 for number in range(EVENTS))
        assert total(samples, f"{name}_bucket", le=le) == quick
    took_ms = sum(map(latency_ms, range(EVENTS)))
    assert abs(total(samples, f"{name}_sum") - took_ms / 1000) < 0.001


def check_document(document: dict[str, list[dict[str, object]]], minute_ms: int) -> None:
    (minute,) = document["minutes"]
    assert (minute["start_ms"], minute["requests"]) == (minute_ms, EVENTS)
    assert minute["cost"] == {"USD": f"0.{EVENTS:012d}"}
    durations = sorted(map(latency_ms, range(EVENTS)))
    for rank in (50, 95, 99):
        found, true = minute[f"latency_p{rank}_ms"], durations[rank * (EVENTS - 1) // 100]
        assert isinstance(found, float)
        assert abs(found - true) <= 0.01 * true
    assert sum(row["requests"] for row in document["models"] if isinstance(row["requests"], int)) == EVENTS
