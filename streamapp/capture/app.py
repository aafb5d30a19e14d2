"""The ASGI application: a request comes in, its records are acknowledged, then it is answered. No framework.

1  the body is read, within its size and the buffer's        413, 503 · nothing was taken
2  judged (intake.py)                                        400, 401, 413, 429
3  records and dead letters go to Kafka as one group              503 · nothing was taken: away, no topic, or no room
4  the last of them is acknowledged                          503 · unknown what was written; same uuid, same id
5  the answer
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from multidict import CIMultiDict

from streamapp.capture import cors
from streamapp.capture.counters import Counters
from streamapp.capture.intake import Ask, Intake, Verdict
from streamapp.capture.openapi import document
from streamapp.capture.pipeline import Pipeline
from streamapp.capture.reading import answers
from streamapp.capture.reading.addresses import client_address, forwarded_for
from streamapp.capture.reading.answers import Answer, Refusal, refused
from streamapp.capture.reading.events import TOPIC
from streamapp.clock import Clock
from streamapp.errors import Misconfigured
from streamapp.kafka.trouble import PROPAGATION_S, no_topics
from streamapp.metrics import OPENMETRICS, TEXT, wants_openmetrics
from streamapp.schemas.judging import letter
from streamapp.schemas.values.trace import HEADER
from streamapp.settings import CaptureSettings
from streamapp.web.entry.gate import HEADERS, Gate
from streamapp.web.problem import Problem

log = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

ENDPOINTS = ("/e", "/capture", "/batch", "/i/v0/e")
ENDPOINT_PATHS = frozenset(path + slash for path in ENDPOINTS for slash in ("", "/"))
JSON: cors.Header = (b"content-type", b"application/json")
PROTECTED: list[cors.Header] = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
CLOSE: cors.Header = (b"connection", b"close")
EVENTS_ALLOWED: cors.Header = (b"allow", b"GET, POST, OPTIONS")
PAGE_ALLOWED: cors.Header = (b"allow", b"GET, HEAD")
TRACEPARENT = HEADER.encode()
TOPICS = (TOPIC, letter.TOPIC)
HEARD_S = 5.0  # Kafka is asked whether it is there when it has been silent for so long, and for its topics as often
AGAIN_S = 0.2


async def demand_topics(pipeline: Pipeline) -> None:
    """Raise `Misconfigured` when Kafka answers and has not all `TOPICS`, not even after a few seconds, or does not let
    us in; `Denied` when it does not let us write there."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + PROPAGATION_S
    while await pipeline.answers(TOPICS) and pipeline.missing:
        if loop.time() > end_s:
            raise Misconfigured(no_topics(pipeline.missing))
        await asyncio.sleep(AGAIN_S)
    if pipeline.to_mend:
        raise pipeline.to_mend


