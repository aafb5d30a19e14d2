"""Who may ask for what: every route, role and mode; what an attacker sends; what starts and what does not."""

from __future__ import annotations

import asyncio
import json
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from front_fake import MetricsWorker, SinkWorker
from gates import (
    AUDIENCE,
    HOST,
    METRICS,
    MODES,
    ORIGIN,
    PEER,
    PROXY_SECRET,
    basic,
    claims,
    credentials,
    ec_key,
    jwks,
    multi,
    public_pem,
    rsa_key,
    settings,
    signed,
    token_of,
)
from letters_fake import FakeLetters, letter
from pydantic import SecretStr
from web_fake import FakeAudit, FakeStandings, FakeWorker, Served, World, serving

from streamapp.clock import entropy
from streamapp.errors import Denied, Misconfigured, Unavailable
from streamapp.kafka.clients.security import confluent_config
from streamapp.settings import KafkaSettings, Settings
from streamapp.settings.web import WebSettings
from streamapp.watch.standing import Standing
from streamapp.watch.user import pages_user
from streamapp.web.entry.gate import HEADERS, Gate, gate
from streamapp.web.entry.identity import Asker, digest
from streamapp.web.entry.rights import ROLES, ROUTES, TABLE, Role, Route, may, table
from streamapp.web.pages.models import latency
from streamapp.web.peers import ASKING, SEAL_HEADER, Seals
from streamapp.web.problem import Problem

WORLD = World(hours_back=2, hostile=False)
A_BILL = next(iter(WORLD.bills))
SECRET = b'{"team_id":"team_a","org_id":"org_a","password":"hunter2secret","mail":"anna@example.com"}'
A_LETTER = letter(value=SECRET, key=b"team_a")
WITHIN: tuple[Role, ...] = tuple(ROLES)
PAGE = (Path(__file__).parent.parent.parent / "docs" / "security.md").read_text()


