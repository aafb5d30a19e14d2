"""The embedded broker: ready when it says so, keeps its data and port, ends with its parent."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZipFile

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from conftest import create_topic

from streamapp.broker import users
from streamapp.broker.broker import Broker, archive, classpath
from streamapp.broker.jars import LOCK, file_name, jars, read_lock
from streamapp.broker.tools import TOOLS
from streamapp.broker.train import train
from streamapp.errors import Refused, Unavailable
from streamapp.kafka.clients.admin_client import AdminClient
from streamapp.processes.child import free_port

GROUP_TOOL = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"

LARGE = b"x" * 1000  # enough to be compressed


def write(broker: Broker, topic: str, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "acks": "all"})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0


def read(broker: Broker, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "reader", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    messages = consumer.consume(count, timeout=30)
    consumer.close()
    return [value for message in messages if (value := message.value()) is not None]


def runs(pid: int) -> bool:
    """Whether the process is there and not a zombie that waits for its parent."""
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_crash_a_stop_and_a_move_keep_the_records(
    new_broker: Callable[..., Broker], formatted: Path, cache_dir: Path
) -> None:
    """The port is the same for ever, of one object; nothing is left outside the folder."""
    one = new_broker(formatted)
    with ThreadPoolExecutor(1) as pool:  # it outlives the thread that started it
        pool.submit(one.start).result()
    address, first, unpacked = one.bootstrap, one.pid, one.data_dir / "scratch"
    create_topic(one, "kept")
    producer = Producer({"bootstrap.servers": one.bootstrap, "compression.type": "lz4"})
    producer.produce("kept", LARGE)
    assert producer.flush(30) == 0
    libraries = {*unpacked.glob("liblz4*")}
    assert libraries, "Java unpacks its native libraries here"
    assert first is not None
    one.kill()
    assert not runs(first)
    one.start()
    assert not libraries & {*unpacked.iterdir()}
    assert one.bootstrap == address
    assert one.pid not in (None, first)
    write(one, "kept", b"1", b"2")
    one.stop()
    one.stop()
    with Broker(one.data_dir, cache_dir=cache_dir) as other:
        assert other.port != one.port
        assert read(other, "kept", 3) == [LARGE, b"1", b"2"]


def test_a_taken_port_is_refused(new_broker: Callable[..., Broker]) -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        with pytest.raises(Refused, match=r"port \d+ is taken"):
            new_broker(port=somebody.getsockname()[1]).start()


def test_a_data_directory_serves_one_broker(broker: Broker, cache_dir: Path) -> None:
    with pytest.raises(Refused, match="another broker runs on"):
        Broker(broker.data_dir, cache_dir=cache_dir).start()
    assert broker.pid is not None


def test_a_broker_that_cannot_start_shows_its_log(new_broker: Callable[..., Broker], formatted: Path) -> None:
    broken = new_broker(formatted, properties={"num.io.threads": "none"})
    with pytest.raises(Unavailable, match=r"num\.io\.threads"):
        broken.start()
    assert broken.pid is None


def test_topics_are_never_made_by_use(broker: Broker, unique: Callable[[str], str]) -> None:
    name = unique("unknown")
    producer = Producer({"bootstrap.servers": broker.bootstrap, "message.timeout.ms": 500, "log_level": 0})
    errors: list[object] = []
    producer.produce(name, b"x", on_delivery=lambda error, message: errors.append(error))
    producer.flush(10)
    assert errors
    assert errors[0] is not None
    assert name not in AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=30).topics


def test_stock_tools_run(broker: Broker, make_topic: Callable[..., str], unique: Callable[[str], str]) -> None:
    topic, group = make_topic("tools"), unique("group")
    write(broker, topic, b"1", b"2")
    to_latest = ("--reset-offsets", "--to-latest", "--topic", topic, "--execute")
    done = broker.tool(GROUP_TOOL, "--group", group, *to_latest)
    assert re.search(rf"{group}\s+{topic}\s+0\s+2", done.stdout), done


def test_stock_tools_run_by_the_names_of_their_scripts(
    broker: Broker, make_topic: Callable[..., str], cache_dir: Path, tmp_path: Path
) -> None:
    topic = make_topic()
    where = {"STREAM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap, "STREAM_CACHE_DIR": str(cache_dir)}
    environment = {**os.environ, **where}

    def told(*words: str) -> str:
        command = [sys.executable, "-m", "streamapp", "broker", "tool", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
        return done.stdout

    for name, arguments in (
        ("kafka-topics.sh", ("--describe", "--topic", topic)),
        ("kafka-get-offsets", ("--topic", topic)),
    ):
        assert topic in told(name, *arguments)
    (segment := tmp_path / "00000000000000000000.log").touch()
    assert "Log starting offset: 0" in told("kafka-dump-log", "--files", str(segment)), "it is told of no broker"


def test_every_tool_has_its_class_in_the_jars(cache_dir: Path) -> None:
    there = set[str]()
    for jar in jars(cache_dir, lock=LOCK):
        with ZipFile(jar) as opened:
            there.update(opened.namelist())
    assert [name for name, of in TOOLS if f"{of.replace('.', '/')}.class" not in there] == []


def test_the_broker_listens_on_loopback_only(broker: Broker) -> None:
    configured = (broker.data_dir / "server.properties").read_text()
    ports = {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", configured)}
    assert len(ports) == 2, "one for clients, one for the controller"
    for port in ports:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        # 127.0.0.2 is this machine as well: a broker that listens everywhere would answer there.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)


def test_it_does_not_outlive_a_killed_parent(
    formatted: Path, tmp_path: Path, cache_dir: Path, until: Callable[..., None]
) -> None:
    shutil.copytree(formatted, tmp_path / formatted.name)
    script = (
        "import sys; from pathlib import Path; from streamapp.broker.broker import Broker\n"
        f"b = Broker(Path({str(tmp_path)!r}), cache_dir=Path({str(cache_dir)!r})); b.start()\n"
        "print(b.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
        assert runs(orphan)
        parent.kill()
    until(lambda: not runs(orphan))


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGTERM])
def test_the_command_prints_its_address_and_stops_cleanly(
    formatted: Path, tmp_path: Path, cache_dir: Path, number: int
) -> None:
    port = free_port()
    shutil.copytree(formatted, tmp_path / "b" / formatted.name)
    command = [sys.executable, "-m", "streamapp", "broker", "start", "--dir", str(tmp_path / "b"), "--port", str(port)]
    environment = {**os.environ, "STREAM_CACHE_DIR": str(cache_dir)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"127.0.0.1:{port}\n"
        process.send_signal(number)
        assert process.wait(30) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert (tmp_path / "b" / "log" / ".kafka_cleanshutdown").exists()


def test_the_command_refuses_a_taken_port(broker: Broker, tmp_path: Path, cache_dir: Path) -> None:
    command = [sys.executable, "-m", "streamapp", "broker", "start", "--dir", str(tmp_path), "--port", str(broker.port)]
    environment = {**os.environ, "STREAM_CACHE_DIR": str(cache_dir)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"streamapp: port {broker.port} is taken: a broker runs there already, or choose another port (0: a free one)\n"
    )


def write_lock(path: Path, content: bytes) -> Path:
    path.write_text(f"# a comment\norg.example:small:1.0 {hashlib.sha256(content).hexdigest()}\n")
    return path


def test_a_damaged_jar_is_fetched_again(tmp_path: Path) -> None:
    lock = write_lock(tmp_path / "lock", b"good")
    asked: list[str] = []

    def fetch(coordinate: str, room: Path) -> Path:
        asked.append(coordinate)
        (room / "got.jar").write_bytes(b"good")
        return room / "got.jar"

    (jar,) = jars(tmp_path / "cache", lock=lock, fetch=fetch)
    assert jars(tmp_path / "cache", lock=lock, fetch=fetch) == [jar]
    assert len(asked) == 1
    jar.write_bytes(b"bad")
    assert jars(tmp_path / "cache", lock=lock, fetch=fetch)[0].read_bytes() == b"good"
    assert len(asked) == 2
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.name.startswith("fetching")] == []


def test_a_fetch_is_tried_again_and_then_says_what_to_do(tmp_path: Path) -> None:
    lock = write_lock(tmp_path / "lock", b"good")
    tries: list[str] = []

    def fetch(coordinate: str, room: Path) -> Path:
        tries.append(coordinate)
        if len(tries) == 1:
            raise OSError("connection reset")
        (room / "got.jar").write_bytes(b"other" if len(tries) < 4 else b"good")
        return room / "got.jar"

    assert jars(tmp_path / "cache", lock=lock, fetch=fetch, backoff_s=0)[0].exists()

    def down(coordinate: str, room: Path) -> Path:
        raise OSError("no route")

    with pytest.raises(Unavailable, match=r"org\.example:small:1\.0: OSError: no route.*HTTPS_PROXY"):
        jars(tmp_path / "empty", lock=lock, fetch=down, backoff_s=0)


def test_two_at_once_fetch_once(tmp_path: Path) -> None:
    lock = write_lock(tmp_path / "lock", b"good")
    asked: list[str] = []

    def fetch(coordinate: str, room: Path) -> Path:
        asked.append(coordinate)
        (room / "got.jar").write_bytes(b"good")
        return room / "got.jar"

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: jars(tmp_path / "cache", lock=lock, fetch=fetch), range(4)))
    assert len(asked) == 1


def test_the_lock_holds_one_version_of_each_jar() -> None:
    projects = [coordinate.rsplit(":", 1)[0] for coordinate in read_lock(LOCK)]
    assert len(set(projects)) == len(projects) == 47
    assert len({file_name(coordinate) for coordinate in read_lock(LOCK)}) == 47
    kafka = {c.rsplit(":", 1)[1] for c in read_lock(LOCK) if c.startswith("org.apache.kafka:")}
    log4j = {c.rsplit(":", 1)[1] for c in read_lock(LOCK) if c.startswith("org.apache.logging.log4j:")}
    assert (len(kafka), len(log4j)) == (1, 1)


def test_the_fast_start_is_made_once_and_used(broker: Broker, cache_dir: Path) -> None:
    made = archive(cache_dir, classpath(cache_dir))
    assert train(cache_dir) == made
    arguments = Path(f"/proc/{broker.pid}/cmdline").read_text().split("\0")
    assert f"-XX:AOTCache={made}" in arguments
    assert "[aot]" not in (broker.data_dir / "console.log").read_text(), "Java would say so if it could not use it"


def test_the_jar_of_an_image_is_the_one_that_is_tested_here(tmp_path: Path, cache_dir: Path) -> None:
    jar, again = tmp_path / "file-users.jar", tmp_path / "again"
    command = [sys.executable, "-m", users.__name__, str(jar)]
    subprocess.run(command, env=os.environ | {"STREAM_CACHE_DIR": str(cache_dir)}, check=True, timeout=300)
    assert jar.read_bytes() == users.compiled(cache_dir).read_bytes()
    (compiler,) = jars(cache_dir, lock=users.COMPILER)
    users._compile(compiler, classpath(cache_dir), again)
    assert users._packed(again).read_bytes() == jar.read_bytes()
