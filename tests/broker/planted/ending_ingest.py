"""analytics-ingest that ends behind its fifth insert, before anything else happens."""

from __future__ import annotations

import os
from itertools import count
from typing import Any

from streamapp.agents import analytics_ingest

app = analytics_ingest.app
_insert = analytics_ingest.events.insert
_inserts = count(1)


def insert(block: Any, token: str) -> None:
    _insert(block, token)
    if next(_inserts) == 5:
        os._exit(9)


analytics_ingest.events.insert = insert  # type: ignore[method-assign]
