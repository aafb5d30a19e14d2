"""Puts a group's pages and metrics on the worker's own web server."""

from __future__ import annotations

from functools import partial

from streamapp.agents.kept_bills import LedgerBills
from streamapp.dead_letters.acting import KafkaActing
from streamapp.dead_letters.plan import Fix, Rules
from streamapp.dead_letters.recent import RecentLetters
from streamapp.errors import Misconfigured
from streamapp.events.kept import ArchiveObjects, captured_store
from streamapp.events.log import KafkaEventLog
from streamapp.exact.app import StreamApp
from streamapp.exact.faust.failstop import failstop, starting
from streamapp.meters.view import TableView
from streamapp.settings import Settings
from streamapp.watch.standing import KafkaStandings
from streamapp.watch.user import acting_user, pages_user
from streamapp.web.entry.audit import KafkaAudit
from streamapp.web.entry.gate import gate as gate_of
from streamapp.web.monitor import beside
from streamapp.web.outside import Outside
from streamapp.web.pages.asked import ask_registry
from streamapp.web.pages.front.lags import ask_watch
from streamapp.web.pages.front.reconciliation import AskedReconciliation
from streamapp.web.routes import mount


def serve(app: StreamApp, view: TableView) -> None:
    """Call once per app. The routes are added when the worker has its place, before Faust adds its own."""
    settings = app.settings
    with starting():
        gate = gate_of(settings.web, settings.web.host, app.clock)
        watcher = pages_user(settings)
    grace_ms = settings.billing.grace_seconds * 1000
    timeout_s, capture = settings.web.peer_timeout_seconds, settings.capture
    outside = Outside(
        standings=KafkaStandings(watcher, app.clock, 2 * timeout_s),  # a look is several questions, and no page waits
        letters=RecentLetters(watcher, app.clock),
        events=KafkaEventLog(watcher, settings.kafka),
        audit=KafkaAudit(watcher, app.clock),
        acting=KafkaActing(lambda: acting_user(settings), lambda fix: _rules(settings, fix), app.clock),
        ledger=LedgerBills(settings.ledger),
        store=captured_store(settings.clickhouse),
        archive=ArchiveObjects(settings),
        reconciliation=AskedReconciliation(settings.reconcile.url, timeout_s, app.clock, gate.sign),
        watch=partial(ask_watch, settings.watch.url, timeout_s, gate.sign),
        subjects=partial(ask_registry, settings.registry.url, timeout_s, gate.sign),
        capture_url=f"http://{capture.host}:{capture.port}" if capture.port else "",
    )

    def placed(_: StreamApp) -> None:
        try:
            gate_of(settings.web, app.conf.web_bind, app.clock)  # the command line may have named another address
        except Misconfigured as error:
            failstop(error, "starting the worker")
        site = mount(
            app.web.web_app,
            view,
            clock=app.clock,
            peer_timeout_s=timeout_s,
            gate=gate,
            grace_ms=grace_ms,
            outside=outside,
        )
        beside(app.web.web_app, settings.web, app.port_offset, site.monitored())

    app.on_placed = placed


def _rules(settings: Settings, fix: Fix) -> Rules:
    from streamapp.capture import again  # a worker whose pages never act needs none of capture

    return again.resending(settings, acting_user(settings), fix)
