"""What the broker costs when little comes: `streamapp run` as it is, measured once the demo has played its history.

Every group's workers, the simulator at its usual 50 events a second, reconciliation and the console run beside it. CPU
time is the broker's own, user and system, as Linux counts it.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from pathlib import Path

from rich.console import Console

from bench.load import CACHE, ROOM, Step
from bench.proc import find, use_of
from bench.watch import started
from streamapp.broker.train import train
from streamapp.local.stack import PLAY_S

BROKER = "kafka.Kafka"  # the class that Java runs
PORTS = ("BROKER", "WEB", "CAPTURE", "CLICKHOUSE", "RECONCILE")
READY_S = 180
SETTLE_S = 15  # behind the history, for what it has left to do


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
            demo = processes[0].pid
            broker = find(demo, BROKER)
            if broker is None:
                raise RuntimeError(f"no broker runs; see {folder}/1.log")
            began_s, before, before_all = time.monotonic(), use_of([broker]), use_of([demo])
            _pass(seconds, "measuring", step)
            took_us = (time.monotonic() - began_s) * 1e6
            after, after_all = use_of([broker]), use_of([demo])
    finally:
        shutil.rmtree(folder / "state", ignore_errors=True)
    report = {
        "seconds": round(took_us / 1e6, 1),
        "broker_percent_of_a_core": round(100 * (after.cpu_us - before.cpu_us) / took_us, 1),
        "broker_mb": after.rss_bytes >> 20,
        "all_percent_of_a_core": round(100 * (after_all.cpu_us - before_all.cpu_us) / took_us, 1),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report, indent=2) + "\n")
    console.print(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in report.items()))


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
