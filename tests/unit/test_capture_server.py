"""The real server on real sockets, with a pipeline in memory: bounds for connections and slow clients, a clean end."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from capture_calls import TOKEN, InMemory, directory_in
from conftest import wait_until
from memory_pipeline import MemoryPipeline

from streamapp.capture.server import HEAD_BYTES_MAX, Connection, listen, serve
from streamapp.errors import Refused, Unavailable

EVENT = json.dumps({"api_key": TOKEN, "event": "e", "distinct_id": "d"}).encode()
HEAD = b"POST /e/ HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
REQUEST = HEAD % len(EVENT) + EVENT
WAIT_S = 20.0

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Running:
    """A server under way."""

    def __init__(self, capture: InMemory, port: int, task: asyncio.Task[None]) -> None:
        self.capture, self.port, self.task = capture, port, task
        self.clients: list[Client] = []

    async def client(self) -> Client:
        self.clients.append(await asyncio.open_connection("127.0.0.1", self.port))
        return self.clients[-1]

    async def ask(self, raw: bytes) -> tuple[int, bytes]:
        reader, writer = await self.client()
        writer.write(raw)
        return await answer(reader)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The status and the body of the next answer."""
    async with asyncio.timeout(WAIT_S):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        return int(head.split()[1]), await reader.readexactly(int(length.partition(b":")[2]))


async def refusal(reader: asyncio.StreamReader) -> tuple[int, str, str]:
    """The same of an answer that refuses, in the one form: its slug and its sentence."""
    status, body = await answer(reader)
    said = json.loads(body)
    assert said.keys() == {"status", "slug", "error"}
    assert said["status"] == 0
    return status, said["slug"], said["error"]


async def until(condition: Callable[[], object]) -> None:
    """Wait in a thread, so that the server goes on."""
    await asyncio.to_thread(wait_until, condition, WAIT_S)


@asynccontextmanager
async def running(folder: Path, pipeline: MemoryPipeline | None = None, **limits: Any) -> AsyncIterator[Running]:
    capture = InMemory(directory_in(folder), pipeline, **limits)
    listening = listen("127.0.0.1", 0)
    task = asyncio.create_task(serve(capture.app, capture.pipeline, capture.limits, listening))
    server = Running(capture, listening.getsockname()[1], task)
    try:
        yield server
    finally:
        for _, writer in server.clients:
            writer.close()
        if not task.done():
            os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(WAIT_S):
            await task


def run(test: Awaitable[None]) -> None:
    async def wrapped() -> None:
        await test

    asyncio.run(wrapped())


