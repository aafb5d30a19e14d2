"""What the broker costs when little comes: `streamapp run` as it is, measured once the demo has played its history.

Every group's workers, the simulator at its usual 50 events a second, reconciliation and the console run beside it. CPU
time is the broker's own, user and system, as Linux counts it, thread by thread; requests are as the broker counts them.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.broker_cost import BrokerCost
from bench.load import CACHE, ROOM, Step
from bench.proc import find, use_of
from bench.watch import started
from streamapp.broker.train import train
from streamapp.local.stack import PLAY_S

BROKER = "kafka.Kafka"  # the class that Java runs
PORTS = ("BROKER", "WEB", "CAPTURE", "CLICKHOUSE", "RECONCILE", "WATCH", "REGISTRY")
READY_S = 600  # of twenty processes on two cores that others use, too
SETTLE_S = 15  # behind the history, for what it has left to do
SHOWN_MIN = 0.05  # threads and kinds of requests with less are left out


def trickle(seconds: int, file: Path, step: Step, console: Console) -> None:
    """Run, measure, print. Raises RuntimeError when the demo does not come up or ends."""
    folder = ROOM / "run" / "trickle"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    train(CACHE)
    environment = {f"STREAM_{name}__PORT": "0" for name in PORTS}
    environment |= {"STREAM_STATE_DIR": str(folder / "state"), "STREAM_CACHE_DIR": str(CACHE)}
    try:
        command = (sys.executable, "-m", "streamapp", "run")
        with started((command,), environment, folder, signal.SIGINT) as processes:
            _await_all_up(folder / "1.log", step)
            _pass(PLAY_S + SETTLE_S, "the history", step)
            totals, threads, requests = _measured(processes[0].pid, seconds, step)
    finally:
        shutil.rmtree(folder / "state", ignore_errors=True)
    report = {**totals, "threads_percent_of_a_core": threads, "requests_per_second_of": requests}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=2) + "\n")
    console.print(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in totals.items()))
    console.print(_table("threads", "% of a core", threads), _table("requests", "a second", requests))


def _measured(demo: int, seconds: int, step: Step) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Totals; per cent of a core by thread; requests per second by kind."""
    broker = find(demo, BROKER)
    if broker is None:
        raise RuntimeError("the demo runs no broker: is STREAM_KAFKA__BOOTSTRAP_SERVERS set?")
    cost = BrokerCost(broker, CACHE)
    asked, all_before, before = cost.requests(), use_of([demo]), cost.threads()
    _pass(seconds, "measuring", step)
    after, all_after, answered = cost.threads(), use_of([demo]), cost.requests()
    threads = {kind: cpu_us / 1e4 for kind, cpu_us in after.per_second(before).items()}
    requests = answered.per_second(asked)
    took_s = after.at_s - before.at_s
    totals = {
        "seconds": took_s,
        "broker_percent_of_a_core": sum(threads.values()),
        "requests_per_second": sum(requests.values()),
        "transactions_per_second": requests.get("EndTxn", 0.0),
        "broker_mb": use_of([broker]).rss_bytes >> 20,
        "all_percent_of_a_core": (all_after.cpu_us - all_before.cpu_us) / took_s / 1e4,
    }
    return {name: round(value, 1) for name, value in totals.items()}, _shown(threads), _shown(requests)


def _shown(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in figures.items() if value >= SHOWN_MIN}


def _table(what: str, unit: str, figures: Mapping[str, float]) -> Table:
    table = Table(what, unit)
    for name, value in figures.items():
        table.add_row(name, f"{value:.2f}")
    return table


def _await_all_up(log: Path, step: Step) -> None:
    end_s = time.monotonic() + READY_S
    while "records on" not in log.read_text():
        if time.monotonic() > end_s:
            raise RuntimeError(f"the demo is not up after {READY_S} s; see {log}")
        step("starting", 0, 1)
        time.sleep(1)


def _pass(seconds: float, what: str, step: Step) -> None:
    began_s = time.monotonic()
    while (passed_s := time.monotonic() - began_s) < seconds:
        step(what, int(passed_s), int(seconds))
        time.sleep(1)
