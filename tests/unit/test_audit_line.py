"""A record's line: the event's own bytes, no secret, one line, the same bytes for the same record."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from secret_shapes import SECRETS, nested

from streamapp.kafka.log.reader import Record
from streamapp.schemas.judging.audit_line import Line, audit_line, keeps_secret, mask_event
from streamapp.schemas.judging.judge_audit import Audited, judge_audit
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.verify.copies.audit_archive import difference

SAMPLE = {
    "schema": "hanzo.stream.v1",
    "id": "evt_01HQ5Z9M0O4P6R7S8T9U0V1W2Y",
    "type": "iam.auth.login_success",
    "source": "iam",
    "timestamp": "2025-01-15T10:32:00.789Z",
    "org_id": "org_hanzo",
    "data": {"user_id": "user_456", "email": "someone@example.com", "method": "oauth2", "ip": "203.0.113.42"},
}


class Rec(NamedTuple):
    value: bytes | None
    key: bytes | None = b"org_hanzo"
    headers: tuple[tuple[str, bytes | None], ...] = ()
    offset: int = 42
    timestamp: int = 1_736_937_120_790


def line(value: Any, **more: Any) -> Line:
    made = audit_line("audit_log", 3, Rec(value if isinstance(value, bytes) else json.dumps(value).encode(), **more))
    assert isinstance(made, Line), made
    return made


def changed(**fields: Any) -> dict[str, Any]:
    return {**SAMPLE, "data": {**SAMPLE["data"], **fields}}  # type: ignore[dict-item]


def test_the_sample_keeps_its_bytes() -> None:
    raw = json.dumps(SAMPLE).encode()
    made = line(raw)
    head = (
        b'{"topic":"audit_log","partition":3,"offset":42,"timestamp_ms":1736937120790,"key":"org_hanzo","headers":[],'
    )
    assert made.text == head + b'"event":' + raw + b"}\n"
    assert (made.at_ms, made.record_ms) == (1_736_937_120_789, 1_736_937_120_790)


def test_secrets_are_masked_wherever_they_are() -> None:
    event = changed(password="a", changes=[{"newApiToken": {"is": "b"}, "client_secret": 7}], note="token=c is text")
    told = json.loads(line(event).text)["event"]["data"]
    assert told["password"] == "[masked]"
    assert told["changes"] == [{"newApiToken": "[masked]", "client_secret": "[masked]"}]
    assert told["note"] == "token=c is text"
    assert told["email"] == "someone@example.com"


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *((name, True) for name in ("password", "TOKEN", "clientSecret", "access_token", "api_key", "password_hash")),
        *((name, False) for name in ("auth_method", "token_type", "password_changed_at", "api_key_id")),
        ("authorization", True), ("auth", False), ("oauth_token", True), ("key", False),
    ],
)  # fmt: skip
def test_what_holds_a_secret(name: str, secret: bool) -> None:
    assert keeps_secret(name) is secret


def test_whether_there_is_a_secret_is_none() -> None:
    told = json.loads(line(changed(password=True, token=None)).text)["event"]["data"]
    assert (told["password"], told["token"]) == (True, None)


def test_a_name_that_is_spelt_in_escapes_hides_nothing() -> None:
    raw = json.dumps(changed(password="a")).replace("password", "pass\\u0077ord").encode()
    assert b'"a"' not in line(raw).text


def test_repeated_keys_and_digits_stay_and_every_secret_of_them_goes() -> None:
    raw = b'{"n": 1.50e3, "n": 0.10, "password": "x", "password": null, "a": {"token": "y"}, "a": 1}'
    assert (
        mask_event(raw) == b'{"n":1.50e3,"n":0.10,"password":"[masked]","password":null,"a":{"token":"[masked]"},"a":1}'
    )


def test_an_event_on_many_lines_becomes_one() -> None:
    made = line(json.dumps(SAMPLE, indent=2).encode())
    assert made.text.count(b"\n") == 1
    assert json.loads(made.text)["event"] == SAMPLE


def test_keys_and_headers_come_back_as_they_were() -> None:
    told = json.loads(line(SAMPLE, key=b"\xff\x00", headers=(("trace", b"\x00\xff"), ("none", None))).text)
    assert told["key_b64"] == "/wA="
    assert told["headers"] == [{"key": "trace", "value_b64": "AP8="}, {"key": "none", "value_b64": None}]
    assert json.loads(line(SAMPLE, key=None).text)["key"] is None
    masked = json.loads(line(SAMPLE, headers=(("Authorization", b"Bearer abc"),)).text)
    assert masked["headers"] == [{"key": "Authorization", "value_b64": "W21hc2tlZF0="}]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.EMPTY_VALUE),
        (b"", Reason.EMPTY_VALUE),
        (b"no json", Reason.MALFORMED_JSON),
        (json.dumps(SAMPLE).encode().replace(b"someone", b"\xff"), Reason.MALFORMED_JSON),
        (json.dumps(changed(x=float("nan"))).encode(), Reason.MALFORMED_JSON),
        (b"[]", Reason.INVALID_ENVELOPE),
        (json.dumps({**SAMPLE, "schema": "v2"}).encode(), Reason.INVALID_ENVELOPE),
        (json.dumps({**SAMPLE, "timestamp": "yesterday"}).encode(), Reason.INVALID_ENVELOPE),
        (json.dumps({**SAMPLE, "type": "login"}).encode(), Reason.UNKNOWN_TYPE),
        (json.dumps({**SAMPLE, "type": "a.b.c\n"}).encode(), Reason.UNKNOWN_TYPE),
        (json.dumps({**SAMPLE, "data": {"email": "x"}}).encode(), Reason.INVALID_DATA),
        (json.dumps(changed(user_id="")).encode(), Reason.INVALID_DATA),
    ],
)
def test_what_cannot_be_archived(value: bytes | None, reason: Reason) -> None:
    made = audit_line("audit_log", 0, Rec(value))
    assert isinstance(made, Rejected)
    assert made.reason == reason
    assert made.error


_names = st.sampled_from(["user_id", "email", "password", "type", "n", "ip", "x y"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=6,
)


@given(data=st.dictionaries(_names, _values, max_size=5), type_=st.sampled_from(["a.b.c", "a.b", "a.b.c.d", "a..c"]))
def test_the_fast_reader_takes_what_the_models_take(data: dict[str, Any], type_: str) -> None:
    raw = json.dumps({**SAMPLE, "type": type_, "data": data}).encode()
    judged, made = judge_audit(raw), audit_line("audit_log", 0, Rec(raw))
    if isinstance(made, Line):
        assert isinstance(judged, Audited)
        assert judged.at_ms == made.at_ms
        assert json.loads(made.text)["event"].keys() == json.loads(raw).keys()
        assert made.text.count(b"\n") == 1
    else:
        assert made == judged


@pytest.mark.parametrize("where", SECRETS)
def test_secrets_are_masked_in_every_representation(where: str) -> None:
    made = line(changed(**SECRETS[where])).text
    assert b"hunter2" not in made
    assert b"[masked]" in made
    assert mask_event(mask_event(made)) == mask_event(made)


@pytest.mark.parametrize(
    "data",
    [
        {"note": '{"a": 1.50}'},
        {"note": '{"password": "x'},
        {"note": "{[("},
        {"note": "a = b, https://x.example/?page=2#top"},
        {"changes": [{"field": "email", "old": "a", "new": "b"}]},
        {"pair": ["role", "admin"]},
        {"pass_rate": 0.9, "shopping": "x", "pinned": "x", "option": "x", "auth_method": "totp"},
        {"url": "https://x.example/a?b=c@d"},
        {"password": None, "changes": [{"field": "password", "old": None, "new": True}]},
    ],
)
def test_what_holds_no_secret_stays_as_it_is(data: dict[str, Any]) -> None:
    told = json.loads(line(changed(**data)).text)["event"]["data"]
    assert {name: told[name] for name in data} == data


def test_the_report_of_an_identity_provider() -> None:
    raw = (
        b'{"schema": "hanzo.stream.v1", "id": "evt_a", "type": "iam.user.created", "source": "iam", '
        b'"timestamp": "2026-11-18T10:30:00.123Z", "org_id": "org_a", "data": {"user_id": "u1", "representation": '
        b'"{\\"credentials\\": [{\\"type\\": \\"password\\", \\"value\\": \\"not-a-real-one\\"}]}", "changes": '
        b'[{"field": "password", "old": "x1", "new": "x2"}], "url": "https://x.example/cb?access_token=abcdef123456"}}'
    )
    text = line(raw).text
    for secret in (b"not-a-real-one", b"x1", b"x2", b"abcdef123456"):
        assert secret not in text


@pytest.mark.parametrize("shape", ["objects", "arrays", "texts"])
def test_a_secret_under_as_many_levels_as_json_may_have_is_masked(shape: str) -> None:
    event = changed(deep=nested(shape, {"password": "hunter2"}))
    made = line(event).text
    assert b"hunter2" not in made
    kept = json.loads(made)["event"]
    assert differing(event, kept) is None
    assert differing(event, event) is not None


@pytest.mark.parametrize("type_", ["iam.token.issued", "iam.password.changed", "gateway.api_key.rotated"])
def test_an_event_about_a_secret_keeps_its_data(type_: str) -> None:
    event = {**changed(token="hunter2", scope="read"), "type": type_}
    told = json.loads(line(event).text)["event"]["data"]
    assert told == {**event["data"], "token": "[masked]"}


def differing(event: dict[str, Any], kept: dict[str, Any]) -> str | None:
    record = Record("audit_log", 3, 42, 1_736_937_120_790, b"org_hanzo", json.dumps(event).encode())
    told = json.loads(line(event).text, parse_float=str)
    return difference(record, {**told, "event": kept})


@pytest.mark.parametrize("where", SECRETS)
def test_the_check_takes_what_is_masked_and_nothing_else(where: str) -> None:
    for type_ in ("iam.user.created", "iam.token.issued"):
        event = {**changed(**SECRETS[where]), "type": type_}
        kept = json.loads(line(event).text)["event"]
        assert differing(event, kept) is None
        assert differing(event, {**kept, "data": "[masked]"}) == "event.data"
        assert differing(event, {**kept, "data": {**kept["data"], "ip": "[masked]"}}) == "event.data.ip"
        assert differing(event, event) is not None