def test_requests_of_one_connection_are_answered_in_turn(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as server:
            reader, writer = await server.client()
            writer.write(REQUEST * 3)
            assert [await answer(reader) for _ in range(3)] == [(200, b'{"status":1}')] * 3
            assert len(server.capture.events()) == 3
            assert server.capture.events()[0]["data"]["ip"] == "127.0.0.1"

    run(test())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_goes_on_sending_reads_its_answer(tmp_path: Path, chunked: bool) -> None:
    size = 1 << 20

    def post(port: int) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
        pieces = iter([b"x" * (64 << 10)] * 160)  # ten times too much, written to its end before anything is read
        headers = {} if chunked else {"content-length": str(10 * size)}
        connection.request("POST", "/batch/", pieces, headers, encode_chunked=chunked)
        answered = connection.getresponse()
        return answered.status, json.loads(answered.read())["slug"]

    async def test() -> None:
        async with running(tmp_path, body_bytes_max=size) as server:
            for _ in range(5):
                assert await asyncio.to_thread(post, server.port) == (413, "body_too_large")
            await until(lambda: server.capture.app.connections() == 0)

    run(test())


@pytest.mark.parametrize("sent", [b"", b"POST /e/ HT", HEAD % 100, HEAD % 100 + b'{"api_key'])
def test_a_slow_client_is_told_and_let_go(tmp_path: Path, sent: bytes) -> None:
    async def test() -> None:
        async with running(tmp_path, request_timeout_seconds=0.2) as server:
            reader, writer = await server.client()
            writer.write(sent)
            status, body = await answer(reader)
            assert (status, json.loads(body)["slug"]) == (408, "too_slow")
            assert await reader.read() == b""
            await until(lambda: server.capture.app.connections() == 0)
            assert server.capture.pipeline.written == []

    run(test())


@pytest.mark.parametrize("second", [b"POST /e/ HT", HEAD % 100])
def test_a_client_that_is_slow_with_its_second_request_is_let_go(tmp_path: Path, second: bytes) -> None:
    async def test() -> None:
        async with running(tmp_path, request_timeout_seconds=0.2) as server:
            reader, writer = await server.client()
            writer.write(REQUEST + second)
            assert (await answer(reader))[0] == 200
            assert (await answer(reader))[0] == 408

    run(test())


@pytest.mark.parametrize("second", [b"POST /e/ HT", HEAD % 100])
def test_whoever_waits_for_the_answer_before_is_not_slow(tmp_path: Path, second: bytes) -> None:
    async def test() -> None:
        pipeline = MemoryPipeline(hold=True)
        async with running(tmp_path, pipeline, request_timeout_seconds=0.1) as server:
            reader, writer = await server.client()
            writer.write(REQUEST + second)
            await until(lambda: pipeline.records)
            slow, _ = await server.client()
            assert (await answer(slow))[0] == 408  # so much later
            pipeline.land()
            assert (await answer(reader))[0] == 200
            assert (await answer(reader))[0] == 408

    run(test())


def test_a_client_that_waits_for_kafka_is_not_slow(tmp_path: Path) -> None:
    async def test() -> None:
        pipeline = MemoryPipeline(hold=True)
        async with running(tmp_path, pipeline, request_timeout_seconds=0.1) as server:
            reader, writer = await server.client()
            writer.write(REQUEST)
            await until(lambda: pipeline.records)
            slow, _ = await server.client()
            assert (await answer(slow))[0] == 408  # so much later
            pipeline.land()
            assert (await answer(reader))[0] == 200

    run(test())


def test_connections_are_bounded(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path, connections_max=2) as server:
            kept = [await server.client() for _ in range(2)]
            await until(lambda: server.capture.app.connections() == 2)
            status, body = await server.ask(b"")
            assert (status, json.loads(body)["slug"]) == (503, "overloaded")
            await until(lambda: server.capture.app.connections() == 2)
            reader, writer = kept[0]
            writer.write(REQUEST)
            assert (await answer(reader))[0] == 200

    run(test())


@pytest.mark.parametrize("head", [b"GET /e/?data=", b"GET /e/ HTTP/1.1\r\nx: "])
def test_a_head_without_end_is_refused(tmp_path: Path, head: bytes) -> None:
    async def test() -> None:
        async with running(tmp_path) as server:
            status, body = await server.ask(head + b"x" * (HEAD_BYTES_MAX + 1))
            assert (status, json.loads(body)["slug"]) == (431, "head_too_large")

    run(test())


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"EVENTS /e/ HTTP/1.1\r\n\r\n", "Invalid method encountered"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "Invalid method encountered"),
        (b"POST /e/ HTTP/9.9\r\n\r\n", "Invalid HTTP version"),
        (b"POST /\xff HTTP/1.1\r\n\r\n", "Invalid char in url path"),
        (b"POST x: HTTP/1.1\r\n\r\n", "Invalid characters in url"),
        (b"POST http://x HTTP/1.1\r\n\r\n", ""),
        (b"POST /e/ HTTP/1.1\r\nno colon\r\n\r\n", "Invalid header token"),
        (b"POST /e/ HTTP/1.1\r\norigin: a\x01b\r\n\r\n", "Invalid header value char"),
        (b"POST /e/ HTTP/1.1\r\ncontent-length: many\r\n\r\n", "Invalid character in Content-Length"),
        (b"POST /e/ HTTP/1.1\r\ncontent-length: -1\r\n\r\n", "Invalid character in Content-Length"),
        (b"POST /e/ HTTP/1.1\r\ncontent-length: %s\r\n\r\n" % (b"9" * 30), "Content-Length overflow"),
        (b"POST /e/ HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "Duplicate Content-Length"),
        (b"POST /e/ HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "Invalid character in chunk size"),
    ],
)
def test_what_is_no_http_is_refused_as_everything_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sent: bytes, why: str
) -> None:
    async def test() -> None:
        async with running(tmp_path) as server:
            reader, writer = await server.client()
            writer.write(REQUEST + sent)
            assert await answer(reader) == (200, b'{"status":1}')  # which is owed, and written first
            said = await refusal(reader)
            assert said[:2] == (400, "malformed_request")
            assert said[2].endswith(f": {why}" if why else "read")
            writer.write(b"x" * 100_000)  # a client that goes on reads its answer all the same
            assert await reader.read() == b""
            assert server.capture.app.counters.answers[400, "malformed_request"] == 1
            assert len(server.capture.events()) == 1

    run(test())
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_a_refusal_waits_for_the_answers_that_are_owed(tmp_path: Path) -> None:
    async def test() -> None:
        pipeline = MemoryPipeline(hold=True)
        async with running(tmp_path, pipeline) as server:
            reader, writer = await server.client()
            writer.write(REQUEST * 2 + b"nonsense" * 20_000)
            await until(lambda: pipeline.records)
            assert (await server.ask(b"nonsense\r\n"))[0] == 400  # so much later
            pipeline.land()
            assert await answer(reader) == (200, b'{"status":1}')
            await until(lambda: pipeline.records)
            pipeline.land()
            assert await answer(reader) == (200, b'{"status":1}')
            assert (await refusal(reader))[:2] == (400, "malformed_request")
            assert await reader.read() == b""

    run(test())


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
def test_the_wish_for_another_protocol_is_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, protocol: bytes
) -> None:
    wish = b"\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAEAAEAAAAIA\r\n" % protocol
    wishing = REQUEST.replace(b"\r\n", wish, 1)
    query = b"GET /e/?data=%7B HTTP/1.1\r\nhost: x" + wish + b"\r\n"

    async def test() -> None:
        async with running(tmp_path) as server:
            reader, writer = await server.client()
            writer.write(wishing + query + wishing)
            assert [(await answer(reader))[0] for _ in range(3)] == [200, 400, 200]
            head, body = wishing[:-40], wishing[-40:]
            writer.write(head)
            await until(lambda: server.capture.app.counters.body_bytes)
            writer.write(body)
            assert await answer(reader) == (200, b'{"status":1}')
            assert len(server.capture.events()) == 3

    run(test())
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_nobody_is_connected_through(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as server:
            reader, writer = await server.client()
            writer.write(b"CONNECT example.com:443 HTTP/1.1\r\n\r\n")
            assert (await refusal(reader))[:2] == (405, "method_not_allowed")

    run(test())


def test_a_connection_that_is_over_leaves_nothing(tmp_path: Path) -> None:
    def left() -> int:
        return sum(isinstance(one, Connection) for one in gc.get_objects())

    async def test() -> None:
        async with running(tmp_path, body_bytes_max=1000) as server:
            for raw, status in ((REQUEST, 200), (b"nonsense\r\n", 400), (HEAD % 2000 + b"x" * 1500, 413)):
                assert (await server.ask(raw))[0] == status
                server.clients.pop()[1].close()
            await until(lambda: server.capture.app.connections() == 0)
            await until(lambda: left() == 0)

    gc.disable()  # so that what is in a cycle stays
    try:
        run(test())
    finally:
        gc.enable()


def test_the_last_of_a_large_body_is_not_a_head(tmp_path: Path) -> None:
    event = json.dumps(
        {"api_key": TOKEN, "event": "e", "distinct_id": "d", "properties": {"a": "x" * 300_000}}
    ).encode()

    async def test() -> None:
        async with running(tmp_path) as server:
            reader, writer = await server.client()
            writer.write((HEAD % len(event) + event) * 2)
            assert [(await answer(reader))[0] for _ in range(2)] == [200, 200]

    run(test())


def test_a_stop_finishes_what_was_accepted(tmp_path: Path) -> None:
    async def test() -> None:
        pipeline = MemoryPipeline(hold=True)
        async with running(tmp_path, pipeline) as server:
            reader, writer = await server.client()
            idle, _ = await server.client()
            writer.write(REQUEST)
            await until(lambda: pipeline.records)
            os.kill(os.getpid(), signal.SIGTERM)
            assert await idle.read() == b""
            with pytest.raises(OSError):  # noqa: PT011  which one is the system's affair
                await asyncio.open_connection("127.0.0.1", server.port)
            pipeline.land()
            assert (await answer(reader))[0] == 200
            async with asyncio.timeout(WAIT_S):
                await server.task

    run(test())


def test_a_stop_does_not_wait_for_ever(tmp_path: Path) -> None:
    async def test() -> None:
        pipeline = MemoryPipeline(hold=True)
        async with running(tmp_path, pipeline, drain_seconds=0.2) as server:
            reader, writer = await server.client()
            writer.write(REQUEST)
            await until(lambda: pipeline.records)
            os.kill(os.getpid(), signal.SIGTERM)
            status, body = await answer(reader)
            assert (status, json.loads(body)["slug"]) == (503, "kafka_away")
            async with asyncio.timeout(WAIT_S):
                await server.task
            assert pipeline.written == []

    run(test())


def test_it_is_ready_when_kafka_answers(tmp_path: Path) -> None:
    async def test() -> None:
        pipeline = MemoryPipeline()
        pipeline.away = True
        async with running(tmp_path, pipeline) as server:

            def status(page: str) -> int:
                asking = HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)
                asking.request("GET", f"/health/{page}")
                return asking.getresponse().status

            assert await asyncio.to_thread(status, "ready") == 503
            assert await asyncio.to_thread(status, "live") == 200
            pipeline.away = False
            await until(lambda: status("ready") == 200)
            pipeline.missing = frozenset({"dead_letter"})
            assert await asyncio.to_thread(status, "ready") == 503
            await until(lambda: status("ready") == 200)  # it was asked again

    run(test())


def test_a_pipeline_that_cannot_go_on_ends_the_process(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as server:
            assert (await server.ask(REQUEST))[0] == 200
            server.capture.pipeline.broken = "lost count"
            await until(server.task.done)

    with pytest.raises(Unavailable, match="lost count"):
        run(test())


def test_processes_share_a_port_and_strangers_do_not() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with listen("127.0.0.1", port):
            pass
        with pytest.raises(Refused, match="STREAM_CAPTURE__PORT"):
            listen("203.0.113.1", port)