def rows_of(section: str, first: str) -> list[list[str]]:
    """The cells of a table of docs/security.md, the one whose first column is called so."""
    part = PAGE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = part.partition(f"| {first} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def route_of(path: str, least: str, also: str) -> Route:
    """A row of the page's table of rights."""
    peers = {"workers alone, for whoever asks them": "only", "workers, for whoever asks them": "also"}.get(also, "")
    role = None if least == "everybody" else least
    return Route(path.strip("`"), role, also == "acts: needs an Origin", peers)  # type: ignore[arg-type]


RIGHTS = [route_of(*row) for row in rows_of("Roles", "route")]
"""The table of rights as people read it. The tests go by it, and not by the code's."""
EXAMPLES = {
    "{name}": "usage_hourly",
    "{group}": "billing-agg",
    "{org}/{team}": "org_acme/team_search",
    "{org}/{agent}": "org_acme/agent_1",
    "{topic}": "worker",
    "{rest}": "nothing/here",
    "/letters/{id}": f"/letters/{A_LETTER.id}",
    "{id}": A_BILL,
}


def example(path: str) -> str:
    """An address of that route."""
    for pattern, value in EXAMPLES.items():
        path = path.replace(pattern, "/letters/" + A_LETTER.id if pattern == "/letters/{id}" else value)
    return path


Ask = Callable[..., Awaitable[tuple[int, str, Mapping[str, str]]]]


def visit(
    folder: Path, mode: str, check: Callable[[Ask, list[Served], FakeAudit], Awaitable[None]], **more: Any
) -> None:
    """Serve two workers behind the gate of that mode; `check` asks the first one."""

    async def run() -> None:
        audit = FakeAudit()
        views = FakeWorker(WORLD, "agg-0", range(4)), FakeWorker(WORLD, "agg-1", range(4, 8))
        door = gate(settings(folder, mode, **more), "0.0.0.0", WORLD.clock)
        letters = FakeLetters([A_LETTER])
        async with AsyncExitStack() as stack:
            made = serving(*views, gate=door, letters=letters, audit=audit, peer_timeout_s=5)
            served = await stack.enter_async_context(made)
            session = await stack.enter_async_context(aiohttp.ClientSession())

            async def ask(
                path: str, headers: Mapping[str, str] | None = None, method: str = "GET", at: int = 0, **options: Any
            ) -> tuple[int, str, Mapping[str, str]]:
                url = served[at].url + path
                sent = {"Host": HOST, **(headers or {})}
                async with session.request(method, url, headers=sent, allow_redirects=False, **options) as answer:
                    if answer.content_type == "text/event-stream":
                        return answer.status, (await answer.content.readuntil(b"\n\n")).decode(), answer.headers
                    return answer.status, await answer.text(), answer.headers

            await check(ask, served, audit)

    asyncio.run(run())


def admit(door: Gate, route: str, headers: Mapping[str, str], method: str = "GET", host: str = HOST) -> int:
    """The status with which the gate answers; 200: it lets through."""

    async def run() -> int:
        try:
            await door.admit(route, method, route, multi(headers), host)
        except Problem as problem:
            return problem.status
        return 200

    return asyncio.run(run())


# -- the table -----------------------------------------------------------------------------------------------------


def test_the_table_has_every_route_and_no_other() -> None:
    async def run() -> None:
        async with serving(FakeWorker(WORLD, "agg-0")) as served:
            resources = served[0].runner.app.router.resources() if served[0].runner.app else []
            found = {resource.canonical for resource in resources}
        others = {"/reconciliation.json", "/watch.json", "/openapi.json"}  # of reconcile, of watch, of capture
        pages = {path.removesuffix(".json") if path.removesuffix(".json") in TABLE else path for path in found}
        assert pages | others == {route.path for route in ROUTES}

    asyncio.run(run())
    assert len(TABLE) == len(ROUTES)


@pytest.mark.parametrize("mode", MODES)
def test_each_route_is_for_the_roles_of_the_table_in_each_mode(tmp_path: Path, mode: str) -> None:
    door = gate(settings(tmp_path, mode), "0.0.0.0", WORLD.clock)
    nobody = {"token": 401, "jwt": 401, "proxy": 403}[mode]
    for route in RIGHTS:
        assert admit(door, route.path, {}) == (200 if route.least is None else nobody), route
        for role in WITHIN:
            allowed = may(frozenset({role}), route.least) and route.peers != "only"
            assert admit(door, route.path, credentials(mode, role)) == (200 if allowed else 403), (route, role)
        metrics = admit(door, route.path, {"Authorization": f"Bearer {METRICS}"})
        assert metrics == (200 if may(frozenset({"monitor"}), route.least) else 403), route
    assert admit(door, "/debug/anything", credentials(mode, "operator")) == 403


def test_without_names_everything_but_unmasking_is_for_everybody_on_this_machine(tmp_path: Path) -> None:
    door = gate(WebSettings(), "127.0.0.1", WORLD.clock)
    for route in RIGHTS:
        refused = route.least == "auditor" or route.peers == "only"
        assert admit(door, route.path, {}, host="127.0.0.1:6066") == (403 if refused else 200), route
        assert admit(door, route.path, {}, host="evil.test") == 403, "a page of the internet that calls us its own"
    assert admit(door, "/_local/{topic}", door.sign("/_local/{topic}"), host="127.0.0.1:6066") == 200
    named = gate(WebSettings(origin="https://box.test"), "127.0.0.1", WORLD.clock)
    assert admit(named, "/", {}, host="box.test") == 200


@pytest.mark.parametrize("mode", MODES)
def test_every_route_answers_as_the_table_says_and_with_the_headers(tmp_path: Path, mode: str) -> None:
    nobody = {"token": 401, "jwt": 401, "proxy": 403}[mode]

    async def check(ask: Ask, served: list[Served], audit: FakeAudit) -> None:
        for route in RIGHTS:
            for role in (None, *WITHIN):
                status, text, headers = await ask(example(route.path), credentials(mode, role))
                roles = frozenset() if role is None else frozenset({role})
                refused = nobody if role is None and route.least else 403
                if route.peers == "only" or not may(roles, route.least):
                    assert status == refused, (route, role)
                else:
                    assert status not in {401, 403, 500}, (route, role)
                for name, value in HEADERS.items():
                    assert headers[name] == value or (name == "Cache-Control" and "static" in route.path), (route, name)
                assert "Server" not in headers
                if "text/html" in headers.get("Content-Type", ""):
                    assert "<script>" not in text
                    assert " style=" not in text
                    assert " onclick=" not in text
                assert "hunter2secret" not in text
                assert "anna@example.com" not in text
        assert audit.written == []

    visit(tmp_path, mode, check)


def test_the_role_of_a_twin_and_of_live_updates_is_that_of_the_page(tmp_path: Path) -> None:
    async def check(ask: Ask, served: list[Served], audit: FakeAudit) -> None:
        viewer, reader = credentials("token", "viewer"), credentials("token", "reader")
        shown = f"/letters/{A_LETTER.id}"
        for page in ("/letters", "/letters.json", shown, f"{shown}.json", "/tables/usage_hourly.json"):
            assert (await ask(page, viewer))[0] == 403, page
            assert (await ask(page, reader))[0] == 200, page
            for once in ("", "&once=1"):
                assert (await ask(f"/live?page={page}{once}", viewer))[0] == 403, page
        status, text, _ = await ask(f"/live?page={shown}", reader)
        assert status == 200
        assert "hunter2secret" not in text
        assert (await ask("/live?page=/", viewer))[0] == 200

    visit(tmp_path, "token", check)


def test_health_tells_strangers_the_status_alone(tmp_path: Path) -> None:
    async def check(ask: Ask, served: list[Served], audit: FakeAudit) -> None:
        assert json.loads((await ask("/health"))[1]) == {"status": "ok"}
        assert json.loads((await ask("/health", {"Authorization": "Bearer wrong"}))[1]) == {"status": "ok"}
        assert json.loads((await ask("/health", {"Authorization": f"Bearer {METRICS}"}))[1])["group"] == "billing-agg"
        assert (await ask("/metrics"))[0] == 401
        assert "stream_events_total 1" in (await ask("/metrics", {"Authorization": f"Bearer {METRICS}"}))[1]

    visit(tmp_path, "token", check)


# -- what an attacker sends ----------------------------------------------------------------------------------------


def forged(payload: Mapping[str, Any], secret: bytes) -> str:
    """An HS256 token whose shared secret is what everybody may know: PyJWT refuses to make one."""
    import hmac
    from base64 import urlsafe_b64encode

    def part(data: bytes) -> bytes:
        return urlsafe_b64encode(data).rstrip(b"=")

    head = part(b'{"alg":"HS256","typ":"JWT","kid":"rsa"}') + b"." + part(json.dumps(payload).encode())
    return (head + b"." + part(hmac.new(secret, head, "sha256").digest())).decode()


def unsigned_token() -> str:
    return jwt.encode(claims("operator"), "", "none", headers={"kid": "rsa"})


PAST = int(time.time()) - 3600
WRONG_TOKENS: Mapping[str, Callable[[], str]] = {
    "alg=none": unsigned_token,
    "HS256 with the RSA public key": lambda: forged(claims("operator"), public_pem()),
    "expired": lambda: signed("operator", exp=PAST),
    "without exp": lambda: signed("operator", exp=None),
    "not yet valid": lambda: signed("operator", nbf=int(time.time()) + 3600),
    "another audience": lambda: signed("operator", aud="another"),
    "without audience": lambda: signed("operator", aud=None),
    "another issuer": lambda: signed("operator", iss="https://evil.test/"),
    "without issuer": lambda: signed("operator", iss=None),
    "without subject": lambda: signed("operator", sub=None),
    "another key": lambda: jwt.encode(claims("operator"), ec_key(), "ES256", headers={"kid": "rsa"}),
    "unknown key": lambda: jwt.encode(claims("operator"), rsa_key(), "RS256", headers={"kid": "other"}),
    "no key named": lambda: jwt.encode(claims("operator"), rsa_key(), "RS256"),
    "cut": lambda: signed("operator")[:-4],
    "nonsense": lambda: "a.b.c",
    "too long": lambda: "a" * 20_000,
    "empty": lambda: "",
}


@pytest.mark.parametrize("what", WRONG_TOKENS)
def test_a_wrong_jwt_is_401(tmp_path: Path, what: str) -> None:
    door = gate(settings(tmp_path, "jwt"), "0.0.0.0", WORLD.clock)
    assert admit(door, "/", {"Authorization": f"Bearer {signed('viewer')}"}) == 200
    assert admit(door, "/", {"Authorization": f"Bearer {WRONG_TOKENS[what]()}"}) == 401


def test_a_good_jwt_of_either_kind_and_wherever_the_proxy_puts_it(tmp_path: Path) -> None:
    elliptic = jwt.encode(claims("reader", aud=["x", AUDIENCE]), ec_key(), "ES256", headers={"kid": "ec"})
    door = gate(settings(tmp_path, "jwt", jwt_header="X-Id-Token"), "0.0.0.0", WORLD.clock)
    assert admit(door, "/letters", {"X-Id-Token": elliptic}) == 200
    assert admit(door, "/letters", {"Authorization": f"Bearer {elliptic}"}) == 401
    mapped = gate(settings(tmp_path, "jwt", roles="staff=viewer,oncall=operator"), "0.0.0.0", WORLD.clock)
    assert admit(mapped, "/letters", {"Authorization": f"Bearer {signed('oncall')}"}) == 200
    assert admit(mapped, "/letters", {"Authorization": f"Bearer {signed('staff')}"}) == 403
    assert admit(mapped, "/", {"Authorization": f"Bearer {signed('operator')}"}) == 403, "no group of the mapping"
    assert admit(mapped, "/", {"Authorization": f"Bearer {signed(roles={'x': 1})}"}) == 403


def test_keys_are_fetched_once_and_their_absence_is_no_verdict(tmp_path: Path) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text=jwks(), content_type="application/json")

    async def run() -> None:
        app = web.Application()
        app.router.add_get("/jwks", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        where = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
        door, away = (gate(settings(tmp_path, "jwt", jwt_keys=where), "0.0.0.0", WORLD.clock) for _ in range(2))

        async def status(door: Gate, token: str) -> int:
            try:
                await door.admit("/", "GET", "/", multi({"Authorization": f"Bearer {token}"}), HOST)
            except Problem as problem:
                return problem.status
            return 200

        good, unknown = signed("viewer"), WRONG_TOKENS["unknown key"]()
        tokens = [good, unknown, good, unknown, WRONG_TOKENS["no key named"](), WRONG_TOKENS["another key"]()]
        assert await asyncio.gather(*(status(door, token) for token in tokens)) == [200, 401, 200, 401, 401, 401]
        assert len(asked) == 1, "unknown keys do not make us ask again and again"
        await runner.cleanup()
        assert await asyncio.gather(*(status(away, good) for _ in range(50))) == [503] * 50
        assert await status(door, good) == 200

    asyncio.run(run())


WITH_SECRET = {"X-Stream-Proxy-Secret": PROXY_SECRET}
NAMED = {"X-Forwarded-User": "anna", "X-Forwarded-Groups": "operator"}
FORGED: Mapping[str, tuple[list[tuple[str, str]], int]] = {
    "as the proxy does": ([*WITH_SECRET.items(), *NAMED.items()], 200),
    "no secret": ([*NAMED.items()], 403),
    "a wrong secret": ([("X-Stream-Proxy-Secret", PROXY_SECRET[:-1] + "x"), *NAMED.items()], 403),
    "an empty secret": ([("X-Stream-Proxy-Secret", ""), *NAMED.items()], 403),
    "nobody": ([*WITH_SECRET.items()], 403),
    "no group": ([*WITH_SECRET.items(), ("X-Forwarded-User", "anna")], 403),
    "a second user": ([*WITH_SECRET.items(), *NAMED.items(), ("X-Forwarded-User", "root")], 403),
    "a second list of groups": ([*WITH_SECRET.items(), *NAMED.items(), ("x-forwarded-groups", "auditor")], 403),
    "a second secret": ([("X-Stream-Proxy-Secret", "guess"), *WITH_SECRET.items(), *NAMED.items()], 403),
}


@pytest.mark.parametrize("what", FORGED)
def test_headers_count_only_from_the_proxy(tmp_path: Path, what: str) -> None:
    async def run() -> int:
        headers = multi({})
        for name, value in FORGED[what][0]:
            headers.add(name, value)
        try:
            await gate(settings(tmp_path, "proxy"), "0.0.0.0", WORLD.clock).admit("/", "GET", "/", headers, HOST)
        except Problem as problem:
            return problem.status
        return 200

    assert asyncio.run(run()) == FORGED[what][1]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {token_of('viewer')}"}, 200),
        (basic(token_of("viewer")), 200),
        (basic(token_of("viewer"), user=""), 200),
        (basic("wrong"), 401),
        (basic(digest(token_of("viewer"))), 401),
        ({"Authorization": "Basic !!!"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": f"Digest {token_of('viewer')}"}, 401),
        ({"X-Forwarded-User": "anna", "X-Forwarded-Groups": "operator"}, 401),
        ({SEAL_HEADER: "x.y"}, 401),
    ],
)
def test_tokens(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    assert admit(gate(settings(tmp_path, "token"), "0.0.0.0", WORLD.clock), "/", headers) == status


def test_a_browser_is_asked_for_a_token(tmp_path: Path) -> None:
    async def check(ask: Ask, served: list[Served], audit: FakeAudit) -> None:
        status, text, headers = await ask("/")
        assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="Hanzo Stream", charset="UTF-8"')
        assert "Who asks?" in text
        status, text, _ = await ask("/usage", {"Accept": "application/json"})
        assert (status, json.loads(text)["error"]) == (401, "Who asks?")
        assert (await ask("/", basic(token_of("viewer"))))[0] == 200

    visit(tmp_path, "token", check)


# -- workers among themselves -----------------------------------------------------------------------------------


class Asked:
    """Seals with a clock of the test, for somebody."""

    def __init__(self, now_ms: int, secret: str = PEER) -> None:
        self.now_ms = now_ms
        self.seals = Seals(lambda: (secret.encode(),), lambda: self.now_ms, entropy)

    def seal(self, path: str, *roles: Role) -> dict[str, str]:
        ASKING.set(Asker("anna", frozenset(roles)))
        return dict(self.seals.sign(path))


def test_peers_answer_for_the_role_of_the_person(tmp_path: Path) -> None:
    async def check(ask: Ask, served: list[Served], audit: FakeAudit) -> None:
        """Pages of two workers are whole: they asked each other."""
        status, text, _ = await ask("/usage.json?limit=500", credentials("token", "viewer"))
        assert (status, {row["worker"] for row in json.loads(text)["hours"]}) == (200, {"agg-0", "agg-1"})
        for team in ("%3Cb%3E+%25%2F", "日本", "a%26b=c#x", "%FF"):
            status, text, _ = await ask(f"/usage.json?team={team}&limit=9", credentials("token", "viewer"))
            assert (status, json.loads(text)["silent"]) == (200, []), team
        status, text, _ = await ask("/tables/usage_hourly.json", credentials("token", "reader"))
        assert (status, {row["owner"] for row in json.loads(text)["rows"]}) == (200, {"agg-0", "agg-1"})
        peer = Asked(WORLD.now_ms)
        rows = "/_local/rows?table=usage_hourly"
        cases: tuple[tuple[Role, str, int], ...] = (
            ("viewer", "/_local/hours", 200),
            ("viewer", rows, 403),
            ("reader", rows, 200),
            ("monitor", "/_local/hours", 403),
            ("reader", "/_local/nothing", 404),
        )
        for role, topic, expected in cases:
            assert (await ask(topic, peer.seal(topic, role)))[0] == expected, (role, topic)
        for role in WITHIN:
            assert (await ask("/_local/worker", credentials("token", role)))[0] == 403

    visit(tmp_path, "token", check)


def test_a_seal_is_good_once_for_one_question_and_ten_seconds(tmp_path: Path) -> None:
    async def check(ask: Ask, served: list[Served], audit: FakeAudit) -> None:
        peer = Asked(WORLD.now_ms)
        good = peer.seal("/_local/worker", "viewer")
        assert (await ask("/_local/worker", good))[0] == 200
        assert (await ask("/_local/worker", good))[0] == 401, "replayed"
        for name, headers in {
            "another question": peer.seal("/_local/hours", "viewer"),
            "another secret": Asked(WORLD.now_ms, "guess-of-somebody-else").seal("/_local/worker", "viewer"),
            "old": Asked(WORLD.now_ms - 10_001).seal("/_local/worker", "viewer"),
            "of tomorrow": Asked(WORLD.now_ms + 10_001).seal("/_local/worker", "viewer"),
            "cut": {SEAL_HEADER: peer.seal("/_local/worker", "viewer")[SEAL_HEADER][:-1]},
            "raised": {SEAL_HEADER: raised(peer.seal("/_local/worker", "viewer")[SEAL_HEADER])},
            "nonsense": {SEAL_HEADER: "!!!"},
            "none": {},
        }.items():
            assert (await ask("/_local/worker", headers))[0] == 401, name
        form = {"part": "value", "reason": "a peer has no reason of its own"}
        path = f"/letters/{A_LETTER.id}/unmask"
        sent = {**peer.seal(path, "auditor"), "Origin": ORIGIN}
        assert (await ask(path, sent, "POST", data=form))[0] == 401, "a seal opens no page"

    visit(tmp_path, "token", check)


def raised(seal: str) -> str:
    """The same seal with a role that was not signed."""
    body, _, mac = seal.partition(".")
    text = urlsafe_b64decode(body).replace(b"viewer", b"auditor")
    return f"{urlsafe_b64encode(text).decode()}.{mac}"


def test_a_peer_secret_changes_without_a_gap(tmp_path: Path) -> None:
    old, new = "old-secret-0123456789", "new-secret-0123456789"
    file = tmp_path / "peers"
    file.write_text(f"{new}\n{old}\n")
    door = gate(settings(tmp_path, "token", peer_token_file=file), "0.0.0.0", WORLD.clock)
    for secret in (old, new):
        assert admit(door, "/_local/{topic}", Asked(WORLD.now_ms, secret).seal("/_local/{topic}", "viewer")) == 200
    file.write_text(f"{new}\n")
    assert admit(door, "/_local/{topic}", Asked(WORLD.now_ms, old).seal("/_local/{topic}", "viewer")) == 401


def test_prometheus_gets_the_quantiles_of_the_fleet_without_the_role_to_see_calls(tmp_path: Path) -> None:
    views = [MetricsWorker(WORLD, "llm-metrics", f"m-{n}", range(4 * n, 4 * n + 4), 1.0) for n in range(2)]
    for view in views:
        view.table = latency.TABLE

    async def run() -> None:
        door = gate(settings(tmp_path, "token"), "0.0.0.0", WORLD.clock)
        async with serving(*views, gate=door, peer_timeout_s=5) as served, aiohttp.ClientSession() as session:
            headers = {"Authorization": f"Bearer {METRICS}"}
            async with session.get(served[0].url + "/metrics", headers=headers) as answer:
                text = await answer.text()
                assert answer.status == 200
        assert "hanzo_llm_partitions_unanswered 0" in text

    asyncio.run(run())


# -- what starts and what does not ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "changed", "says"),
    [
        ("none", {}, "pages on 0.0.0.0 would be open to everybody: set STREAM_WEB__AUTH"),
        ("token", {"tokens_file": None}, "STREAM_WEB__AUTH=token needs STREAM_WEB__TOKENS_FILE"),
        ("token", {"tokens_file": Path("absent")}, "STREAM_WEB__TOKENS_FILE=absent cannot be read: No such file"),
        ("token", {"peer_token": None}, "STREAM_WEB__AUTH=token needs STREAM_WEB__PEER_TOKEN_FILE"),
        (
            "token",
            {"peer_token": SecretStr("short")},
            "STREAM_WEB__PEER_TOKEN is not usable: a secret in it",
        ),
        ("proxy", {"proxy_secret_file": None}, "STREAM_WEB__AUTH=proxy needs STREAM_WEB__PROXY_SECRET_FILE"),
        ("proxy", {"roles": "staff"}, "STREAM_WEB__ROLES is not usable: 'staff' is not group=role"),
        ("proxy", {"roles": "staff=chief"}, "'chief' is no role; the roles are monitor, viewer"),
        ("jwt", {"jwt_keys": None}, "STREAM_WEB__AUTH=jwt needs STREAM_WEB__JWT_KEYS"),
        ("jwt", {"jwt_issuer": None}, "STREAM_WEB__AUTH=jwt needs STREAM_WEB__JWT_ISSUER"),
        ("jwt", {"jwt_audience": None}, "STREAM_WEB__AUTH=jwt needs STREAM_WEB__JWT_AUDIENCE"),
        ("jwt", {"jwt_keys": "http://id.test/jwks"}, "must be https"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, mode: str, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(Misconfigured) as wrong:
        gate(settings(tmp_path, mode, **changed), "0.0.0.0", WORLD.clock)
    assert says in str(wrong.value)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("tokens", "anna viewer", "line 1 is not `name role sha256-of-token`"),
        ("tokens", f"# a\nanna chief {digest('x')}", "line 2: 'chief' is no role"),
        ("tokens", f"anna viewer {digest('x')}\nbert viewer {digest('x')}", "line 2 has the token of an earlier line"),
        ("proxy", "\n", "it is empty"),
        ("metrics", "short", "shorter than 16 characters"),
        ("jwks.json", "{}", "it is no JWKS"),
    ],
)
def test_a_file_that_is_not_usable_is_named_and_not_quoted(tmp_path: Path, name: str, text: str, says: str) -> None:
    made = settings(tmp_path, {"proxy": "proxy", "jwks.json": "jwt"}.get(name, "token"))
    (tmp_path / name).write_text(text)
    with pytest.raises(Misconfigured) as wrong:
        gate(made, "0.0.0.0", WORLD.clock)
    assert says in str(wrong.value)
    assert digest("x") not in str(wrong.value)


@pytest.mark.parametrize(
    ("host", "starts"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("", False), ("0.0.0.0", False), ("10.0.0.7", False)],
)
def test_none_is_for_loopback(host: str, starts: bool) -> None:
    try:
        gate(WebSettings(), host, WORLD.clock)
    except Misconfigured:
        assert not starts
    else:
        assert starts


# -- files that change ---------------------------------------------------------------------------------------------


def test_the_tokens_file_is_read_again_and_a_broken_one_takes_nothing_away(tmp_path: Path) -> None:
    door = gate(settings(tmp_path, "token"), "0.0.0.0", WORLD.clock)
    viewer, new = credentials("token", "viewer"), {"Authorization": "Bearer a-new-token"}
    assert (admit(door, "/", viewer), admit(door, "/", new)) == (200, 401)
    (tmp_path / "tokens").write_text(f"# who\n\nbert viewer,operator {digest('a-new-token')}\n")
    assert (admit(door, "/", viewer), admit(door, "/", new)) == (401, 200)
    for broken in ("bert", f"bert chief {digest('x')}", "bert viewer 12"):
        (tmp_path / "tokens").write_text(broken)
        assert admit(door, "/", new) == 200
    (tmp_path / "tokens").unlink()
    assert admit(door, "/", new) == 200
    (tmp_path / "tokens").write_text("# nobody\n")
    assert admit(door, "/", new) == 401


def test_a_token_that_is_taken_away_ends_the_open_stream(tmp_path: Path) -> None:
    async def check(ask: Ask, served: list[Served], audit: FakeAudit) -> None:
        async with aiohttp.ClientSession() as session:
            headers = {"Host": HOST, **credentials("token", "viewer")}
            async with session.get(served[0].url + "/live?page=/", headers=headers) as stream:
                assert stream.status == 200
                await stream.content.readuntil(b"\n\n")
                (tmp_path / "tokens").write_text("# nobody\n")
                while await asyncio.wait_for(stream.content.readline(), 20):
                    pass

    visit(tmp_path, "token", check)


# -- acting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_acting_needs_the_role_and_a_page_of_ours(tmp_path: Path, mode: str) -> None:
    """There is nothing to act on yet: the role is tested on a route of the test."""
    with_act = {**TABLE, "/act": Route("/act", "operator", acts=True)}
    door = gate(settings(tmp_path, mode), "0.0.0.0", WORLD.clock, table=with_act)
    public = gate(settings(tmp_path, mode, origin="https://stream.test/"), "0.0.0.0", WORLD.clock, table=with_act)
    for role in WITHIN:
        sent = credentials(mode, role)
        assert admit(door, "/act", {**sent, "Origin": ORIGIN}, "POST") == (200 if role == "operator" else 403)
    operator = credentials(mode, "operator")
    for origin in ("https://evil.test", "null", "", f"{ORIGIN}.evil.test", "http://pages.test:1"):
        assert admit(door, "/act", {**operator, "Origin": origin}, "POST") == 403
    assert admit(door, "/act", operator, "POST") == 403, "no Origin"
    assert admit(public, "/act", {**operator, "Origin": "https://stream.test"}, "POST") == 200
    assert admit(public, "/act", {**operator, "Origin": ORIGIN}, "POST") == 403


def test_an_auditor_unmasks_one_value_for_a_reason_that_is_kept_first(tmp_path: Path) -> None:
    path = f"/letters/{A_LETTER.id}/unmask"
    auditor = {**credentials("token", "auditor"), "Origin": ORIGIN}
    why = {"reason": "The customer asked which address it was", "part": "value"}

    async def check(ask: Ask, served: list[Served], audit: FakeAudit) -> None:
        status, text, _ = await ask(path, auditor)
        assert status == 200
        assert 'name="reason" required' in text
        for role in WITHIN:
            sent = {**credentials("token", role), "Origin": ORIGIN}
            assert (await ask(path, sent, "POST", data=why))[0] == (200 if role == "auditor" else 403)
        assert len(audit.written) == 1
        assert (await ask(path, credentials("token", "auditor"), "POST", data=why))[0] == 403, "no Origin"
        for reason in ("", "  because \n ", "x" * 501):
            assert (await ask(path, auditor, "POST", data={**why, "reason": reason}))[0] == 400
        assert (await ask(path, auditor, "POST", data={**why, "part": "headers"}))[0] == 400
        assert len(audit.written) == 1
        audit.failure = Unavailable("Kafka is away")
        status, text, _ = await ask(path, auditor, "POST", data=why)
        assert (status, "hunter2secret" in text) == (503, False)
        audit.failure = None
        status, text, _ = await ask(path, auditor, "POST", data=why)
        assert (status, "hunter2secret" in text, "anna@example.com" in text) == (200, True, True)
        status, text, _ = await ask(
            path, {**auditor, "Accept": "application/json"}, "POST", data={**why, "part": "key"}
        )
        assert (status, json.loads(text)["content"]) == (200, "team_a")
        org, data = audit.written[-1]
        assert org == "org_a"
        assert (data["user_id"], data["dead_letter"], data["part"]) == ("auditor", A_LETTER.id, "key")
        assert data["reason"] == why["reason"]
        assert "hunter2secret" not in str(audit.written)

    visit(tmp_path, "token", check)


def test_without_names_nothing_is_unmasked_and_no_page_speaks_of_it() -> None:
    async def run() -> None:
        async with (
            serving(FakeWorker(WORLD, "agg-0"), letters=FakeLetters([A_LETTER])) as served,
            aiohttp.ClientSession() as session,
        ):
            async with session.get(f"{served[0].url}/letters/{A_LETTER.id}") as answer:
                assert "unmask" not in await answer.text()
            async with session.get(f"{served[0].url}/letters/{A_LETTER.id}/unmask") as answer:
                assert answer.status == 403

    asyncio.run(run())


# -- what a worker's own Kafka user may not see --------------------------------------------------------------------


class OwnOnly(FakeStandings):
    """Kafka, asked by a user that may see its own group alone."""

    async def now(self) -> Mapping[str, Standing]:
        everything = await super().now()
        own = self.views[0].group
        return {name: one if name == own else Standing("not visible") for name, one in everything.items()}


def test_what_may_not_be_seen_is_one_quiet_word() -> None:
    archive = SinkWorker(WORLD, "audit-archive", "archive-0", range(4), 0.1)
    letters = FakeLetters([A_LETTER])
    letters.failure = Denied("topic dead_letter: Topic authorization failed; check STREAM_KAFKA__SASL_USERNAME")

    async def run() -> None:
        serve = serving(archive, letters=letters, standings=OwnOnly([archive]))
        async with serve as served, aiohttp.ClientSession() as session:

            async def get(path: str) -> tuple[int, str]:
                async with session.get(served[0].url + path, headers={"Accept": "text/html"}) as answer:
                    return answer.status, await answer.text()

            async with session.get(served[0].url + "/index.json") as answer:
                front = await answer.json()
            assert front["verdict"] == "ok", front["findings"]
            others = {one["group"]: one["state"] for one in front["groups"]}
            assert others.pop("audit-archive") == "running"
            assert set(others.values()) == {"not visible"}
            status, text = await get("/")
            assert (status, text.count("not visible")) == (200, 7), "six groups and the dead letters"
            status, text = await get("/groups/billing-agg")
            assert (status, "may not ask about it" in text, "faust --loop" in text) == (200, True, False)
            for path, where in (
                ("/usage", "billing-agg"),
                ("/agents", "rpc-billing"),
                ("/letters", "dead-letter-monitor"),
            ):
                status, text = await get(path)
                assert (status, "Not visible from this worker" in text, where in text) == (403, True, True), path
            assert (await get("/tables"))[0] == 200

    asyncio.run(run())


def test_the_pages_may_have_a_kafka_user_of_their_own(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("hush\n")
    kafka = KafkaSettings(security_protocol="SASL_SSL", sasl_username="billing", sasl_password=SecretStr("x"))
    assert pages_user(Settings(kafka=kafka)) == kafka
    found = pages_user(Settings(kafka=kafka, web=WebSettings(kafka_username="pages", kafka_password_file=password)))
    assert (found.sasl_username, found.sasl_password, found.sasl_password_file) == ("pages", None, password)
    assert confluent_config(found)["sasl.password"] == "hush"
    with pytest.raises(Misconfigured, match="STREAM_WEB__KAFKA_PASSWORD_FILE"):
        pages_user(Settings(kafka=kafka, web=WebSettings(kafka_username="pages")))
    nowhere = WebSettings(kafka_username="pages", kafka_password_file=tmp_path / "nowhere")
    with pytest.raises(Misconfigured, match="is not a file"):
        pages_user(Settings(kafka=kafka, web=nowhere))


# -- what docs/security.md says ------------------------------------------------------------------------------------


def test_the_page_has_the_table_of_rights_and_the_roles() -> None:
    assert table() in PAGE, "docs/security.md: put streamapp.web.entry.rights.table() in"
    assert list(ROUTES) == RIGHTS
    assert [role for role, _ in rows_of("Roles", "role")] == list(ROLES)


def test_the_page_has_every_mode_and_what_each_needs(tmp_path: Path) -> None:
    modes = {mode.strip("`"): needs for mode, _, needs in rows_of("Who asks", "mode")}
    assert list(modes) == ["none", *MODES]
    assert modes.pop("none") == "a loopback address, else exit code 78"
    for mode, needs in modes.items():
        for name in re.findall("STREAM_WEB__[A-Z_]+", needs):
            without = settings(tmp_path, mode, **{name.removeprefix("STREAM_WEB__").lower(): None})
            with pytest.raises(Misconfigured, match=name):
                gate(without, "0.0.0.0", WORLD.clock)


def test_what_is_refused_is_answered_as_the_page_says(tmp_path: Path) -> None:
    token, proxy, signed_ = (gate(settings(tmp_path, mode), "0.0.0.0", WORLD.clock) for mode in MODES)
    act = "/letters/{id}/unmask"
    auditor = credentials("token", "auditor")
    local_ = "/_local/{topic}"
    peer = Asked(WORLD.now_ms)
    used = peer.seal(local_, "viewer")
    assert admit(token, local_, used) == 200

    def bearer(text: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {text}"}

    async def twice() -> int:
        headers = multi({**WITH_SECRET, **NAMED})
        headers.add("X-Forwarded-Groups", "auditor")
        with pytest.raises(Problem) as refused:
            await proxy.admit("/", "GET", "/", headers, HOST)
        return refused.value.status

    found = {
        "no credentials (`token`)": admit(token, "/", {}),
        "no credentials (`jwt`)": admit(signed_, "/", {}),
        "no proxy secret (`proxy`)": admit(proxy, "/", NAMED),
        "a token that is not in the file": admit(token, "/", bearer("another")),
        "the digest of a token as token": admit(token, "/", bearer(digest(token_of("viewer")))),
        "headers of a proxy, in mode `token`": admit(token, "/", {**WITH_SECRET, **NAMED}),
        "headers of a proxy with a wrong secret": admit(proxy, "/", {**NAMED, "X-Stream-Proxy-Secret": "guess"}),
        "a header of a proxy twice": asyncio.run(twice()),
        "`alg=none`": admit(signed_, "/", bearer(unsigned_token())),
        "HS256, signed with the public RSA key": admit(signed_, "/", bearer(forged(claims("auditor"), public_pem()))),
        "an expired JWT": admit(signed_, "/", bearer(signed("viewer", exp=PAST))),
        "a JWT of another audience": admit(signed_, "/", bearer(signed("viewer", aud="another"))),
        "a JWT of another issuer": admit(signed_, "/", bearer(signed("viewer", iss="https://evil.test/"))),
        "a JWT without `exp`": admit(signed_, "/", bearer(signed("viewer", exp=None))),
        "a role that is not enough": admit(token, "/letters", credentials("token", "viewer")),
        "an act without Origin": admit(token, act, auditor, "POST"),
        "an act from another site": admit(token, act, {**auditor, "Origin": "https://evil.test"}, "POST"),
        "a question of peers without a seal": admit(token, local_, {}),
        "a seal for the second time": admit(token, local_, used),
        "a seal for another question": admit(token, local_, peer.seal("/_local/rows", "viewer")),
        "a seal older than ten seconds": admit(token, local_, Asked(WORLD.now_ms - 10_001).seal(local_, "viewer")),
        "a question of peers with a person's token": admit(token, local_, credentials("token", "operator")),
        "a question of peers without their header, as a page of another site would send it (`none`)": admit(
            gate(WebSettings(), "127.0.0.1", WORLD.clock), local_, {"Sec-Fetch-Site": "cross-site"}
        ),
        "a page of the internet that names `127.0.0.1` its own (`none`)": admit(
            gate(WebSettings(), "127.0.0.1", WORLD.clock), "/", {}, host="evil.test"
        ),
    }
    assert found == {what: int(answer) for what, answer in rows_of("What is refused", "what is sent")}
