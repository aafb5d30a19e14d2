"""The real server on real sockets, with a pipeline in memory: bounds for connections and slow clients, a clean end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from capture_calls import TOKEN, Door, directory_in
from conftest import wait_until

from streamapp.capture.pipeline import MemoryPipeline
from streamapp.capture.server import HEAD_BYTES_MAX, listen, serve
from streamapp.errors import Refused, Unavailable

EVENT = json.dumps({"api_key": TOKEN, "event": "e", "distinct_id": "d"}).encode()
HEAD = b"POST /e/ HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
REQUEST = HEAD % len(EVENT) + EVENT
WAIT_S = 20.0

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Running:
    """A server under way."""

    def __init__(self, door: Door, port: int, task: asyncio.Task[None]) -> None:
        self.door, self.port, self.task = door, port, task
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


async def until(condition: Callable[[], object]) -> None:
    """Wait in a thread, so that the server goes on."""
    await asyncio.to_thread(wait_until, condition, WAIT_S)


@asynccontextmanager
async def running(folder: Path, pipeline: MemoryPipeline | None = None, **limits: Any) -> AsyncIterator[Running]:
    door = Door(directory_in(folder), pipeline, **limits)
    listening = listen("127.0.0.1", 0)
    task = asyncio.create_task(serve(door.app, door.pipeline, door.limits, listening))
    server = Running(door, listening.getsockname()[1], task)
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
            assert len(server.door.events()) == 3
            assert server.door.events()[0]["data"]["ip"] == "127.0.0.1"

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
            await until(lambda: server.door.app.connections() == 0)

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
            await until(lambda: server.door.app.connections() == 0)
            assert server.door.pipeline.written == []

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
            await until(lambda: server.door.app.connections() == 2)
            status, body = await server.ask(b"")
            assert (status, json.loads(body)["slug"]) == (503, "overloaded")
            await until(lambda: server.door.app.connections() == 2)
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

    run(test())


def test_a_pipeline_that_cannot_go_on_ends_the_process(tmp_path: Path) -> None:
    async def test() -> None:
        async with running(tmp_path) as server:
            assert (await server.ask(REQUEST))[0] == 200
            server.door.pipeline.broken = "lost count"
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
