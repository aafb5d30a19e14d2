"""The fast reader of captured events accepts what the models accept, refuses what they refuse, with equal values."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_decode import NUMBERS, OTHERS, STRINGS, VALUES, Pairs, examples, odd_events, spell

from streamapp.schemas.judging.insights import CapturedEvent, decode_captured, judge_captured, uuid_of
from streamapp.schemas.judging.rejected import Reason, Rejected

FAST_REFUSES = Rejected(Reason.MALFORMED_JSON, "the fast reader does not take it")
ENVELOPE: Pairs = [
    ('"schema"', '"hanzo.stream.v1"'),
    ('"id"', '"evt_01HQ4Y8L9N3O5Q6R7S8T9U0V1X"'),
    ('"type"', '"insights.event.captured"'),
    ('"source"', '"insights-capture"'),
    ('"timestamp"', '"2025-01-15T10:31:00.456Z"'),
    ('"team_id"', '"team_abc123"'),
]
DATA: Pairs = [
    ('"event"', '"$pageview"'),
    ('"distinct_id"', '"user_456"'),
    ('"properties"', '{"$browser":"Chrome","price":1.50,"é":[null,true]}'),
]
OPTIONAL: Pairs = [
    ('"ip"', '"203.0.113.42"'),
    ('"session_id"', '"sess_abc123"'),
    ('"sent_at"', '"2025-01-15T10:30:59.800Z"'),
    ('"uuid"', '"01942a00-0000-7000-8000-000000000001"'),
    ('"org_id"', '"org_hanzo"'),
]
ODD: Pairs = [('"unknown"', "0"), ('"at_ms"', "7"), ('"\\u0064ata"', "0"), ('"data"', "{}"), ('"properties"', "[]")]
PROPERTIES = [
    "{ }",
    '{"a":1,"a":2}',
    '{"a":{"b":[1,2,{"c":"\\u0000"}]}}',
    *(f'{{"x":{text}}}' for text in (*NUMBERS, *STRINGS, *OTHERS)),
    *("{" + text + "}" for text in ('"a"', '"a":', "a:1", "'a':1", '"a":1,', '"a" 1', ',"a":1', '"a":1 "b":2')),
]
UUIDS = [
    '"01942A00-0000-7000-8000-000000000001"',
    '"01942a00000070008000000000000001"',
    '"01942a00-0000-7000-8000-000000000001\\n"',
    '"{01942a00-0000-7000-8000-000000000001}"',
    '"01942a00-0000-7000-8000-00000000000g"',
]
LENGTHS = [f'"{letter * length}"' for letter in "xé😀" for length in (199, 200, 201, 256, 257)]
HOSTILE = [*PROPERTIES, *UUIDS, *LENGTHS, '"2100-01-01T00:00:00Z"', '"2099-12-31T23:59:59.999-00:01"']


def same(raw: bytes) -> CapturedEvent | Rejected:
    """What `decode_captured` says, after holding its fast reader to the models."""
    verdict = judge_captured(raw)
    fast = decode_captured(raw, judge=lambda _: FAST_REFUSES)
    if fast is not FAST_REFUSES:
        assert fast == verdict, raw
    assert decode_captured(raw) == verdict
    if isinstance(verdict, CapturedEvent):
        assert all(getattr(verdict, name).encode() is not None for name in TEXTS), "it can be stored as UTF-8"
        assert isinstance(json.loads(verdict.properties, parse_int=str), dict)
    return verdict


TEXTS = ("uuid", "event", "properties", "team_id", "distinct_id", "session_id", "ip")


def events() -> st.SearchStrategy[bytes]:
    return odd_events(
        ENVELOPE, DATA, OPTIONAL, ODD, VALUES | st.sampled_from(HOSTILE), VALUES | st.sampled_from(PROPERTIES)
    )


@given(events())
@examples(1_000)
def test_events_with_odd_fields_are_judged_alike(raw: bytes) -> None:
    same(raw)


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
)
@examples(100)
def test_properties_are_kept_as_they_were_written(value: object) -> None:
    text = json.dumps({"value": value}, ensure_ascii=False)
    event = same(spell(ENVELOPE, [*DATA, ('"properties"', text)]))
    strange = any(name in json.dumps(value) for name in ("NaN", "Infinity"))
    assert strange or (isinstance(event, CapturedEvent) and event.properties == text)


@pytest.mark.parametrize("key", [key for key, _ in DATA + OPTIONAL + ODD])
def test_every_odd_value_in_every_data_field(key: str) -> None:
    others = [pair for pair in DATA if pair[0] != key]
    for value in (*NUMBERS, *STRINGS, *OTHERS, *HOSTILE):
        same(spell(ENVELOPE, [*others, (key, value)]))


@pytest.mark.parametrize("key", [key for key, _ in ENVELOPE + ODD])
def test_every_odd_value_in_every_envelope_field(key: str) -> None:
    others = [pair for pair in ENVELOPE if pair[0] != key]
    for value in (*NUMBERS, *STRINGS, *OTHERS, *HOSTILE):
        same(spell([*others, (key, value)], DATA))


@pytest.mark.parametrize("key", ['"properties"', '"unknown"'])
def test_bytes_that_are_not_utf8(key: str) -> None:
    for piece in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\xaf"):
        verdict = same(spell(ENVELOPE, [*DATA, (key, '{"a":"@"}')]).replace(b"@", piece))
        assert isinstance(verdict, Rejected)
        assert verdict.reason == Reason.MALFORMED_JSON


def test_data_that_stands_twice_counts_as_it_stands_last() -> None:
    inner = ",".join(f"{key}:{value}" for key, value in DATA)
    first = spell([*ENVELOPE, ('"data"', '{"properties":{"of":"the first"}}')], DATA)
    last = spell([*ENVELOPE, ('"data"', "{" + inner + "}")], [('"event"', '"no more"')])
    event = same(first)
    assert isinstance(event, CapturedEvent)
    assert event.properties == DATA[2][1]
    assert isinstance(same(last), Rejected)


def test_what_is_usual_is_taken_by_the_fast_reader() -> None:
    for data in (DATA, DATA + OPTIONAL, [*reversed(DATA)], [*DATA, ('"ip"', "null"), ('"uuid"', "null")]):
        event = decode_captured(spell(ENVELOPE, data), judge=lambda _: FAST_REFUSES)
        assert isinstance(event, CapturedEvent)
        assert event.properties == DATA[2][1]
    assert isinstance(event, CapturedEvent)
    assert event.uuid == uuid_of("evt_01HQ4Y8L9N3O5Q6R7S8T9U0V1X") == "f6971698-3ff0-825d-9a06-8794144b0f02"


def test_random_damage_is_judged_alike() -> None:
    """Seeded, and far more of it than a shrinking search would try in the time."""
    rng = random.Random(28)
    base = spell(ENVELOPE, [*DATA, *OPTIONAL])
    accepted = 0
    for _ in range(8_000):
        raw = bytearray(base)
        for _ in range(rng.randint(1, 3)):
            raw[rng.randrange(len(raw))] = (
                rng.randrange(256) if rng.random() < 0.5 else rng.choice(b'"\\{}[],:0-.eE 19')
            )
        accepted += isinstance(same(bytes(raw)), CapturedEvent)
    assert accepted > 500
