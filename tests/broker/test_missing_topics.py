"""Topics that do not exist: a worker says so and ends; one that runs is unhealthy until they are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from conftest import wait_until
from workers import cluster, refused_to_start

from streamapp.broker.broker import Broker
from streamapp.chaos.worker import WorkerProcess
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.kafka.provision import apply
from streamapp.processes.child import free_port
from streamapp.topics.registry import TOPICS


def health(port: int) -> tuple[int, dict[str, Any]]:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, {}


def page(port: int) -> str:
    with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def test_a_worker_without_its_topics_ends_and_names_them(fresh_broker: Broker, tmp_path: Path) -> None:
    environment = {
        "STREAM_KAFKA__BOOTSTRAP_SERVERS": fresh_broker.bootstrap,
        "STREAM_STATE_DIR": str(tmp_path / "state"),
        "STREAM_WEB__PORT": str(free_port()),
    }
    worker = WorkerProcess(tmp_path / "worker.log", environment)
    try:
        refused_to_start(worker, "topics are missing: llm_usage", "dead_letter", "streamapp topics apply")
        assert "Worker ready" not in worker.said()
    finally:
        worker.kill()


def test_a_topic_that_vanishes_is_told_until_it_is_there(ready_broker: Broker, tmp_path: Path) -> None:
    with cluster(ready_broker, tmp_path) as stack:
        worker = stack.start_ready()
        client = AdminClient({"bootstrap.servers": ready_broker.bootstrap, "log_level": 0})
        client.delete_topics(["dead_letter"])["dead_letter"].result(timeout=30)
        stack.wait(lambda: health(stack.web_port)[0] == 503, 60, worker)
        assert health(stack.web_port)[1]["missing_topics"] == ["dead_letter"]
        wait_until(lambda: "Topics are missing: dead_letter" in page(stack.web_port), 30)
        assert "Something is wrong" in page(stack.web_port)
        apply(stack.admin, TOPICS, 1)
        stack.wait(lambda: health(stack.web_port)[0] == 200, 60, worker)


def test_a_worker_ends_at_once_while_its_broker_is_away(fresh_broker: Broker, tmp_path: Path) -> None:
    with cluster(fresh_broker, tmp_path) as stack:
        worker = stack.start_ready(worker__session_timeout_seconds="10")
        fresh_broker.kill()
        wait_until(lambda: "Failed fetch messages" in worker.said(), 30)  # its fetches pause before the next attempt
        worker.ask_to_stop()
        wait_until(lambda: not worker.runs, 25)
        said = worker.said()
        assert worker.exit_code == 0, said[-3000:]  # the bound of 18 s would have ended it with 69
        assert "Traceback" not in said
