"""Dead letters of one cause share a fingerprint; nothing of a single record is in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.schemas.judging.cause import cause_of, shape


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


def test_a_cause_is_topic_refuser_reason_and_shape() -> None:
    made = cause_of("llm_usage", "billing-agg", "tokens_mismatch", "data.total_tokens is 99, not 15").id
    assert made == cause_of("llm_usage", "billing-agg", "tokens_mismatch", "data.total_tokens is 7, not 1500").id
    others = [
        cause_of("llm_usage", "llm-metrics", "tokens_mismatch", "data.total_tokens is 99, not 15").id,
        cause_of("audit_log", "billing-agg", "tokens_mismatch", "data.total_tokens is 99, not 15").id,
        cause_of("llm_usage", "billing-agg", "invalid_data", "data.total_tokens is 99, not 15").id,
        cause_of("llm_usage", "billing-agg", "tokens_mismatch", "data.prompt_tokens is 99, not 15").id,
    ]
    assert len({made, *others}) == 5


@given(st.lists(st.sampled_from([*"'\"`…@.-:=_ 09aZ", "evt_01KARA3WVRMN", "2025-01-15T10:30", "token", "[e-mail]"])))
def test_the_shape_of_a_shape_is_itself(pieces: list[str]) -> None:
    once = shape("".join(pieces) * 3)
    assert shape(once) == once
