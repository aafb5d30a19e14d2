"""The ledger as the pages see it: read-only, one short question at a time."""

from __future__ import annotations

import asyncio
import logging

from streamapp.clock import monotonic_s
from streamapp.errors import StreamError
from streamapp.sinks.ledger.database import open_ledger
from streamapp.web.pages.usage.kept import KeptBill, KeptBills

PATIENCE_S = 0.5  # a page does not wait longer
REST_S = 10.0  # and does not ask again so soon

log = logging.getLogger(__name__)


class LedgerBills(KeptBills):
    """The ledger behind a URL. A worker that cannot reach it has pages without it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._rests_until_s = 0.0

    async def chain(self, bill_id: str) -> list[KeptBill]:
        if monotonic_s() < self._rests_until_s:
            return []
        try:
            return await asyncio.wait_for(self._chain(bill_id), PATIENCE_S)
        except (StreamError, TimeoutError) as error:
            self._rests_until_s = monotonic_s() + REST_S
            log.info("pages show nothing of the ledger: %s", error or "it does not answer")
            return []

    async def _chain(self, bill_id: str) -> list[KeptBill]:
        ledger = open_ledger(self._url)
        await ledger.open(create=False)
        try:
            return [KeptBill(event.encode(), at_ms) for event, at_ms in await ledger.chain(bill_id)]
        finally:
            await ledger.close()
