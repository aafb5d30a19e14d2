"""Letters of one cause share a fingerprint; nothing of a single record is in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.schemas.cause import fingerprint, shape


@pytest.mark.parametrize(
    ("error", "one"),
    [
        ("data.total_tokens is 99, not 15", "data.total_tokens is …, not …"),
        ("data.cost_usd has more than 12 decimals", "data.cost_usd has more than … decimals"),
        ("not JSON: expecting value at character 0", "not JSON: expecting value at character …"),
        ("no org is known for team 'team_abc123'", "no org is known for team …"),
        ("evt_01KARA3WVRMN3FPVDDV308M3XB was seen before", "… was seen before"),
        ("at 2025-01-15T10:30:00.123Z, 301 s ahead", "at …, … s ahead"),
        ("mail anna@example.com is wrong", "mail [e-mail] is wrong"),
    ],
)
def test_what_belongs_to_one_record_is_left_out(error: str, one: str) -> None:
    assert shape(error) == one


def test_a_cause_is_topic_reason_and_shape() -> None:
    made = fingerprint("llm_usage", "tokens_mismatch", "data.total_tokens is 99, not 15")
    assert made == fingerprint("llm_usage", "tokens_mismatch", "data.total_tokens is 7, not 1500")
    others = [
        fingerprint("audit_log", "tokens_mismatch", "data.total_tokens is 99, not 15"),
        fingerprint("llm_usage", "invalid_data", "data.total_tokens is 99, not 15"),
        fingerprint("llm_usage", "tokens_mismatch", "data.prompt_tokens is 99, not 15"),
    ]
    assert len({made, *others}) == 4


@given(st.lists(st.sampled_from([*"'\"`…@.-:=_ 09aZ", "evt_01KARA3WVRMN", "2025-01-15T10:30", "token", "[e-mail]"])))
def test_the_shape_of_a_shape_is_itself(pieces: list[str]) -> None:
    once = shape("".join(pieces) * 3)
    assert shape(once) == once
