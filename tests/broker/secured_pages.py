"""Every page of a running `streamapp run --secure`, opened as each role on its workers, as people and programs do."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from conftest import wait_until

from streamapp.agents.registry import AGENTS
from streamapp.topics.registry import GROUPS, port_offset
from streamapp.web.entry.identity import digest
from streamapp.web.entry.rights import ROLES, ROUTES, Role, may
from streamapp.web.show import agent_url, budget_url, org_url, settlement_url
from streamapp.web.sitemap import LISTS

DATA_S = 600
BEAT_S = 0.5  # between two looks: as an open page, and not more
AGAIN_MAX = 20  # a busy machine's Kafka may not answer in time; a right that is missing stays missing
SAID_OF_A_RIGHT = ("not authorized", "authorization failed", " lacks ", "not visible", "Not visible")
OF_EVENTS = re.compile(r"/events(/|$)|/calls$")
NOT_PAGES = (
    "/_local/{topic}",
    "/reconciliation.json",
    "/watch.json",
    "/openapi.json",
    "/{rest}",
    "/live",
    "/static/{name}",
)


def settings(folder: Path) -> dict[str, str]:
    """The environment of a run that asks everybody for a token."""
    tokens = "".join(f"{role} {role} {digest(token(role))}\n" for role in ROLES)
    (folder / "tokens").write_text(tokens)
    (folder / "peers").write_text("peer-secret-of-the-tests-0123456789\n")
    files = {"TOKENS_FILE": "tokens", "PEER_TOKEN_FILE": "peers"}
    named = {f"STREAM_WEB__{name}": str(folder / file) for name, file in files.items()}
    return {"STREAM_WEB__AUTH": "token", "STREAM_WEB__PEER_TIMEOUT_SECONDS": "10", **named}


def token(role: str) -> str:
    return f"token-of-a-{role}-0123456789"


class Answer(NamedTuple):
    """A page as somebody got it."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def ask(url: str, role: Role | None, form: dict[str, str] | None = None) -> Answer:
    headers = {"Accept": "text/html", "Origin": url.partition("/letters")[0]}
    headers |= {} if role is None else {"Authorization": f"Bearer {token(role)}"}
    data = None if form is None else urlencode(form).encode()
    try:
        with urlopen(Request(url, data, headers), timeout=120) as answer:
            return Answer(answer.status, answer.read().decode())
    except HTTPError as refused:
        return Answer(refused.code, refused.read().decode())


def patiently(url: str, role: Role | None) -> Answer:
    """The same, again while something does not answer: 503."""
    for _ in range(AGAIN_MAX):
        answer = ask(url, role)
        if answer.status != 503:
            break
        threading.Event().wait(BEAT_S)
    return answer


def every_page_for_every_role(first: str) -> int:
    """`first`: the address of the first worker's pages. Returns how many pages were opened."""
    host, _, port = first.rstrip("/").rpartition(":")
    web_port = int(port) - port_offset(AGENTS[0][0])
    bases = {each.name: f"{host}:{web_port + port_offset(each.name)}" for each in GROUPS}
    pages = [*addresses(bases[AGENTS[0][0]])]
    jobs: list[tuple[str, Role | None, Role | None]] = []
    for number, base in enumerate(bases.values()):
        roles: tuple[Role | None, ...] = (None, *ROLES) if not number else ("auditor",)
        for where, least in pages:
            # Each of these reads Kafka for seconds, one after the other: asked once by each kind of asker.
            asking = roles if not OF_EVENTS.search(where) else (None, "viewer", "reader") if not number else ()
            jobs += [(base + where, role, least) for role in asking]
    with ThreadPoolExecutor(4) as pool:
        for (url, role, least), answer in zip(jobs, pool.map(lambda job: patiently(*job[:2]), jobs), strict=True):
            allowed = may(frozenset() if role is None else frozenset({role}), least)
            status = 200 if allowed else 401 if role is None else 403
            if OF_EVENTS.search(url) and allowed:  # shown by workers that may read their topic
                assert answer.status in (200, 403), (url, role, answer.text[-2000:])
                continue
            assert answer.status == status, (url, role, answer.text[-2000:])
            assert not [word for word in SAID_OF_A_RIGHT if allowed and word in answer.text], (url, role)
    assert patiently(f"{bases['billing-agg']}/events?topic=llm_usage", "reader").status == 200
    return len(jobs)


