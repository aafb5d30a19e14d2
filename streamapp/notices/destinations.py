"""Who the settings name, and how each is told of an incident: the worker's log, PagerDuty, a webhook.

PagerDuty is told by its Events API v2: one incident per `dedup_key`, triggered once or often, resolved at the end.
https://developer.pagerduty.com/docs/events-api-v2/overview/: 202 is taken; 400 is wrong and must not be sent again; 429
and 5xx are to be tried later. A resolve of what is not open changes nothing there, so repeating is harmless.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from streamapp.errors import Misconfigured
from streamapp.notices.alerts import Alerts, Answer, Notice, Told, post, session
from streamapp.schemas.judging.rejected import Reason
from streamapp.schemas.values.timestamp import format_ms
from streamapp.settings import AlertSettings

SUMMARY_CHARS_MAX = 1024  # PagerDuty's
CLIENT = "Hanzo Stream"
ROUTING_KEY_CHARS = 32

log = logging.getLogger("streamapp.notices")  # stays wherever the code stands: people filter by it


class LogAlerts:
    """The worker's own log: always there, and never away. One line for each notice: the sentence, and behind it the
    facts as JSON."""

    name = "log"

    async def tell(self, notice: Notice) -> Answer:
        level = logging.INFO if notice.kind == "resolved" else logging.ERROR
        log.log(level, "incident %s: %s %s", notice.kind, notice.summary, json.dumps(notice.facts()))
        return Told()

    async def close(self) -> None:
        pass


class Pager:
    """`routing_key`: of an Events API v2 integration. `url`: PagerDuty's, or the one of its European service region."""

    name = "pagerduty"

    def __init__(self, url: str, routing_key: str, timeout_s: float) -> None:
        self._url, self._routing_key = url, routing_key
        self._session = session(timeout_s)

    async def tell(self, notice: Notice) -> Answer:
        return await post(self._session, self._url, event(notice, self._routing_key), {})

    async def close(self) -> None:
        await self._session.close()


def event(notice: Notice, routing_key: str) -> dict[str, Any]:
    """The notice in PagerDuty's words."""
    body: dict[str, Any] = {"routing_key": routing_key, "dedup_key": notice.incident}
    if notice.kind == "resolved":
        return {**body, "event_action": "resolve"}
    body |= {
        "event_action": "trigger",
        "client": CLIENT,
        "payload": {
            "summary": notice.summary[:SUMMARY_CHARS_MAX],
            "source": notice.topic,
            "component": notice.by,
            "class": notice.reason,
            "severity": "error",
            "timestamp": format_ms(notice.at_ms),
            "custom_details": notice.facts(),
        },
    }
    if notice.link is not None:
        body |= {"client_url": notice.link, "links": [{"href": notice.link, "text": "Dead letters"}]}
    return body


class Webhook:
    """JSON, POSTed to a URL of yours. Answer with 2xx; 408, 429 and 5xx are tried again later. `token` goes into the
    Authorization header as a bearer token."""

    name = "webhook"

    def __init__(self, url: str, token: str | None, timeout_s: float) -> None:
        self._url = url
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session = session(timeout_s)

    async def tell(self, notice: Notice) -> Answer:
        return await post(self._session, self._url, {**notice.facts(), "summary": notice.summary}, self._headers)

    async def close(self) -> None:
        await self._session.close()


def names_of(alerts: AlertSettings) -> tuple[str, ...]:
    """The names of those who are told. Raises `Misconfigured`."""
    key = alerts.pagerduty_routing_key
    if key is not None and len(key.get_secret_value()) != ROUTING_KEY_CHARS:
        raise Misconfigured(f"STREAM_ALERTS__PAGERDUTY_ROUTING_KEY is not {ROUTING_KEY_CHARS} characters long")
    # Many a webhook's address is its secret: none is printed.
    webhook = None if alerts.webhook_url is None else alerts.webhook_url.get_secret_value()
    for name, url in (("pagerduty_url", alerts.pagerduty_url), ("webhook_url", webhook), ("link", alerts.link)):
        if url is not None and not url.startswith(("https://", "http://")):
            raise Misconfigured(f"STREAM_ALERTS__{name.upper()} is not an http or https address")
    paged = () if key is None else (Pager.name,)
    return (LogAlerts.name, *paged, *(() if alerts.webhook_url is None else (Webhook.name,)))


def reasons_of(alerts: AlertSettings) -> frozenset[str]:
    """The reasons of which one dead letter is enough. Raises `Misconfigured`."""
    found = frozenset(filter(None, map(str.strip, alerts.reasons_at_once.split(","))))
    unknown = sorted(found - {*Reason})
    if unknown:
        raise Misconfigured(f"STREAM_ALERTS__REASONS_AT_ONCE names {', '.join(unknown)}, which no dead letter has")
    return found


def destinations(alerts: AlertSettings) -> list[Alerts]:
    """Those that `names_of` names. To be made inside the loop that uses them."""
    made: list[Alerts] = [LogAlerts()]
    if alerts.pagerduty_routing_key is not None:
        key = alerts.pagerduty_routing_key.get_secret_value()
        made.append(Pager(alerts.pagerduty_url, key, alerts.timeout_seconds))
    if alerts.webhook_url is not None:
        token = alerts.webhook_token
        secret = None if token is None else token.get_secret_value()
        made.append(Webhook(alerts.webhook_url.get_secret_value(), secret, alerts.timeout_seconds))
    return made
