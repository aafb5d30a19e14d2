"""The gate before every page: who asks, whether their roles are enough, whether an act comes from a page of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from aiohttp import web

from streamapp.clock import Clock, entropy
from streamapp.errors import Misconfigured
from streamapp.loopback import is_loopback
from streamapp.settings.web import WebSettings
from streamapp.web.entry.identity import NOBODY, Asker, Headers, Identity, bearer, digest, identity
from streamapp.web.entry.rights import ROLES, TABLE, Role, Route, may
from streamapp.web.entry.secret_file import SecretFile, secrets
from streamapp.web.peers import ASKING, SEAL_HEADER, Seals, Sign, keys_of, unsigned
from streamapp.web.problem import Problem

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    # No other site is told where somebody came from. `no-referrer` would hide the Origin of our own forms, too.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""What every answer has, unless it says otherwise."""

ASKER = web.RequestKey("asker", Asker)
"""Who asks, on a request that was let in."""

MONITOR = Asker("metrics", frozenset({"monitor"}))


class Gate:
    """Admits or refuses. `table` says which role a route needs; a route that is not in it is nobody's."""

    def __init__(
        self,
        who: Identity,
        seals: Seals | None = None,
        *,
        is_open: bool = False,
        origin: str | None = None,
        monitors: Callable[[], tuple[bytes, ...]] = tuple,
        table: Mapping[str, Route] = TABLE,
    ) -> None:
        self._who, self._seals, self._open = who, seals, is_open
        self._origin = None if origin is None else origin.rstrip("/").lower()
        self._monitors, self._table = monitors, table

    @property
    def by_name(self) -> bool:
        """Whether whoever asks has a name."""
        return not self._open

    @property
    def sign(self) -> Sign:
        """Seals questions to other workers."""
        return unsigned if self._seals is None else self._seals.sign

    async def admit(self, route: str, method: str, target: str, headers: Headers, host: str) -> Asker:
        """Who asks for this route. `target`: path and query as they came. Raises `Problem` 401 or 403."""
        known = self._table.get(route)
        if known is None:
            raise Problem(403, "Nobody may ask for this", "It is not in the pages' table of rights.")
        if self._open:
            self._demand_loopback(host)
        asker = await self._asker(known, target, headers)
        if known.acts and method not in {"GET", "HEAD"}:
            self._demand_origin(headers, host)
        if known.peers == "only" and not asker.peer and not (self._open and headers.get(SEAL_HEADER)):
            raise Problem(403, "Workers ask each other here", "Open the page itself.")
        demand(asker, known.least)
        return asker

    async def admitted(self, request: web.Request) -> Asker:
        """The same of aiohttp's request; what is done for it from now on is done for the asker."""
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else "/{rest}"
        asker = await self.admit(
            route.removesuffix(".json") if route.removesuffix(".json") in self._table else route,
            request.method,
            request.raw_path,
            request.headers,
            request.headers.get("Host", ""),
        )
        ASKING.set(asker)
        return asker

    async def _asker(self, route: Route, target: str, headers: Headers) -> Asker:
        if self._seals is not None and route.peers and (seal := headers.get(SEAL_HEADER)):
            return self._seals.open(seal, target)
        if (token := bearer(headers)) and digest(token) in {digest(one.decode()) for one in self._monitors()}:
            return MONITOR
        try:
            return await self._who.who(headers)
        except Problem:
            if route.least is None:
                return NOBODY
            raise

    def _demand_loopback(self, host: str) -> None:
        """A page of the internet may name this address its own: then the browser says its name."""
        name = _hostname(host)
        if (
            host
            and not is_loopback(name)
            and (self._origin is None or _hostname(urlsplit(self._origin).netloc) != name)
        ):
            advice = "Open it as http://localhost, or set STREAM_WEB__ORIGIN to the address at which it is opened."
            raise Problem(403, "These pages are for this machine alone", advice)

    def _demand_origin(self, headers: Headers, host: str) -> None:
        """Browsers say which site's page sent a form, and send the person's credentials with anybody's."""
        given = (headers.get("Origin") or "").rstrip("/").lower()
        wanted = {self._origin} if self._origin is not None else {f"http://{host.lower()}", f"https://{host.lower()}"}
        if given not in wanted:
            advice = "An act needs an Origin that is this address. Behind a proxy, STREAM_WEB__ORIGIN names it."
            raise Problem(403, "That does not come from a page of this address", advice)


def demand(asker: Asker, least: Role | None) -> None:
    """Raises `Problem` 403 when the roles are not enough."""
    if not may(asker.roles, least):
        has = f"{asker.name} has {', '.join(sorted(asker.roles)) or 'no role'}" if asker.name else "nobody has it here"
        advice = f"It needs the role {least}: {ROLES[least][1]}. What is known: {has}." if least else ""
        raise Problem(403, "Not with this role", advice)


def gate(
    settings: WebSettings,
    host: str,
    clock: Clock,
    *,
    peers: bool = True,
    table: Mapping[str, Route] = TABLE,
) -> Gate:
    """The gate of a server that listens on `host`. `peers`: other workers ask it, or are asked by it. Metrics that
    have a port of their own are nobody's here.

    Raises `Misconfigured` for a mode that lacks what it needs, and for none beyond loopback.
    """
    is_open = settings.auth == "none"
    if is_open and not is_loopback(host):
        raise Misconfigured(
            f"pages on {host} would be open to everybody: set STREAM_WEB__AUTH to token, proxy or jwt, or listen on "
            "127.0.0.1 (docs/security.md)"
        )
    who, keys = identity(settings), keys_of(settings)
    if peers and not is_open and keys is None:
        raise Misconfigured(
            f"STREAM_WEB__AUTH={settings.auth} needs STREAM_WEB__PEER_TOKEN_FILE (or …_TOKEN), one for all: "
            "workers ask each other for their pages"
        )
    if settings.monitor_port is not None:
        table = {path: route for path, route in table.items() if path != "/metrics"}
    file = settings.metrics_token_file
    monitors = SecretFile("STREAM_WEB__METRICS_TOKEN_FILE", file, secrets) if file is not None else None
    return Gate(
        who,
        None if keys is None or is_open else Seals(keys, clock, entropy),
        is_open=is_open,
        origin=settings.origin,
        monitors=(lambda: monitors.value) if monitors is not None else tuple,
        table=table,
    )


def _hostname(host: str) -> str:
    return urlsplit(f"//{host}").hostname or ""


async def protect(request: web.Request, response: web.StreamResponse) -> None:
    """For `Application.on_response_prepare`: the headers that every answer has."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop("Server", None)  # which releases serve is nobody's business