def unmasked(first: str) -> None:
    """An auditor sees a value, on a worker whose own user may not write audit_log."""
    letter = ask(f"{first.rstrip('/')}/letters.json", "reader").json["letters"][0]
    form = {"part": "value", "reason": "The pages of a secured run are tested"}
    url = f"{first.rstrip('/')}{letter['url']}/unmask"
    assert ask(url, "reader", form).status == 403
    answer = ask(url, "auditor", form)
    assert answer.status == 200, answer.text[-2000:]


class Shown:
    """What the pages at an address show to an auditor."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.last: list[Any] = []

    def told(self, path: str) -> Any:
        return ask(f"{self.base}{path}", "auditor").json

    def is_there(self) -> bool:
        """Whether every worker is up and has something to show. Last words are for who waits in vain."""
        threading.Event().wait(BEAT_S)
        front = ask(f"{self.base}/index.json", "auditor")
        self.last[:] = [front.status, front.text[:3000]]
        groups = front.json["groups"] if front.status == 200 else ()
        up = {one["group"]: one["answering_workers"] for one in groups if one["state"] == "running"}
        every = {each.name: each.consumers for each in GROUPS}
        return up == every and bool(self.settlements() and self.bills() and self.agents() and self.letters())

    def bills(self) -> list[str]:
        return [row["bill_url"] for row in self.told("/usage.json?state=closed").get("hours", ()) if row["bill_url"]]

    def agents(self) -> list[str]:
        rows = [row for row in self.told("/agents.json").get("agents", ()) if row["settlements"]]
        return [agent_url(row["org"], row["agent"]) for row in rows]

    def settlements(self) -> list[str]:
        one = self.told(f"{self.agents()[0]}.json") if self.agents() else {}
        ids = [account["settlement_id"] for each in one.get("currencies", ()) for account in each["consumers"]]
        return [settlement_url(found) for found in ids if found]

    def letters(self) -> list[str]:
        return [row["url"] for row in self.told("/letters.json").get("letters", ())]

    def names(self) -> dict[str, list[str]]:
        """How the path of a route begins → where that leads to something."""
        row = self.told("/usage.json?state=closed")["hours"][0]
        event = self.told("/events.json?topic=llm_usage")["events"][0]["id"]
        letter = self.letters()[0]
        return {
            "/groups/{group}": [f"/groups/{each.name}" for each in GROUPS],
            "/teams/{org}/{team}": [row["team_url"]],
            "/agents/{org}/{agent}": self.agents()[:1],
            "/settlements/{id}": self.settlements()[:1],
            "/bills/{id}": self.bills()[:1],
            "/letters/{id}": [letter],
            "/act": [f"/act?do=redrive&id={letter.rpartition('/')[2]}"],
            "/orgs/{org}": [org_url(row["org"])],
            "/budgets/{org}/{team}": [budget_url(row["org"], row["team"])],
            "/events/{id}": [f"/events/{quote(event, safe='')}"],
            "/schemas/{type}": ["/schemas/llm.usage.completed"],
            "/tables/{name}": ["/tables/usage_hourly"],
        }


def addresses(base: str) -> Iterator[tuple[str, Role | None]]:
    """One address of each page, and of what a list of pages is made of, with the least role."""
    shown = Shown(base)
    try:
        wait_until(shown.is_there, DATA_S)
    except AssertionError as error:
        raise AssertionError(shown.last) from error
    names = shown.names()
    for route in ROUTES:
        if route.path in NOT_PAGES or route.path in LISTS:
            continue
        known = next((name for name in sorted(names, key=len, reverse=True) if route.path.startswith(name)), "")
        for start in names.get(known, [""]):
            yield start + route.path[len(known) :], route.least
