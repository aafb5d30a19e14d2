"""Incidents in the worker's own log: always there, and never away."""

from __future__ import annotations

import json
import logging

from streamapp.notices.alerts import Answer, Notice, Told

log = logging.getLogger(__name__)


class LogAlerts:
    """One line each: the sentence, and the facts as JSON behind it."""

    name = "log"

    async def tell(self, notice: Notice) -> Answer:
        level = logging.INFO if notice.kind == "resolved" else logging.ERROR
        log.log(level, "incident %s: %s %s", notice.kind, notice.summary, json.dumps(notice.facts()))
        return Told()

    async def close(self) -> None:
        pass
