"""PagerDuty, by its Events API v2: one incident per `dedup_key`, triggered once or often, resolved at the end.

https://developer.pagerduty.com/docs/events-api-v2/overview/: 202 is taken; 400 is wrong and must not be sent again; 429
and 5xx are to be tried later. A resolve of what is not open changes nothing there, so repeating is harmless.
"""

from __future__ import annotations

from typing import Any

from streamapp.notices.alerts import Answer, Notice, post, session
from streamapp.schemas.values.timestamp import format_ms

SUMMARY_CHARS_MAX = 1024  # PagerDuty's
CLIENT = "Hanzo Stream"


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
