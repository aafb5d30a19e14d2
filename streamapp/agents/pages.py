"""Puts a group's pages and metrics on the worker's own web server."""

from __future__ import annotations

from streamapp.dead_letters.recent import RecentLetters
from streamapp.exact.app import StreamApp
from streamapp.meters.view import TableView
from streamapp.watch.standing import KafkaStandings
from streamapp.web.pages.reconciliation import AskedReconciliation
from streamapp.web.routes import mount


def serve(app: StreamApp, view: TableView) -> None:
    """Call once per app. The routes are added when the worker has its place, before Faust adds its own."""
    settings = app.settings
    grace_ms = settings.billing.grace_seconds * 1000
    letters = RecentLetters(settings.kafka, app.clock)
    timeout_s = settings.web.peer_timeout_seconds
    found = AskedReconciliation(settings.reconcile.url, timeout_s, app.clock)
    standings = KafkaStandings(settings.kafka, app.clock, timeout_s)
    capture = settings.capture

    def placed(_: StreamApp) -> None:
        mount(
            app.web.web_app,
            view,
            clock=app.clock,
            peer_timeout_s=timeout_s,
            grace_ms=grace_ms,
            letters=letters,
            reconciliation=found,
            standings=standings,
            capture_url=f"http://{capture.host}:{capture.port}" if capture.port else "",
        )

    app.on_placed = placed
