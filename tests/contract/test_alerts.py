"""One suite for every destination of incidents, against real HTTP; and what is special of each."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from pager_stand_in import ROUTING_KEY, stand_in
from pager_stand_in import Pager as StandIn

from streamapp.notices.alerts import Alerts, Backoff, Later, Never, Notice, Told
from streamapp.notices.destinations import LogAlerts, Pager, Webhook
from streamapp.processes.child import free_port

T = TypeVar("T")
NOTICE = Notice("c0ffee-1", "opened", 1_736_942_400_000, 0, 12, "llm_usage", "billing-agg", "too_late", "# days", None)
OVER = NOTICE._replace(kind="resolved", letters=40)


@pytest.fixture
def far() -> Iterator[StandIn]:
    with stand_in() as pager:
        yield pager


def pager(url: str, timeout_s: float = 10) -> Alerts:
    return Pager(f"{url}/v2/enqueue", ROUTING_KEY, timeout_s)


def webhook(url: str, timeout_s: float = 10) -> Alerts:
    return Webhook(f"{url}/hook", "secret", timeout_s)


BOTH = pytest.mark.parametrize("make", [pager, webhook])


def using(make: Callable[[], Alerts], do: Callable[[Alerts], Awaitable[T]]) -> T:
    """Make a destination inside a loop, use it, close it."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Alerts]:
        alerts = make()
        try:
            yield alerts
        finally:
            await alerts.close()

    async def run() -> T:
        async with opened() as alerts:
            return await do(alerts)

    return asyncio.run(run())


@BOTH
def test_a_notice_arrives(far: StandIn, make: Callable[..., Alerts]) -> None:
    assert using(lambda: make(far.url), lambda alerts: alerts.tell(NOTICE)) == Told()
    assert far.requests == 1


@BOTH
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_tried_later(far: StandIn, make: Callable[..., Alerts], status: int) -> None:
    far.answers.append((status, {}))
    answer = using(lambda: make(far.url), lambda alerts: alerts.tell(NOTICE))
    assert isinstance(answer, Later)
    assert answer.after_s is None
    assert str(status) in answer.why


@BOTH
def test_when_to_come_again_is_honoured(far: StandIn, make: Callable[..., Alerts]) -> None:
    headers = {"17": 17.0, "9" * 400: 3600.0, "Wed, 21 Oct 2015 07:28:00 GMT": None, "-1": None, "soon": None}
    far.answers += [(429, {"Retry-After": header}) for header in headers]
    for after_s in headers.values():
        answer = using(lambda: make(far.url), lambda alerts: alerts.tell(NOTICE))
        assert isinstance(answer, Later)
        assert answer.after_s == after_s


@BOTH
@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 410, 422])
def test_what_is_wrong_is_never_tried_again(far: StandIn, make: Callable[..., Alerts], status: int) -> None:
    far.answers.append((status, {"Location": "/elsewhere"}))
    assert isinstance(using(lambda: make(far.url), lambda alerts: alerts.tell(NOTICE)), Never)
    assert far.requests == 1


@BOTH
def test_nobody_there_and_nobody_answering_is_later(far: StandIn, make: Callable[..., Alerts]) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert isinstance(using(lambda: make(nowhere), lambda alerts: alerts.tell(NOTICE)), Later)
    far.silent = True
    assert using(lambda: make(far.url, 0.1), lambda alerts: alerts.tell(NOTICE)) == Later("it did not answer in time")


# -- PagerDuty -------------------------------------------------------------------------------------------------------


def test_one_incident_however_often_it_is_told(far: StandIn) -> None:
    async def tell(alerts: Alerts) -> None:
        for notice in (NOTICE, NOTICE, NOTICE._replace(kind="grown", letters=30), OVER, OVER):
            assert await alerts.tell(notice) == Told()

    using(lambda: pager(far.url), tell)
    (incident,) = far.incidents
    assert (incident.key, incident.triggers, incident.resolved) == ("c0ffee-1", 3, True)
    assert incident.summary == "12 records of llm_usage refused by billing-agg: too_late: # days"


