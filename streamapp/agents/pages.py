"""Puts a group's pages and metrics on the worker's own web server."""

from __future__ import annotations

from streamapp.dead_letters.recent import RecentLetters
from streamapp.errors import Misconfigured
from streamapp.exact.app import StreamApp
from streamapp.exact.faust.failstop import failstop, starting
from streamapp.meters.view import TableView
from streamapp.settings import KafkaSettings, Settings
from streamapp.watch.standing import KafkaStandings
from streamapp.web.audit import KafkaAudit
from streamapp.web.gate import gate as gate_of
from streamapp.web.pages.lags import AskedWatch
from streamapp.web.pages.reconciliation import AskedReconciliation
from streamapp.web.routes import mount


def serve(app: StreamApp, view: TableView) -> None:
    """Call once per app. The routes are added when the worker has its place, before Faust adds its own."""
    settings = app.settings
    with starting():
        gate = gate_of(settings.web, settings.web.host, app.clock)
        watcher = watching(settings)
    grace_ms = settings.billing.grace_seconds * 1000
    letters = RecentLetters(watcher, app.clock)
    timeout_s = settings.web.peer_timeout_seconds
    found = AskedReconciliation(settings.reconcile.url, timeout_s, app.clock, gate.sign)
    standings = KafkaStandings(watcher, app.clock, 2 * timeout_s)  # a look is several questions, and no page waits
    capture = settings.capture

    def placed(_: StreamApp) -> None:
        try:
            gate_of(settings.web, app.conf.web_bind, app.clock)  # the command line may have named another address
        except Misconfigured as error:
            failstop(error, "starting the worker")
        mount(
            app.web.web_app,
            view,
            clock=app.clock,
            peer_timeout_s=timeout_s,
            gate=gate,
            grace_ms=grace_ms,
            letters=letters,
            reconciliation=found,
            standings=standings,
            audit=KafkaAudit(settings.kafka, app.clock),
            watch=AskedWatch(settings.watch.url, timeout_s, gate.sign),
            capture_url=f"http://{capture.host}:{capture.port}" if capture.port else "",
        )

    app.on_placed = placed


def watching(settings: Settings) -> KafkaSettings:
    """How the pages ask Kafka about what is not their worker's: as a user of their own, if there is one.

    Raises `Misconfigured` for a user without a password.
    """
    web = settings.web
    if web.kafka_username is None:
        return settings.kafka
    if web.kafka_password_file is None:
        raise Misconfigured("STREAM_WEB__KAFKA_USERNAME needs STREAM_WEB__KAFKA_PASSWORD_FILE")
    if not web.kafka_password_file.is_file():
        raise Misconfigured(f"STREAM_WEB__KAFKA_PASSWORD_FILE={web.kafka_password_file} is not a file")
    user = {"sasl_username": web.kafka_username, "sasl_password": None, "sasl_password_file": web.kafka_password_file}
    return settings.kafka.model_copy(update=user)
