"""Prometheus itself, with the configuration of deploy/, over the processes of a run."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from conftest import PROJECT, wait_until

from streamapp.processes.child import HOST, Child, free_port, listens

DEPLOY = PROJECT / "deploy" / "prometheus"
TARGET = re.compile(r"127\.0\.0\.1:(\d+)")


class Server:
    """Prometheus at a port of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer; fails the test where there is none."""
        with urlopen(f"http://{HOST}:{self.port}/api/v1/{path}?{urlencode(query)}", timeout=30) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def down(self) -> list[str]:
        """Targets that do not answer, and why."""
        targets = self.ask("targets")["activeTargets"]
        if not targets:
            return ["it has not read its configuration yet"]
        return [f"{one['scrapeUrl']}: {one['lastError']}" for one in targets if one["health"] != "up"]

    def unwell(self) -> list[str]:
        """Rules that could not be evaluated, or were not yet."""
        rules = [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]
        assert len(rules) > 30
        return [
            f"{rule['name']}: {rule['health']} {rule.get('lastError', '')}" for rule in rules if rule["health"] != "ok"
        ]

    def value(self, expr: str) -> list[Any]:
        """What an expression is now."""
        result: list[Any] = self.ask("query", query=expr)["result"]
        return result


@contextmanager
def prometheus(folder: Path, ports: Mapping[int, int]) -> Iterator[Server]:
    """A server that looks every four seconds. `ports`: what stands in the configuration → where the process is here."""
    folder.mkdir()
    shutil.copy(DEPLOY / "rules.yml", folder)
    text = (DEPLOY / "prometheus.yml").read_text(encoding="utf-8").replace("_interval: 15s", "_interval: 4s")
    text = text[: text.index("alerting:")] + text[text.index("scrape_configs:") :]
    text = TARGET.sub(lambda match: f"{HOST}:{ports[int(match[1])]}", text)
    (folder / "prometheus.yml").write_text(text)
    server = Server(free_port())
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    options += [f"--web.listen-address={HOST}:{server.port}", "--enable-feature=exemplar-storage", "--log.level=warn"]
    child = Child(shutil.which("prometheus") or "prometheus", options, folder / "log")
    try:
        wait_until(lambda: listens(server.port), 60)
        yield server
    finally:
        child.end(signal.SIGTERM, 20)
