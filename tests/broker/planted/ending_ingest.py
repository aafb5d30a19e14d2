"""analytics-ingest that ends behind its fifth insert, before anything else happens."""

from __future__ import annotations

import os
from itertools import count
from typing import Any

from streamapp.agents import analytics_ingest
from streamapp.sinks.clickhouse.events import AnalyticsEvents

app = analytics_ingest.app
_insert = AnalyticsEvents.insert
_inserts = count(1)


def insert(events: AnalyticsEvents, block: Any, token: str, *, again: bool = False) -> None:
    _insert(events, block, token, again=again)
    if next(_inserts) == 5:
        os._exit(9)


AnalyticsEvents.insert = insert  # type: ignore[method-assign,assignment]