def test_a_wrong_routing_key_is_never_tried_again(far: StandIn) -> None:
    answer = using(lambda: Pager(f"{far.url}/v2/enqueue", "f" * 32, 10), lambda alerts: alerts.tell(NOTICE))
    assert isinstance(answer, Never)
    assert "Invalid routing key" in answer.why
    assert "f" * 32 not in answer.why


def test_the_longest_sentence_and_a_link_fit(far: StandIn) -> None:
    long = NOTICE._replace(shape="x" * 2000, link="https://stream.example/letters")
    assert using(lambda: pager(far.url), lambda alerts: alerts.tell(long)) == Told()
    (event,) = far.events
    assert event["links"] == [{"href": "https://stream.example/letters", "text": "Dead letters"}]
    assert event["payload"]["timestamp"] == "2025-01-15T12:00:00.000Z"


# -- webhook and log -------------------------------------------------------------------------------------------------


def test_the_webhook_gets_facts_and_its_token(far: StandIn) -> None:
    using(lambda: webhook(far.url), lambda alerts: alerts.tell(OVER))
    ((body, headers),) = far.hooks
    assert headers["Authorization"] == "Bearer secret"
    assert body == {
        "incident": "c0ffee-1",
        "event": "resolved",
        "at": "2025-01-15T12:00:00.000Z",
        "letters": 40,
        "source_topic": "llm_usage",
        "refused_by": "billing-agg",
        "reason": "too_late",
        "error": "# days",
        "link": None,
        "summary": "Quiet again: llm_usage records refused by billing-agg (too_late), 40 in all",
    }


def test_the_log_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert using(LogAlerts, lambda alerts: alerts.tell(NOTICE)) == Told()
        assert using(LogAlerts, lambda alerts: alerts.tell(OVER)) == Told()
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    text = caplog.records[0].getMessage()
    assert text.startswith("incident opened: 12 records of llm_usage")
    assert NOTICE._replace(letters=1).summary.startswith("1 record of llm_usage")
    assert json.loads(text[text.index("{") :])["letters"] == 12


def test_waits_grow_to_a_limit_and_start_again_after_success() -> None:
    backoff = Backoff(lambda: 1.0, first_s=1, most_s=10)
    assert [backoff.failed() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    backoff.succeeded()
    assert backoff.failed() == 1
    assert Backoff(lambda: 0.0, first_s=1).failed() == 0.5


@asynccontextmanager
async def forward_proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy by HTTP: its address, and the first line of each request. It forwards plain requests, and refuses to
    CONNECT anywhere."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
        asked.append(f"{method} {target}")
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        else:
            host, _, port = target.split("/")[2].partition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            length = int(next(line.split(b":")[1] for line in head.lower().split(b"\r\n") if b"content-length" in line))
            path = "/" + target.split("/", 3)[3]
            far_writer.write(head.replace(target.encode(), path.encode(), 1) + await reader.readexactly(length))
            writer.write(await far_reader.readuntil(b"\r\n\r\n"))
            far_writer.close()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked


@BOTH
@pytest.mark.parametrize("no_proxy", ["", "127.0.0.1"])
def test_a_proxy_of_the_environment_is_asked_except_for_those_it_is_not_for(
    far: StandIn, make: Callable[..., Alerts], no_proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with forward_proxy() as (proxy, asked):
            monkeypatch.setenv("HTTP_PROXY", proxy)
            monkeypatch.setenv("HTTPS_PROXY", proxy)
            monkeypatch.setenv("NO_PROXY", no_proxy)
            for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
                monkeypatch.delenv(name, raising=False)
            near, elsewhere = make(far.url), make("https://events.pager.invalid")
            await near.tell(NOTICE)
            assert [line.split("/")[2] for line in asked] == ([] if no_proxy else [far.url.split("/")[2]])
            assert far.requests == 1
            assert isinstance(await elsewhere.tell(NOTICE), Later)
            assert asked[-1] == "CONNECT events.pager.invalid:443"
            for each in (near, elsewhere):
                await each.close()

    asyncio.run(run())
