"""dead-letter-monitor: dead_letter → causes in a table, incidents told to PagerDuty, a webhook and the log.

faust -A streamapp.agents.dead_letter_monitor worker -l info
"""

from __future__ import annotations

import random
from typing import Any

from streamapp.agents.pages import serve
from streamapp.exact.app import StreamApp, chunks
from streamapp.exact.faust.failstop import starting
from streamapp.exact.place import Place
from streamapp.exact.takeover import Source, TableTakeover
from streamapp.exact.transaction import PartitionProducer
from streamapp.meters.letters.codec import LETTERS
from streamapp.meters.letters.courier import Courier, Patience
from streamapp.meters.letters.table import LettersTask, letters_parts
from streamapp.meters.letters.view import LettersView
from streamapp.metrics import GroupMetrics
from streamapp.sinks.notices.destinations import destinations, names_of, reasons_of
from streamapp.store.position import StoredPosition
from streamapp.store.rows import Store
from streamapp.topics import registry
from tables.incident import AlertRules

GROUP = "dead-letter-monitor"

with starting():
    app = StreamApp(GROUP)
    alerts = app.settings.alerts
    rules = AlertRules(
        threshold=alerts.threshold,
        at_once=reasons_of(alerts),
        quiet_ms=alerts.quiet_seconds * 1000,
        update_ms=alerts.update_seconds * 1000,
        destinations=names_of(alerts),
    )
dead_letters = app.chunk_topic("dead_letter")


def letters(place: Place, store: Store, producer: PartitionProducer, position: StoredPosition | None) -> LettersTask:
    """A partition's causes, as they were left, and a courier for what is still to be told."""
    patience = Patience(alerts.per_minute, alerts.give_up_seconds * 1000)

    def courier() -> Courier:
        return Courier(destinations(alerts), patience, app.clock, random.random)

    return LettersTask(letters_parts(rules, courier, alerts.link), place, store, producer, position)


source = Source(GROUP, "dead_letter", LETTERS, registry.changelog(GROUP, LETTERS.name), ())
metrics = GroupMetrics(GROUP)
# Ticks need not wait: one is due only when a notice has arrived or an incident is quiet.
app.own(source.topic, TableTakeover(source, app.settings, letters, 0, app.clock, metrics.committed))
serve(app, LettersView(app, metrics, app.clock, LETTERS))


@app.agent(dead_letters)
async def monitor(stream: Any) -> None:
    """Each chunk of letters is one transaction: counts, incidents, what is to be told, and the offset."""
    async for chunk in chunks(stream):
        await chunk.partition.apply(chunk)