class App:
    """One process of capture."""

    def __init__(
        self, intake: Intake, pipeline: Pipeline, limits: CaptureSettings, clock: Clock, gate: Gate | None = None
    ) -> None:
        self._gate = gate  # before /metrics and /openapi.json; None: they are for everybody
        self._intake, self._pipeline, self._limits, self._clock = intake, pipeline, limits, clock
        self._incoming = 0  # bytes of bodies that are not complete
        self._time_s: Callable[[], float] | None = None  # the loop's
        self._away = True  # until Kafka has answered once
        self.connections: Callable[[], int] = lambda: 0
        self.counters = Counters(self._under_way, lambda: self.connections())
        described = document(ENDPOINTS, limits)
        self._pages: dict[str, Callable[[Scope], tuple[int, cors.Header, bytes]]] = {
            "/health/live": lambda scope: (200, JSON, b'{"status":"live"}'),
            "/health/ready": self._ready,
            "/health": self._ready,
            "/metrics": self._metrics,
            "/openapi.json": lambda scope: (200, JSON, described),
        }
        self.shown = set(self._pages)  # to whoever reaches capture

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application of version 3; HTTP only."""
        assert scope["type"] == "http", scope["type"]
        now_s = self._time_s
        if now_s is None:
            now_s = self._time_s = asyncio.get_running_loop().time
        began_s = now_s()
        length = 0
        origin = forwarded = standard = None
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = int(value)  # the parser below us takes digits only
            elif name == b"origin":
                origin = value
            elif name == b"x-forwarded-for":
                forwarded = value if forwarded is None else forwarded + b"," + value
            elif name == b"forwarded":
                standard = value if standard is None else standard + b"," + value
        if forwarded is None and standard is not None:
            forwarded = forwarded_for(standard)
        path, method = scope["path"], scope["method"]
        extra: list[cors.Header] = [] if origin is None else cors.of(origin)
        if path in ENDPOINT_PATHS and method in ("POST", "GET"):
            answer = await self._events(scope, receive, length, forwarded, began_s, extra)
        elif path in ENDPOINT_PATHS and method == "OPTIONS":
            wanted = _header(scope, b"access-control-request-headers") or None
            answer, extra = answers.NOTHING, cors.preflight(origin, wanted)
        elif path in self.shown and method in ("GET", "HEAD"):
            status, named, body = await self._admitted(scope) or self.page(scope)
            await _respond(send, status, [*named, *extra, *PROTECTED], body)
            return
        else:
            allowed = EVENTS_ALLOWED if path in ENDPOINT_PATHS else PAGE_ALLOWED if path in self.shown else None
            answer = refused(Refusal(answers.NO_SUCH_METHOD if allowed else answers.NO_SUCH_PAGE))
            extra += [CLOSE] if allowed is None else [CLOSE, allowed]  # its body, if any, is not read
        if answer is None:
            return  # the client is gone
        self.counters.answered(answer.status, answer.slug, now_s() - began_s)
        await _answer(send, answer, extra)

    async def watch(self) -> None:
        """Find out whether Kafka answers and has the topics: about once a second while it is silent or has not, else
        every few seconds."""
        loop, asked_s = asyncio.get_running_loop(), 0.0
        told: frozenset[str] = frozenset()
        told_mend = ""
        while True:
            silent = self._away or loop.time() - self._pipeline.heard_s() > HEARD_S
            if silent or self._pipeline.missing or loop.time() - asked_s > HEARD_S:
                answered, asked_s = await self._pipeline.answers(TOPICS), loop.time()
                self._hear(away=silent and not answered)
            missing = self._pipeline.missing
            if missing != told:
                log.error("%s", no_topics(missing)) if missing else log.info("all topics are there")
                told = missing
            if (to_mend := str(self._pipeline.to_mend or "")) not in ("", told_mend):
                log.error("%s", to_mend)
            told_mend = to_mend
            await asyncio.sleep(1)

    def _hear(self, away: bool) -> None:
        if away != self._away:
            log.warning("Kafka does not answer") if away else log.info("Kafka answers")
        self._away = away

    async def _events(
        self,
        scope: Scope,
        receive: Receive,
        length: int,
        forwarded: bytes | None,
        began_s: float,
        extra: list[cors.Header],
    ) -> Answer | None:
        try:
            body = await self._body(receive, length)
            if body is None:
                return None
            if isinstance(body, Refusal):
                extra.append(CLOSE)  # the rest of it is not read
                return refused(body)
            self.counters.body_bytes += len(body)
            trace = _header(scope, TRACEPARENT)
            query = scope["query_string"].decode("latin-1")
            ask = Ask(query, client_address(scope["client"], forwarded, self._limits.proxies), trace)
            verdict = self._intake.judge(ask, body, self._clock(), began_s)
            return await self._written(verdict, began_s, trace) if verdict.groups else verdict.answer
        except Exception:
            log.exception("a request could not be judged")
            return refused(Refusal(answers.FAILED))

    async def _body(self, receive: Receive, length: int) -> bytes | Refusal | None:
        """The whole body, or why it is refused; None when the client went away. `length`: as announced, or 0."""
        if length > self._limits.body_bytes_max:
            return Refusal(answers.BODY_TOO_LARGE)
        message = await receive()
        chunk: bytes = message.get("body", b"")
        if message["type"] == "http.request" and not message["more_body"]:
            return chunk
        chunks: list[bytes] = []
        held = 0
        try:
            while message["type"] == "http.request":
                chunk = message["body"]
                chunks.append(chunk)
                held += len(chunk)
                self._incoming += len(chunk)
                trouble = self._too_much(held)
                if trouble is not None:
                    return trouble
                if not message["more_body"]:
                    return b"".join(chunks)
                message = await receive()
            return None
        finally:
            self._incoming -= held  # judging does not wait, and its records are counted by the pipeline

    async def _written(self, verdict: Verdict, began_s: float, trace: bytes) -> Answer:
        # While Kafka is away one group at a time is let through: it finds out first when Kafka is back.
        if self._away and self._pipeline.records:
            return refused(Refusal(answers.KAFKA_AWAY))
        if self._pipeline.missing and (gone := self._gone(verdict)):
            return refused(Refusal(answers.TOPIC_MISSING, no_topics(gone)))
        future = self._pipeline.send(verdict.groups)
        if future is None:
            return refused(Refusal(answers.KAFKA_AWAY if self._away else answers.OVERLOADED))
        error = await future
        if error is not None:
            kind = answers.TOPIC_MISSING if self._gone(verdict) else answers.KAFKA_AWAY
            return refused(Refusal(kind, f"Kafka did not acknowledge: {error}"))
        self._away = False
        self.counters.acknowledged(asyncio.get_running_loop().time() - began_s, trace)
        self.counters.events += verdict.events
        if verdict.refused:
            self.counters.refused.update(verdict.refused)
        if verdict.unreadable:
            self.counters.unreadable.update(verdict.unreadable)
        return verdict.answer

    def _gone(self, verdict: Verdict) -> frozenset[str]:
        """Which of its topics do not exist."""
        return self._pipeline.missing.intersection(group.topic for group in verdict.groups)

    def _too_much(self, held: int) -> Refusal | None:
        if held > self._limits.body_bytes_max:
            return Refusal(answers.BODY_TOO_LARGE)
        if self._incoming + self._pipeline.bytes > self._limits.buffer_bytes_max:
            return Refusal(answers.OVERLOADED)
        return None

    async def _admitted(self, scope: Scope) -> tuple[int, list[cors.Header], bytes] | None:
        """The answer to somebody who may not see a page of ours; None: they may. Health is for everybody."""
        path = scope["path"]
        if self._gate is None or path.startswith("/health"):
            return None
        headers = CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
        try:
            await self._gate.admit(path, scope["method"], path, headers, headers.get("Host", ""))
        except Problem as problem:
            kind = {401: answers.NOT_NAMED, 403: answers.NOT_ALLOWED}.get(problem.status, answers.FAILED)
            challenge = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
            return kind.status, [JSON, *challenge], refused(Refusal(kind, f"{problem}. {problem.advice}")).body
        return None

    def page(self, scope: Scope) -> tuple[int, list[cors.Header], bytes]:
        """Status, headers and body of a page of ours."""
        try:
            status, kind, body = self._pages[scope["path"]](scope)
            return status, [kind], body
        except Exception:
            log.exception("%s could not be told", scope["path"])
            failed = refused(Refusal(answers.FAILED))
            return failed.status, [JSON], failed.body

    def _metrics(self, scope: Scope) -> tuple[int, cors.Header, bytes]:
        openmetrics = wants_openmetrics(_header(scope, b"accept").decode("latin-1"))
        kind = OPENMETRICS if openmetrics else TEXT
        return 200, (b"content-type", kind.encode()), self.counters.exposition(openmetrics)

    def _ready(self, scope: Scope) -> tuple[int, cors.Header, bytes]:
        if self._away:
            return 503, JSON, b'{"status":"kafka_away"}'
        if missing := self._pipeline.missing:
            told = {"status": "topic_missing", "missing_topics": sorted(missing), "error": no_topics(missing)}
            return 503, JSON, msgspec.json.encode(told)
        return 200, JSON, b'{"status":"ready"}'

    def _under_way(self) -> tuple[int, int]:
        return self._pipeline.records, self._pipeline.bytes + self._incoming


def _header(scope: Scope, wanted: bytes) -> bytes:
    """The value of a header, empty where there is none."""
    return next((value for name, value in scope["headers"] if name == wanted), b"")


async def _answer(send: Send, answer: Answer, extra: list[cors.Header]) -> None:
    headers = [JSON, *extra] if answer.body else extra
    if answer.retry_after_s:
        headers = [*headers, (b"retry-after", str(answer.retry_after_s).encode())]
    await _respond(send, answer.status, headers, answer.body)


async def _respond(send: Send, status: int, headers: list[cors.Header], body: bytes) -> None:
    length = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body})
