"""What a broker spends and answers: CPU by thread from /proc, requests by kind from its own metrics over JMX.

Java's attach tool names the threads and opens the metrics on a port of the loopback; the broker runs as it always does.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bench.proc import PROC
from streamapp.broker.broker import TOOL_HEAP_MB, classpath
from streamapp.extras import java
from streamapp.processes.child import HOST, free_port

TIMEOUT_S = 120
NAME = re.compile(r'^"([^"]*)".* nid=(\d+)', re.MULTILINE)
COUNT = re.compile(r"request=(\w+).*:Count=(\d+)")
TWICE = ("FetchConsumer", "FetchFollower")  # Kafka counts these as Fetch, too
OPEN = ("jmxremote.authenticate=false", "jmxremote.ssl=false", f"jmxremote.host={HOST}")


class Counts(NamedTuple):
    """What was counted since the broker's start, by kind, and when that was."""

    at_s: float
    of: Counter[str]

    def per_second(self, before: Counts) -> dict[str, float]:
        """The most frequent kind first."""
        took_s, gone = self.at_s - before.at_s, self.of - before.of
        return {kind: count / took_s for kind, count in gone.most_common()}


class BrokerCost:
    """Looks at one broker process. Raises RuntimeError when Java's tools cannot."""

    def __init__(self, pid: int, cache: Path) -> None:
        self._pid, self._classpath = pid, classpath(cache)
        self._jcmd("ManagementAgent.start", f"jmxremote.port={free_port()}", *OPEN)
        told = re.search(r"^URL\s*: (service:jmx:\S+)", self._jcmd("ManagementAgent.status"), re.MULTILINE)
        if told is None:
            raise RuntimeError(f"the broker {pid} does not tell where its metrics are")
        self._url = told[1]

    def threads(self) -> Counts:
        """CPU µs of the threads that live, by their names without numbers."""
        at_s, spent = time.monotonic(), dict[int, tuple[str, int]]()
        for task in (PROC / str(self._pid) / "task").iterdir():
            with suppress(OSError):  # it has ended
                run_ns = int((task / "schedstat").read_text().split()[0])
                spent[int(task.name)] = (task / "comm").read_text().strip(), run_ns // 1000
        # Linux cuts a name after 15 letters: Java knows the whole ones, of its own threads.
        names = {int(number): name for name, number in NAME.findall(self._jcmd("Thread.print"))}
        counts = Counter[str]()
        for number, (short, cpu_us) in spent.items():
            counts[re.sub(r"\d+", "N", names.get(number, short))] += cpu_us
        return Counts(at_s, counts)

    def requests(self) -> Counts:
        """Requests answered, by kind; those that the broker sends to itself are among them."""
        bean = "kafka.network:type=RequestMetrics,name=RequestsPerSec,*"
        told = self._run(
            *("java", "-cp", self._classpath, f"-Xmx{TOOL_HEAP_MB}m", "org.apache.kafka.tools.JmxTool"),
            *("--jmx-url", self._url, "--object-name", bean, "--attributes", "Count"),
            *("--one-time", "--report-format", "properties"),
        )
        at_s, counts = time.monotonic(), Counter[str]()
        for kind, count in COUNT.findall(told):
            if kind not in TWICE:
                counts[kind] += int(count)
        if not counts:
            raise RuntimeError(f"the broker {self._pid} tells no requests: {told}")
        return Counts(at_s, counts)

    def _jcmd(self, *words: str) -> str:
        return self._run("jcmd", str(self._pid), *words)

    def _run(self, program: str, *words: str) -> str:
        path = Path(java()).with_name(program)
        done = subprocess.run([path, *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        if done.returncode:
            raise RuntimeError(f"{program} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout
