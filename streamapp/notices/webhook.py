"""Incidents as JSON, POSTed to a URL of yours. Answer with 2xx; 408, 429 and 5xx are tried again later."""

from __future__ import annotations

from streamapp.notices.alerts import Answer, Notice, post, session


class Webhook:
    """`token`, if there is one, goes into the Authorization header as a bearer token."""

    name = "webhook"

    def __init__(self, url: str, token: str | None, timeout_s: float) -> None:
        self._url = url
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._session = session(timeout_s)

    async def tell(self, notice: Notice) -> Answer:
        return await post(self._session, self._url, {**notice.facts(), "summary": notice.summary}, self._headers)

    async def close(self) -> None:
        await self._session.close()
