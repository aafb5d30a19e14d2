"""Where is my event? Every kind of it is found by its id, on the pages and by the command, on a real worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import forked
from usage_log import value
from workers import GROUP, Cluster, Sent, cluster, variables

from streamapp.broker.broker import Broker
from streamapp.clock import wall_ms
from streamapp.schemas.values.ulid import event_id
from streamapp.topics.partitioner import partition_for

HOUR_MS = 3_600_000
TEAM = "team_found"
HOME = partition_for(TEAM.encode(), 8)


def usage(name: str, at_ms: int, **more: Any) -> Sent:
    return Sent(TEAM.encode(), value(name, at_ms, TEAM, **more))


def asked(base: str, path: str) -> Any:
    """A page's JSON, also of one that is not found."""
    try:
        with urlopen(base + path, timeout=30) as answer:
            return json.load(answer)
    except HTTPError as error:
        return json.load(error)


def found(base: str, name: str) -> list[tuple[str, int | None]]:
    """State and offset of each place where an event was found."""
    facts = asked(base, f"/events/{quote(name, safe='')}.json")
    return [(one["state"], one.get("offset")) for one in facts["found"]]


def sent_again(stack: Cluster, base: str, letter: str) -> None:
    """The dead letter, with its tokens put right, by an operator on the page: planned, kept in audit_log, and sent."""
    patch = '[{"op":"replace","path":"/data/total_tokens","value":15}]'
    form = {"do": "redrive", "id": letter, "patch": patch, "step": "apply", "count": "1"}
    headers = {"Origin": base, "Accept": "application/json"}
    with urlopen(Request(f"{base}/act", urlencode(form).encode(), headers), timeout=60) as answer:
        assert json.load(answer)["done"] == 1
    acts = [json.loads(record.value or b"") for record in stack.read("audit_log")]
    assert [(act["type"], act["data"]["dead_letter"]) for act in acts] == [("stream.page.redriven", letter)]


def test_every_kind_of_event_is_found(fresh_broker: Broker, tmp_path: Path) -> None:
    now_ms = wall_ms()
    hour_ms = now_ms // HOUR_MS * HOUR_MS
    ids = {
        name: event_id(now_ms, name.encode().ljust(10, b"-")) for name in ("billed", "open", "late", "wrong", "none")
    }
    ids["plain"] = "request-4711"  # does not tell when it was made
    with cluster(fresh_broker, tmp_path) as stack:
        wrong = value(ids["wrong"], now_ms, TEAM).replace(b'"total_tokens":15', b'"total_tokens":9')
        billed = usage(ids["billed"], hour_ms - 6 * HOUR_MS, cost="0.25")
        stack.send([billed, billed, usage(ids["plain"], hour_ms - 6 * HOUR_MS)])
        stack.send([usage(ids["open"], now_ms), Sent(TEAM.encode(), wrong)])
        worker = stack.start()
        stack.drain(worker)
        stack.send([usage(ids["late"], hour_ms - 9 * HOUR_MS)])
        stack.drain(worker)
        base = f"http://127.0.0.1:{stack.web_port}"
        stack.wait(lambda: asked(base, "/hours.json")["matching"] == 3, 30, worker)

        assert found(base, ids["billed"]) == [("billed", 0), ("duplicate", 1)]
        assert found(base, ids["plain"]) == [("billed", 2)]
        assert found(base, ids["open"]) == [("counted", 3)]
        assert found(base, ids["wrong"]) == [("refused", 4)]
        letter = asked(base, f"/events/{ids['wrong']}.json")["found"][0]["links"][0]["id"]
        assert found(base, ids["late"]) == [("pending", 5)]
        assert found(base, ids["none"]) == []
        for offset, state in enumerate(("billed", "duplicate", "billed", "counted", "refused", "pending")):
            assert found(base, f"llm_usage[{HOME}]@{offset}") == [(state, offset)]

        sent_again(stack, base, letter)  # behind its record is a marker, which no offset that is committed reaches
        stack.wait(lambda: [state for state, _ in found(base, ids["wrong"])] == ["sent again", "counted"], 60, worker)
        again = asked(base, f"/events/{ids['wrong']}.json")["found"]
        assert again[1]["sent_again_for"] == again[0]["links"][0]["id"]

        pending(base)
        bill = asked(base, f"/events/{ids['billed']}.json")["found"][0]["links"][0]["id"]
        behind(base, bill, ids)
        listed(base, stack)
        by_command(stack, ids, bill)


def pending(base: str) -> None:
    """A late event of a team without a bill is on the list of hours before its mark."""
    rows = asked(base, "/hours.json?state=pending")["hours"]
    assert [(row["pending"], row["bill_id"]) for row in rows] == [(True, None)]


def behind(base: str, bill: str, ids: dict[str, str]) -> None:
    """The calls of a bill are those that it counts, to the last decimal."""
    calls = asked(base, f"/bills/{bill}/calls.json")
    assert [(one["id"], one["state"]) for one in calls["events"]] == [
        (ids["billed"], "billed"),
        (ids["billed"], "duplicate"),
        (ids["plain"], "billed"),
    ]
    assert (calls["counted"], calls["events_stated"], calls["whole"]) == (2, 2, True)
    assert calls["cost"] == {"USD": "0.251000000000"}


def listed(base: str, stack: Cluster) -> None:
    """The newest events, those of a team in a time, and the search box."""
    tail = asked(base, f"/events.json?team={TEAM}")
    states = ["counted", "pending", "sent again", "counted", "billed", "duplicate", "billed"]
    assert [one["state"] for one in tail["events"]] == [states[0], *states[1:4], *states[4:][::-1]]
    assert asked(base, "/events.json?team=nobody")["events"] == []
    day = asked(base, f"/events.json?team={TEAM}&from=2020-01-01T00:00&to=2100-01-01T00:00")
    assert [one["offset"] for one in day["events"]] == [0, 1, 2, 3, 4, 5, day["events"][-1]["offset"]]
    assert [hit["url"] for hit in asked(base, f"/search.json?q={TEAM}")["hits"]] == [f"/teams/org_a/{TEAM}"]


def by_command(stack: Cluster, ids: dict[str, str], bill: str) -> None:
    """The command answers as the pages do."""
    environment = {**variables(stack.kafka), "STREAM_STATE_DIR": str(stack.folder / "cli")}

    def run(*words: str) -> tuple[int, str]:
        done = forked.command("events", *words, environment=environment)
        return done.returncode, done.stdout + done.stderr

    code, text = run("--id", ids["billed"])
    assert code == 0, text
    assert all(word in text for word in ("billed", "duplicate", f"ids that {GROUP} remembers")), text
    code, text = run("--id", ids["none"], "--json")
    assert code == 1, text
    code, text = run("--bill", bill, "--json")
    assert (code, json.loads(text)["counted"]) == (0, 2)
