"""uvicorn, with what a public endpoint needs besides: bounds for connections and for slow clients, a clean end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any, ClassVar

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from streamapp.capture.app import App
from streamapp.capture.pipeline import Pipeline
from streamapp.capture.reading.answers import (
    HEAD_TOO_LARGE,
    MALFORMED_REQUEST,
    NO_SUCH_METHOD,
    OVERLOADED,
    TOO_SLOW,
    Refusal,
    refused,
)
from streamapp.errors import Refused, Unavailable
from streamapp.settings import CaptureSettings

HEAD_BYTES_MAX = 64 << 10  # request line and headers; a pixel's query is part of it
BACKLOG = 2048
SWEEP_S = 1.0
ANSWER_S = 3.0  # to write the last answers after the drain
LINGER_S = 5.0  # for a client that goes on sending after its answer: closed at once, it would lose the answer
LINGER_BYTES_MAX = 64 << 20  # and no more of it is looked at

log = logging.getLogger(__name__)


class Lingering:
    """A transport whose `close`, in the middle of a request, lets the client read its answer first: what still comes
    in is thrown away, until the client closes, for a while."""

    def __init__(self, transport: Any, linger: Callable[[], bool]) -> None:
        self._transport, self._linger = transport, linger
        self.write, self.get_extra_info = transport.write, transport.get_extra_info
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading
        self.set_protocol = transport.set_protocol
        self.lingers = False

    def close(self) -> None:
        """Close, or linger; the second time close."""
        if self.lingers or self._transport.is_closing() or not self._linger():
            self._transport.close()
            return
        self.lingers = True
        self._transport.write_eof()
        with suppress(RuntimeError):
            self._transport.resume_reading()

    def lost(self) -> None:
        """The connection is gone. Who asks whether to linger is let go: it holds this, and nobody looks for cycles."""
        self._linger = lambda: False

    def is_closing(self) -> bool:
        """Whether no more is to be answered."""
        return self.lingers or bool(self._transport.is_closing())


class Connection(HttpToolsProtocol):
    """uvicorn's, which knows how long its request has been coming in and how large its head is, and refuses in our form
    what never becomes a request."""

    connections_max = 0
    answers: ClassVar[Counter[tuple[int, str]]] = Counter()  # to be counted here: status and slug

    def connection_made(self, transport: Any) -> None:
        lingering = Lingering(transport, self._comes_in)
        super().connection_made(lingering)  # type: ignore[arg-type]  # it has what uvicorn uses of a transport
        self._lingering, self._thrown_away = lingering, 0
        self._refusal: Refusal | None = None  # nothing that comes behind it is read
        self.coming_since_s: float | None = self.loop.time()
        self.head_bytes = 0  # -1: the head is complete
        if len(self.connections) > self.connections_max:
            self._end(Refusal(OVERLOADED))

    def _comes_in(self) -> bool:
        """Whether to linger: the head of a request was read, its body is still on its way."""
        if self.coming_since_s is None or self.head_bytes >= 0:
            return False
        self.loop.call_later(LINGER_S, self._lingering.close)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lingering.lost()

    def eof_received(self) -> None:
        if self._lingering.lingers:
            self._lingering.close()

    def data_received(self, data: bytes) -> None:
        if self._lingering.lingers:
            self._thrown_away += len(data)
            if self._thrown_away > LINGER_BYTES_MAX:
                self._lingering.close()
            return
        if self._refusal is not None:
            return
        if self.coming_since_s is None:
            self.coming_since_s = self.loop.time()
        if self.head_bytes >= 0:
            self.head_bytes += len(data)
        self._unset_keepalive_if_required()
        self._feed(data)
        if self.head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(Refusal(HEAD_TOO_LARGE))

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self.parser.get_method() == b"CONNECT":
                self._refuse(Refusal(NO_SUCH_METHOD))
            else:
                self._feed_again(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError:  # the path cannot be read
            self._refuse(Refusal(MALFORMED_REQUEST))
        except httptools.HttpParserError as error:
            self._refuse(Refusal(MALFORMED_REQUEST, f"{MALFORMED_REQUEST.meaning}: {error}"))

    def _feed_again(self, behind: bytes) -> None:
        """The same head once more, without its wish for another protocol, which HTTP/1.1 lets a server ignore. The
        parser had taken the head for the whole request; `behind` it may be a body."""
        start = b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        kept = (b"%s: %s\r\n" % (name, value) for name, value in self.headers if name != b"upgrade")
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        self._feed(b"".join((start, *kept, b"\r\n", behind)))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.head_bytes = max(0, self.head_bytes)
        if self.coming_since_s is None:  # it came in one piece with the end of the request before
            self.coming_since_s = self.loop.time()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # it comes again
        self.head_bytes = -1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self.coming_since_s = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._refusal is not None:
            self._refuse(self._refusal)
        elif self.coming_since_s is not None:  # the next one had to wait for this answer
            self.coming_since_s = self.loop.time()

    def drop_if_slow(self, before_s: float) -> None:
        """End a connection whose request began to come in before then and is not complete."""
        if self.coming_since_s is None or self.coming_since_s >= before_s or self._answering():
            return
        if not self.transport.is_closing():
            self._end(Refusal(TOO_SLOW))

    def _answering(self) -> bool:
        """Whether a complete request waits for its answer, which must be the first to be written."""
        last = self.cycle
        return bool(self.pipeline) or (last is not None and not last.response_complete and not last.more_body)

    def _refuse(self, refusal: Refusal) -> None:
        """End with this answer, behind those that are owed. The client may be sending still."""
        self._refusal = refusal
        if not self._answering() and not self.transport.is_closing():
            self.head_bytes = -1
            self._end(refusal)

    def _end(self, refusal: Refusal) -> None:
        answer = refused(refusal)
        self.answers[answer.status, answer.slug] += 1
        retry = f"retry-after: {answer.retry_after_s}\r\n" if answer.retry_after_s else ""
        head = (
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\ncontent-type: application/json\r\n{retry}"
        )
        length = f"connection: close\r\ncontent-length: {len(answer.body)}\r\n\r\n"
        self.transport.write(f"{head}{length}".encode() + answer.body)
        self.transport.close()


class Server(uvicorn.Server):
    """Ends by itself on SIGTERM and SIGINT, and does not raise the signal again afterwards."""

    def __init__(self, config: uvicorn.Config, pipeline: Pipeline, drain_s: float) -> None:
        super().__init__(config)
        self._pipeline, self._drain_s = pipeline, drain_s

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        late = asyncio.get_running_loop().call_later(self._drain_s, self._pipeline.give_up)
        try:
            await super().shutdown(sockets)
        finally:
            late.cancel()

    def _stop(self) -> None:
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """A socket that several capture processes of one user may share. Raises `Refused` when others have the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise Refused(f"capture cannot listen on {host}:{port}: {error.strerror}; set STREAM_CAPTURE__PORT") from None
    return listening


