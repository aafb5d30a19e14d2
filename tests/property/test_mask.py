"""Masking: what must not be seen is not, and whatever comes in, a page can show it."""

from __future__ import annotations

import json
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from secret_shapes import SECRETS, nested

from streamapp.schemas.values.mask import EMAIL, MASKED, is_secret, mask_text
from streamapp.schemas.values.mask_json import mask_field, mask_value

LOOKS = (
    "hunter2secret",
    "sk-proj-abcdefghijklmnop1234",
    "ha_0123456789abcdef0123",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "anna.o'neil+billing@mail.example.com",
)
PIECES = st.sampled_from(
    (
        *LOOKS,
        "password",
        "token",
        "Bearer ",
        "api_key",
        "=",
        ":",
        ": ",
        '"',
        "'",
        "@",
        ".",
        "-",
        "_",
        "\\",
        "{",
        "}",
        "[masked]",
        "[e-mail]",
        "://",
        "/",
        "%40",
        " ",
        ",",
        "a",
        "é",
        "sk-",
        "eyJ",
        "authorization: basic ",
    )
)
TEXTS = st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("password", True),
        ("userPassword", True),
        ("X-Auth-Token", True),
        ("apiKey", True),
        ("API_KEY", True),
        ("openai-api-key", True),
        ("Authorization", True),
        ("client_secret", True),
        ("prompt_tokens", False),
        ("total_tokens", False),
        ("author", False),
        ("key", False),
        ("team_id", False),
        ("", False),
    ],
)
def test_a_name_tells_whether_its_value_is_secret(name: str, secret: bool) -> None:
    assert is_secret(name) is secret


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mail anna@example.com now", "mail [e-mail] now"),
        ("mail anna%40example.com now", "mail [e-mail] now"),
        ("password=hunter2secret&x=1", "password=[masked]&x=1"),
        ('{"password": "hunter2secret", broken', '{"password": [masked], broken'),
        ("Authorization: Bearer abcdef.ghijkl", "Authorization: [masked]"),
        ("authorization: basic dXNlcjpwYXNz", "authorization: [masked]"),
        ("sent Bearer abcdefghijkl", "sent Bearer [masked]"),
        ("postgres://bill:hunter2secret@db/ledger", "postgres://[masked]@db/ledger"),
        ("the key sk-proj-abcdefghijklmnop1234 leaked", "the key [masked] leaked"),
        ("prompt_tokens: 120", "prompt_tokens: 120"),
        ("data.cost_usd has more than 12 decimals", "data.cost_usd has more than 12 decimals"),
        ("evt_01JHX8K3YJ7Q2M5N6P9R8S4T2V", "evt_01JHX8K3YJ7Q2M5N6P9R8S4T2V"),
    ],
)
def test_secrets_in_text_are_told_by_their_looks(text: str, shown: str) -> None:
    assert mask_text(text) == shown


def test_json_keeps_its_digits_and_its_repeated_keys() -> None:
    raw = b'{"cost_usd":0.00380000000000000000001,"n":123456789012345678901234567890,"a":1,"a":2,"token":{"x":"y"}}'
    assert mask_value(raw) == (
        '{\n  "cost_usd": 0.00380000000000000000001,\n  "n": 123456789012345678901234567890,\n'
        '  "a": 1,\n  "a": 2,\n  "token": "[masked]"\n}'
    )


@pytest.mark.parametrize("where", SECRETS)
def test_people_see_no_secret_that_the_archive_does_not_keep(where: str) -> None:
    for value in (SECRETS[where], {"schema": "hanzo.stream.v1", "type": "iam.token.issued", "data": SECRETS[where]}):
        shown = mask_value(json.dumps(value).encode())
        assert "hunter2" not in shown
        assert MASKED in shown or EMAIL in shown
        json.loads(shown)
        assert mask_value(shown.encode()) == shown
        assert "hunter2" not in mask_field("body", json.dumps(value))


def test_an_event_about_a_secret_shows_its_data() -> None:
    event = {"schema": "hanzo.stream.v1", "type": "iam.token.issued", "data": {"scope": "read", "token": None}}
    assert json.loads(mask_value(json.dumps(event).encode())) == event


@pytest.mark.parametrize("shape", ["objects", "arrays", "texts"])
def test_a_value_of_as_many_levels_as_json_may_have_is_shown(shape: str) -> None:
    shown = mask_value(json.dumps({"deep": nested(shape, {"password": "hunter2"})}).encode())
    assert "hunter2" not in shown
    json.loads(shown)


@given(st.binary() | TEXTS.map(lambda text: text.encode(errors="replace")))
def test_any_bytes_can_be_shown(raw: bytes) -> None:
    shown = mask_value(raw)
    shown.encode()
    assert mask_value(shown.encode()) == shown


@given(TREES)
def test_json_stays_json_and_masking_twice_changes_nothing(tree: Any) -> None:
    shown = mask_value(json.dumps(tree).encode())
    json.loads(shown)
    assert mask_value(shown.encode()) == shown


@given(TEXTS)
def test_text_is_masked_once_and_for_all(text: str) -> None:
    masked = mask_text(text)
    assert mask_text(masked) == masked


@given(st.sampled_from(LOOKS), st.sampled_from(["password", "api_key", "x-token"]), TREES)
def test_a_secret_is_never_shown(secret: str, name: str, beside: Any) -> None:
    tree = {"beside": {"list": [0]}, name: secret, "nested": [{name: [secret]}]}
    assert secret not in mask_value(json.dumps(tree).encode())
    assert secret not in mask_value(f'not json "{name}": "{secret}"'.encode())
    assert secret not in mask_value(json.dumps({"body": json.dumps(tree)}).encode())
    assert mask_field(name, secret) == MASKED


@pytest.mark.parametrize(
    "piece", ["a", "a.", "password", "token=", "a@", "://a:", "sk-", '"', "eyJ", "bearer ", "-", "[masked]"]
)
def test_masking_takes_time_in_proportion_to_the_text(piece: str) -> None:
    mask_text(piece * 10)
    began_s = perf_counter()
    mask_text(piece * (200_000 // len(piece)))
    assert perf_counter() - began_s < 3
