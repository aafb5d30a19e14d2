"""Which destinations the settings name."""

from __future__ import annotations

from streamapp.errors import Misconfigured
from streamapp.notices.alerts import Alerts
from streamapp.notices.log import LogAlerts
from streamapp.notices.pager import Pager
from streamapp.notices.webhook import Webhook
from streamapp.schemas.judging.rejected import Reason
from streamapp.settings import AlertSettings

ROUTING_KEY_CHARS = 32


def names_of(alerts: AlertSettings) -> tuple[str, ...]:
    """The names of those who are told. Raises `Misconfigured`."""
    key = alerts.pagerduty_routing_key
    if key is not None and len(key.get_secret_value()) != ROUTING_KEY_CHARS:
        raise Misconfigured(f"STREAM_ALERTS__PAGERDUTY_ROUTING_KEY is not {ROUTING_KEY_CHARS} characters long")
    # Many a webhook's address is its secret: none is printed.
    webhook = None if alerts.webhook_url is None else alerts.webhook_url.get_secret_value()
    for name, url in (("pagerduty_url", alerts.pagerduty_url), ("webhook_url", webhook), ("link", alerts.link)):
        if url is not None and not url.startswith(("https://", "http://")):
            raise Misconfigured(f"STREAM_ALERTS__{name.upper()} is not an http or https address")
    paged = () if key is None else (Pager.name,)
    return (LogAlerts.name, *paged, *(() if alerts.webhook_url is None else (Webhook.name,)))


def reasons_of(alerts: AlertSettings) -> frozenset[str]:
    """The reasons of which one dead letter is enough. Raises `Misconfigured`."""
    found = frozenset(filter(None, map(str.strip, alerts.reasons_at_once.split(","))))
    unknown = sorted(found - {*Reason})
    if unknown:
        raise Misconfigured(f"STREAM_ALERTS__REASONS_AT_ONCE names {', '.join(unknown)}, which no dead letter has")
    return found


def destinations(alerts: AlertSettings) -> list[Alerts]:
    """Those that `names_of` names. To be made inside the loop that uses them."""
    made: list[Alerts] = [LogAlerts()]
    if alerts.pagerduty_routing_key is not None:
        key = alerts.pagerduty_routing_key.get_secret_value()
        made.append(Pager(alerts.pagerduty_url, key, alerts.timeout_seconds))
    if alerts.webhook_url is not None:
        token = alerts.webhook_token
        secret = None if token is None else token.get_secret_value()
        made.append(Webhook(alerts.webhook_url.get_secret_value(), secret, alerts.timeout_seconds))
    return made
