"""The OpenAPI document and the code agree: what one takes or answers, the other says."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from capture_bodies import BODIES, hostile
from capture_calls import DIRECTORY, OTHER_TOKEN, TOKEN, InMemory, directory_in
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st
from memory_pipeline import MemoryPipeline
from openapi_calls import Document
from openapi_spec_validator import validate
from searches import search

from streamapp.capture.reading.answers import BY_ROLE, ELSEWHERE, KINDS

TEAMS = directory_in(Path(tempfile.mkdtemp(prefix="capture-")))
LIMITED = directory_in(
    Path(tempfile.mkdtemp(prefix="capture-")), DIRECTORY.replace('"org_other"', '"org_other"\nquota_per_second = 0')
)
WHOLE = Document(InMemory(TEAMS).call(method="GET", path="/openapi.json").json)
ENDPOINT_PATHS = [path for path, item in WHOLE.paths.items() if "post" in item]
BODY = WHOLE.validator(WHOLE.shape("Body"))
SINGLE = {"api_key": TOKEN, "event": "e", "distinct_id": "d"}

many = search(100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


def test_it_is_valid_openapi() -> None:
    validate(WHOLE.served)


def test_every_kind_of_trouble_stands_where_it_may_come_from() -> None:
    """408, 431, 500 and what is no HTTP are no matter of the path."""
    everywhere = {"malformed_request", "too_slow", "head_too_large", "failed", "overloaded"}
    for path, item in WHOLE.paths.items():
        for method, operation in item.items():
            if method == "head":
                assert operation["responses"].keys() == item["get"]["responses"].keys()
                continue
            takes = path in ENDPOINT_PATHS and method != "options"
            by_role = {kind.slug for kind in BY_ROLE} if path in {"/metrics", "/openapi.json"} else set()
            taking = {kind.slug for kind in KINDS if kind not in ELSEWHERE + BY_ROLE}
            usual = taking if takes else everywhere | by_role
            assert slugs(operation["responses"]) == usual, f"{method} {path}"
    assert slugs(WHOLE.served["components"]["responses"]) == {kind.slug for kind in ELSEWHERE}
    assert {kind.slug: kind.status for kind in KINDS} == slugs_and_statuses()


def slugs(responses: dict[str, Any]) -> set[str]:
    """The slugs that these answers may have."""
    return {slug for said in responses.values() for slug in slugs_of(said)}


def slugs_of(said: dict[str, Any]) -> list[str]:
    schema = next(iter(said.get("content", {"": {}}).values())).get("schema", {})
    found = [one["properties"]["slug"]["enum"] for one in (schema, *schema.get("anyOf", ())) if "allOf" in one]
    return found[0] if found else []


def slugs_and_statuses() -> dict[str, int]:
    responses = WHOLE.paths["/e"]["post"]["responses"]
    found = {slug: int(status) for status, said in responses.items() for slug in slugs_of(said)}
    for status, said in WHOLE.paths["/metrics"]["get"]["responses"].items():
        found |= {slug: int(status) for slug in slugs_of(said)}
    for said in WHOLE.served["components"]["responses"].values():
        found |= dict.fromkeys(slugs_of(said), 404 if "not_found" in slugs_of(said) else 405)
    return found


def with_token(body: Any) -> Any:
    """The same of a team, where the body says whose it is."""
    tokens = {"api_key", "token", "$token"}
    return (
        {name: TOKEN if name in tokens else value for name, value in body.items()} if isinstance(body, dict) else body
    )


@many
@given(body=WHOLE.values(WHOLE.shape("Body")).map(with_token))
def test_what_it_describes_is_taken(body: Any) -> None:
    capture = InMemory(TEAMS)
    reply = capture.call(json.dumps(body).encode(), token=TOKEN)
    assert (reply.status, reply.json) == (200, {"status": 1})


@many
@example(body=[])
@example(body={"batch": []})
@example(body={"event": "e", "distinct_id": "d", "properties": [], "$set": []})
@example(body={"event": "e", "distinct_id": "d", "properties": {"$set": []}, "$set": {}})
@example(body={"batch": None, "event": "e", "distinct_id": "d"})
@example(body={"batch": [], "event": "e", "distinct_id": "d"})
@example(body={"event": "e", "distinct_id": "", "properties": {"distinct_id": [1]}})
@example(body={"event": "e", "distinct_id": "d", "properties": {"$set": 5}, "$set": {}})
@example(body={"event": "e", "distinct_id": "d", "properties": {"$set": 5}})
@given(body=(BODIES | WHOLE.values(WHOLE.shape("Body"))).map(with_token))
def test_what_is_taken_whole_is_described(body: Any) -> None:
    reply = InMemory(TEAMS).call(json.dumps(body).encode(), token=TOKEN)
    assert (reply.status, len(reply.json)) == (200, 1) or reply.status in {200, 400}, reply.body
    taken = reply.json == {"status": 1}
    assert BODY.is_valid(body) == taken, reply.body


@many
@given(asked=WHOLE.requests())
def test_requests_that_it_describes_are_answered_as_it_says(asked: tuple[str, str, bytes, dict[str, str]]) -> None:
    path, method, body, query = asked
    WHOLE.check(path, method, InMemory(TEAMS).call(body, path=path, method=method, **query))


@many
@given(
    body=hostile(),
    path=st.sampled_from(sorted(WHOLE.paths)),
    method=st.sampled_from(["GET", "POST", "OPTIONS", "HEAD", "PUT"]),
    query=st.dictionaries(
        st.sampled_from(["_", "beacon", "data", "sent_at", "token", "compression"]), st.text(max_size=9)
    ),
)
def test_other_requests_are_too(body: bytes, path: str, method: str, query: dict[str, str]) -> None:
    reply = InMemory(TEAMS, body_bytes_max=150, unknown_letters_per_second=0.5).call(
        body, path=path, method=method, **query
    )
    if method.lower() in WHOLE.paths[path]:
        WHOLE.check(path, method, reply)
    else:
        WHOLE.check_response(WHOLE.served["components"]["responses"]["method_not_allowed"], reply, method)


def test_every_answer_of_an_endpoint_is_as_it_says() -> None:
    capture = InMemory(LIMITED, body_bytes_max=5_000)
    away = InMemory(TEAMS, MemoryPipeline(records_max=0))
    given: list[tuple[InMemory, Any, dict[str, Any]]] = [
        (capture, SINGLE, {}),
        (capture, {"api_key": TOKEN, "batch": [SINGLE, 5]}, {}),
        (capture, SINGLE, {"beacon": "1"}),
        (capture, b"{", {}),
        (capture, {"api_key": TOKEN, "batch": [5, {}]}, {}),
        (capture, {"event": "e", "distinct_id": "d"}, {}),
        (capture, b"x" * 6_000, {}),
        (capture, {**SINGLE, "api_key": OTHER_TOKEN}, {}),
        (away, SINGLE, {}),
    ]
    assert len(ENDPOINT_PATHS) == 8
    for path in ENDPOINT_PATHS:
        replies = [where.call(body, path=path, **query) for where, body, query in given]
        for reply in replies:
            WHOLE.check(path, "POST", reply)
        documented = set(map(int, WHOLE.paths[path]["post"]["responses"]))
        assert documented - {reply.status for reply in replies} == {408, 431, 500}, "of the server, and of defects"
    elsewhere = WHOLE.served["components"]["responses"]
    WHOLE.check_response(elsewhere["not_found"], capture.call(SINGLE, path="/decide/"))
    WHOLE.check_response(elsewhere["method_not_allowed"], capture.call(SINGLE, method="PUT"))


def test_the_pages_are_as_it_says() -> None:
    ready, away = InMemory(TEAMS), InMemory(TEAMS)
    assert ready.call(SINGLE).status == 200
    for path in WHOLE.paths.keys() - set(ENDPOINT_PATHS):
        for capture in (ready, away):
            for method in ("GET", "HEAD"):
                WHOLE.check(path, method, capture.call(method=method, path=path))
    away.app.connections = lambda: 1 // 0
    WHOLE.check("/metrics", "GET", away.call(method="GET", path="/metrics"))