async def serve(app: App, pipeline: Pipeline, limits: CaptureSettings, listening: socket.socket) -> None:
    """Answer requests until SIGTERM or SIGINT, then finish those that are under way.

    1  no new connections      2  requests under way are acknowledged and answered, at most `drain_seconds`
    3  what Kafka has not acknowledged by then is answered 503: its senders have it, and come back

    Raises `Unavailable`, after the same, when the pipeline can never send again.
    """

    class Bounded(Connection):
        connections_max = limits.connections_max
        answers = app.counters.answers

    config = uvicorn.Config(
        app,
        http=Bounded,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=round(limits.keep_alive_seconds),
        timeout_graceful_shutdown=round(limits.drain_seconds + ANSWER_S),
    )
    server = Server(config, pipeline, limits.drain_seconds)
    app.connections = lambda: len(server.server_state.connections)
    timeout_s = limits.request_timeout_seconds
    helpers = [asyncio.create_task(app.watch()), asyncio.create_task(_sweep(server, pipeline, timeout_s))]
    try:
        await server.serve(sockets=[listening])
    finally:
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        await pipeline.close(ANSWER_S)
    if pipeline.broken and pipeline.to_mend:
        raise pipeline.to_mend
    if pipeline.broken:
        raise Unavailable(f"the producer cannot go on, a new process can: {pipeline.broken}")


async def _sweep(server: Server, pipeline: Pipeline, timeout_s: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(min(SWEEP_S, timeout_s / 2))
        server.should_exit = server.should_exit or bool(pipeline.broken)
        for connection in tuple(server.server_state.connections):
            if isinstance(connection, Connection):
                connection.drop_if_slow(loop.time() - timeout_s)
