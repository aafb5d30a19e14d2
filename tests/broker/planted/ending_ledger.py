"""billing-ledger that ends behind its fifth database transaction, before the one in Kafka: `-A ending_ledger`."""

from __future__ import annotations

import os
from itertools import count
from typing import Any

from streamapp.agents import billing_ledger

app = billing_ledger.app
_apply = billing_ledger.ledger.apply
_chunks = count(1)


async def apply(*chunk: Any) -> int:
    new = await _apply(*chunk)
    if next(_chunks) == 5:
        os._exit(9)
    return new


billing_ledger.ledger.apply = apply  # type: ignore[method-assign,assignment]
