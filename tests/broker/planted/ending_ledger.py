"""billing-ledger that ends behind its fifth database transaction, before the one in Kafka: `-A ending_ledger`."""

from __future__ import annotations

import os
from itertools import count
from typing import Any

from streamapp.agents import billing_ledger
from streamapp.sinks.ledger.sink import LedgerSink

app = billing_ledger.app
_write = LedgerSink.write
_chunks = count(1)


async def write(*chunk: Any) -> None:
    await _write(*chunk)
    if next(_chunks) == 5:
        os._exit(9)


LedgerSink.write = write  # type: ignore[method-assign,assignment]
