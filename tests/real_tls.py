"""TLS in front of a server of the tests, and a proxy that tunnels to it: what a client meets in a company's network.

`certificates/` has a CA that no machine trusts, and a server of it for 127.0.0.1, localhost and far.example.test;
both are valid until 2120.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CA = Path(__file__).parent / "certificates" / "ca.pem"
SERVER = Path(__file__).parent / "certificates" / "server.pem"
LIMIT = 1 << 16

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextmanager
def tls(port: int) -> Iterator[int]:
    """The port at which this server answers by TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SERVER)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _both_ways(reader, writer, port)

    with _serving(serve, context) as at:
        yield at


@contextmanager
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy by HTTP: its address, and the tunnels and requests that it was asked for. It only tunnels, to this
    machine, whatever host was asked for."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        asked.append(f"{method} {target}")
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await _both_ways(reader, writer, int(target.rpartition(":")[2]))
        else:
            writer.write(b"HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n")
            writer.close()

    with _serving(serve, None) as at:
        yield f"http://127.0.0.1:{at}", asked


async def _both_ways(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(LIMIT):
                sink.write(data)
                await sink.drain()
        sink.close()

    await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))


@contextmanager
def _serving(serve: Serve, context: ssl.SSLContext | None) -> Iterator[int]:
    """A server in a thread of its own; its port."""
    loop, ready, over, ports = asyncio.new_event_loop(), threading.Event(), asyncio.Event(), list[int]()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await over.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    def run_all() -> None:
        loop.set_exception_handler(lambda loop, context: None)  # a client that hangs up is no news
        loop.run_until_complete(run())
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    thread = threading.Thread(target=run_all)
    thread.start()
    assert ready.wait(10)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
