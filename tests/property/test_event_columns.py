"""The columns of captured events hold what the models accept, with equal values, in the order of the records."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_decode import NUMBERS, OTHERS, STRINGS, examples, spell
from test_decode_captured import DATA, ENVELOPE, HOSTILE, ODD, OPTIONAL, events

from streamapp.lane.records import Records, Stretch, payload_of
from streamapp.schemas.judging.insights import KEPT_UNTIL_MS, CapturedEvent, decode_captured, judge_captured
from streamapp.schemas.judging.rejected import Rejected
from streamapp.sinks.clickhouse.columns import EventColumns
from streamapp.sinks.clickhouse.events import NUMBERS as NUMBER_COLUMNS
from streamapp.sinks.clickhouse.events import TEXTS, Row, row_of


@dataclass(frozen=True)
class Rec:
    """A record of the topic."""

    offset: int
    value: bytes | None
    timestamp: int = 1_736_937_060_456
    key: bytes | None = b"team_abc123"


def stretched(records: Sequence[Rec], rng: random.Random) -> Records:
    """The records as they come in batches: in stretches of payloads that hold more than is asked for."""
    parts, at = [], 0
    while at < len(records):
        some = records[at : at + rng.randrange(1, 8)]
        other = [Rec(0, spell(ENVELOPE, [*DATA, ('"uuid"', '"01942a00-0000-7000-8000-0000000000ff"')]))]
        before, behind = (other * rng.randrange(3) for _ in range(2))
        parts.append(Stretch(payload_of([*before, *some, *behind]), len(before), len(before) + len(some)))
        at += len(some)
    return Records(parts)


def rows(columns: EventColumns) -> list[Row]:
    """What Arrow makes of the columns."""
    batch = columns.arrow()
    batch.validate(full=True)
    numbers = [batch[name].cast("int64").to_pylist() for name in NUMBER_COLUMNS]
    return [Row(*row) for row in zip(*(batch[name].to_pylist() for name in TEXTS), *numbers, strict=True)]


def same(values: Sequence[bytes | None], keep_ip: bool = True, stamps: Sequence[int] = ()) -> list[bytes | None]:
    """Hold the columns to the models. Returns the values that the compiled reader left to Python."""
    left: list[bytes | None] = []

    def judge(raw: bytes | None) -> CapturedEvent | Rejected:
        left.append(raw)
        return decode_captured(raw)

    records = [Rec(7 + number, value) for number, value in enumerate(values)]
    records = (
        [Rec(one.offset, one.value, stamp) for one, stamp in zip(records, stamps, strict=True)] if stamps else records
    )
    columns = EventColumns(keep_ip, judge)
    refusals = columns.read(stretched(records, random.Random(len(values))))
    verdicts = [(record, judge_captured(record.value)) for record in records]
    expected = [row_of(event, record, keep_ip) for record, event in verdicts if isinstance(event, CapturedEvent)]
    assert rows(columns) == expected
    refused = [(record.offset, event.reason, event.error) for record, event in verdicts if isinstance(event, Rejected)]
    assert [(one.record.offset, one.reason, one.error) for one in refusals] == refused
    return left


@given(st.lists(events() | st.none(), max_size=12), st.booleans())
@examples(200)
def test_events_with_odd_fields_are_kept_alike(values: list[bytes | None], keep_ip: bool) -> None:
    same(values, keep_ip)


UUID = ('"uuid"', '"01942a00-0000-7000-8000-000000000001"')
ANY = [*NUMBERS, *STRINGS, *OTHERS, *HOSTILE]


@pytest.mark.parametrize("key", [key for key, _ in DATA + OPTIONAL + ODD])
def test_every_odd_value_in_every_data_field(key: str) -> None:
    others = [pair for pair in [*DATA, UUID] if pair[0] != key]
    same([spell(ENVELOPE, [*others, (key, value)]) for value in ANY])


@pytest.mark.parametrize("key", [key for key, _ in ENVELOPE + ODD])
def test_every_odd_value_in_every_envelope_field(key: str) -> None:
    others = [pair for pair in ENVELOPE if pair[0] != key]
    same([spell([*others, (key, value)], [*DATA, UUID]) for value in ANY])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner),
    ),
    st.booleans(),
)
@examples(100)
def test_properties_are_kept_as_they_were_written(value: object, ascii_only: bool) -> None:
    text = json.dumps({"value": value}, ensure_ascii=ascii_only)
    same([spell(ENVELOPE, [*DATA[:2], ('"properties"', text), UUID])])


def test_every_byte_and_every_escape_in_a_string_of_the_properties() -> None:
    pieces = [bytes([byte]) for byte in range(256)]
    pieces += [b"\\" + piece for piece in pieces] + [b"\\u12" + piece + b"a" for piece in pieces]
    tails = (b"", b"\x80", b"\x80\x80", b"\xbf\xbf")
    edges = b"\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0"
    pieces += [bytes([lead, byte]) + tail for lead in range(0xC0, 0x100) for byte in edges for tail in tails]
    halves = [b"\\ud7ff", b"\\ud800", b"\\uDBFF", b"\\udc00", b"\\udfff", b"\\ue000", b"\\n", b"\\udc0", b"x"]
    pieces += [one + other for one in halves for other in halves]
    for pad in ("", "abcdefg"):
        base = spell(ENVELOPE, [*DATA[:2], ('"properties"', f'{{"{pad}@":"{pad}@ and so on"}}'), UUID])
        same([base.replace(b"@", piece) for piece in pieces])


@pytest.mark.parametrize(
    "properties", ["{}", "{ }", '{"a":1}', '{  "a":1}', '{"$ip":"10.0.0.1"}', '{"a":{"$ip":1}}', '{"é":"\\n"}']
)
@pytest.mark.parametrize("ip", ['"203.0.113.42"', '""', "null", '"\\""', '"::1"'])
def test_the_address_becomes_a_property_only_when_asked(properties: str, ip: str) -> None:
    value = spell(ENVELOPE, [*DATA[:2], ('"properties"', properties), ('"ip"', ip), UUID])
    left = same([value], keep_ip=True) + same([value], keep_ip=False)
    assert bool(left) == ("\\" in ip)


def test_what_is_usual_is_never_left_to_python() -> None:
    text = '{"title":"Gr\\u00dfe \\ud83d\\ude00, 漢字 \\"quoted\\" \\\\ \\/","n":[1,-2.5,null,true],"deep":{"er":{}}}'
    for properties in ("{}", DATA[2][1], text):
        for data in (
            [*DATA[:2], ('"properties"', properties), *OPTIONAL],
            [UUID, ('"properties"', properties), *DATA[:2]],
        ):
            assert same([spell(ENVELOPE, data)] * 20) == []


def test_what_is_left_to_python_keeps_its_place() -> None:
    plain, odd = spell(ENVELOPE, [*DATA, UUID]), spell(ENVELOPE, [*DATA, ('"uuid"', "null")])
    values = [odd, plain, None, plain, b"", odd, odd, b"{", plain]
    assert same(values) == [odd, None, b"", odd, odd, b"{"]


def test_any_record_timestamp_is_kept_within_what_clickhouse_can_say() -> None:
    stamps = [-(2**63), -1, 0, 1, KEPT_UNTIL_MS - 1, KEPT_UNTIL_MS, 2**63 - 1]
    for uuid in (UUID[1], "null"):
        same([spell(ENVELOPE, [*DATA, (UUID[0], uuid)])] * len(stamps), stamps=stamps)


def test_random_damage_is_judged_alike() -> None:
    """Seeded, and far more of it than a shrinking search would try in the time."""
    rng = random.Random(29)
    base = spell(ENVELOPE, [*DATA, *OPTIONAL])
    values: list[bytes | None] = []
    for _ in range(8_000):
        raw = bytearray(base)
        for _ in range(rng.randint(1, 3)):
            raw[rng.randrange(len(raw))] = (
                rng.randrange(256) if rng.random() < 0.5 else rng.choice(b'"\\{}[],:0-.eE 19')
            )
        values.append(bytes(raw))
    assert 500 < len(same(values)) < 7_500


def test_no_record_is_no_row() -> None:
    columns = EventColumns(keep_ip=False)
    assert columns.read(Records()) == []
    assert rows(columns) == []


def test_rows_stay_readable_when_their_columns_are_gone() -> None:
    def batch() -> Any:
        columns = EventColumns(keep_ip=False)
        columns.read(stretched([Rec(n, spell(ENVELOPE, [*DATA, UUID])) for n in range(2_000)], random.Random(1)))
        return columns.arrow()

    kept = [batch() for _ in range(20)]
    assert all(one["_offset"].to_pylist() == list(range(2_000)) for one in kept)
    assert set(kept[0]["event"].to_pylist()) == {"$pageview"}
