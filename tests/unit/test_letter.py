"""The one builder of dead letters."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.schemas.dead_letter import EventRejected
from streamapp.schemas.judging.letter import (
    HEADERS_BYTES_MAX,
    KEY_BYTES_MAX,
    VALUE_BYTES_MAX,
    Letter,
    Refused,
    attempt_of,
    letter,
)
from streamapp.schemas.judging.rejected import Reason
from streamapp.schemas.values.strict_json import parse
from streamapp.topics.registry import topic

NOW_MS = 1_763_900_000_000


def refused(**other: Any) -> Refused:
    facts: dict[str, Any] = {
        "topic": "llm_usage",
        "partition": 3,
        "offset": 17,
        "group": "billing-agg",
        "reason": Reason.MALFORMED_JSON,
        "error": "it is not JSON",
        "key": b"team_abc123",
        "value": b"\xff{",
        "timestamp_ms": NOW_MS - 5_000,
    }
    return Refused(**{**facts, **other})


def data(made: Letter) -> dict[str, Any]:
    found = json.loads(made.value)["data"]
    assert isinstance(found, dict)
    return found


def test_a_letter_is_what_the_standard_says() -> None:
    made = letter(refused(headers=[("trace", b"\x00\x01"), ("trace", None)]), NOW_MS)
    assert made.key == b"llm_usage"
    assert json.loads(made.value) == {
        "schema": "hanzo.stream.v1",
        "id": made.id,
        "type": "stream.event.rejected",
        "source": "billing-agg",
        "timestamp": "2025-11-23T12:13:20.000Z",
        "data": {
            "source_topic": "llm_usage",
            "source_partition": 3,
            "source_offset": 17,
            "group": "billing-agg",
            "reason": "malformed_json",
            "error": "it is not JSON",
            "key_b64": base64.b64encode(b"team_abc123").decode(),
            "value_b64": base64.b64encode(b"\xff{").decode(),
            "headers": [{"key": "trace", "value_b64": "AAE="}, {"key": "trace", "value_b64": None}],
            "failed_at": "2025-11-23T12:13:20.000Z",
            "attempt": 1,
        },
    }


def test_the_id_of_a_letter_with_coordinates_never_changes() -> None:
    made = letter(refused(), NOW_MS)
    assert made.id == "evt_01KARA3WVRMN3FPVDDV308M3XB"  # ids in the topics of running clusters were made like this
    assert letter(refused(value=b"other", error="other"), NOW_MS + 1, b"random").id == made.id
    assert letter(refused(offset=18), NOW_MS).id != made.id
    assert letter(refused(group="llm-metrics"), NOW_MS).id != made.id


def test_the_id_of_a_letter_without_coordinates_is_made_from_content_and_entropy() -> None:
    admission = {"partition": None, "offset": None, "group": None, "producer": "insights-capture"}
    made = letter(refused(**admission), NOW_MS)
    assert data(made)["producer"] == "insights-capture"
    assert "group" not in data(made)
    assert data(made)["source_offset"] is None
    assert letter(refused(**admission), NOW_MS).id == made.id
    others = [
        letter(refused(**admission), NOW_MS, b"0123456789"),
        letter(refused(**admission, value=b"other"), NOW_MS),
        letter(refused(**admission, key=b"team_abc123\xff", value=b"{"), NOW_MS),
    ]
    assert len({made.id, *(other.id for other in others)}) == 4


@pytest.mark.parametrize(
    ("other", "cut"),
    [
        ({"value": b"\xff" * VALUE_BYTES_MAX, "key": b"k" * KEY_BYTES_MAX}, False),
        ({"value": b"\xff" * (VALUE_BYTES_MAX + 1)}, True),
        ({"key": b"k" * (KEY_BYTES_MAX + 1)}, True),
        ({"headers": [("h", b"\xff" * 1000)] * 500}, True),
        ({"headers": [("long" * 100, b"x")]}, True),
        ({"value": None, "key": None}, False),
    ],
)
def test_what_is_oversized_is_cut_and_says_so(other: dict[str, Any], cut: bool) -> None:
    made = letter(refused(**other), NOW_MS)
    assert data(made).get("truncated", False) is cut
    EventRejected.model_validate(parse(made.value)[0])


def test_the_largest_letter_fits_its_topic() -> None:
    headers = [("h" * 20, b"\xff" * 100)] * (HEADERS_BYTES_MAX // 160)
    largest = refused(value=b"\xff" * VALUE_BYTES_MAX, key=b"k" * KEY_BYTES_MAX, headers=headers, error="\u0001" * 1000)
    made = letter(largest, NOW_MS)
    most = int(dict(topic("dead_letter").configs)["max.message.bytes"])
    assert len(made.key) + len(made.value) < most - 1024  # and the frame of the batch
    assert "truncated" not in data(made)


def test_the_attempt_counts_the_redrives_before_it() -> None:
    assert attempt_of([]) == 1
    assert attempt_of([("hanzo-attempt", b"1")]) == 2
    assert attempt_of([("hanzo-attempt", b"many"), ("other", b"7")]) == 1
    assert data(letter(refused(headers=[("hanzo-attempt", b"4")]), NOW_MS))["attempt"] == 5
    assert data(letter(refused(headers=[("hanzo-attempt", b"4")], attempt=1), NOW_MS))["attempt"] == 1


@given(
    key=st.none() | st.binary(),
    value=st.none() | st.binary(),
    error=st.text(st.characters()) | st.just("\ud800"),
    headers=st.lists(st.tuples(st.text(), st.none() | st.binary())),
    at_ms=st.integers(-(2**63), 2**63 - 1),
)
def test_every_refusal_makes_a_letter_that_fits_the_schema_and_gives_the_bytes_back(
    key: bytes | None, value: bytes | None, error: str, headers: list[tuple[str, bytes | None]], at_ms: int
) -> None:
    made = letter(refused(key=key, value=value, error=error, headers=headers, timestamp_ms=at_ms), NOW_MS)
    read = EventRejected.model_validate(parse(made.value)[0]).data
    assert (read.key_b64 and base64.b64decode(read.key_b64)) == (key if key is None else key or "")
    assert (read.value_b64 and base64.b64decode(read.value_b64)) == (value if value is None else value or "")
    assert [header.key for header in read.headers] == [name for name, _ in headers]
