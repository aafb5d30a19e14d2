"""The fast readers accept nothing that the models refuse, and read the same values. No bytes make them raise.

Events are written by hand, as pairs of a key and the text of its value: so keys repeat, numbers keep odd spellings,
and what is no JSON at all can stand anywhere.
"""

from __future__ import annotations

import json
import random
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_usage import PlainUsage, read_plain
from searches import search

from streamapp.schemas.fields import MEASURED_MAX_MS, UNUSABLE
from streamapp.schemas.judging.decode import Reason, Rejected, Usage, decode_usage
from streamapp.schemas.judging.judge import judge_usage
from streamapp.schemas.values.money import EXACT

Pairs = list[tuple[str, str]]

FAST_REFUSES = Rejected(Reason.EMPTY_VALUE, "left to the models")


def examples(number: int) -> settings:
    return search(number)


ENVELOPE: Pairs = [
    ('"schema"', '"hanzo.stream.v1"'),
    ('"id"', '"evt_01HQ3X7K8M2N4P5R6S7T8U9V0W"'),
    ('"type"', '"llm.usage.completed"'),
    ('"source"', '"llm-gateway"'),
    ('"timestamp"', '"2025-01-15T10:30:00.123Z"'),
    ('"team_id"', '"team_abc123"'),
    ('"org_id"', '"org_hanzo"'),
]
DATA: Pairs = [
    ('"request_id"', '"req_xyz789"'),
    ('"model"', '"zen-72b"'),
    ('"provider"', '"together"'),
    ('"prompt_tokens"', "150"),
    ('"completion_tokens"', "230"),
    ('"total_tokens"', "380"),
    ('"latency_ms"', "1250"),
    ('"cost_usd"', "0.0038"),
    ('"user_id"', '"user_456"'),
    ('"api_key_hash"', '"sha256:abc..."'),
    ('"cache_hit"', "false"),
    ('"stream"', "true"),
]
OPTIONAL_DATA: Pairs = [
    ('"status"', '"error"'),
    ('"ttft_ms"', "80.5"),
    ('"project_id"', '"project_1"'),
    ('"cache_read_tokens"', "1"),
    ('"cache_write_tokens"', "0"),
    ('"currency"', '"EUR"'),
]
OTHER_KEYS: Pairs = [('"unknown"', "0"), ('"at_ms"', "7"), ('"schema_"', "0"), ('"\\u0064ata"', "0"), ('"data"', "{}")]

NUMBER_TEXTS = """
    0 -0 0.0 -0.0 1 1.0 1e0 1E2 1e-12 1e-13 1.0e-12 0.1000000000000 0.000000000000 0.0000000000000 0e400 0e-13 -1
    -1e-13 1e17 1e18 999999999999999999.999999999999 1e400 -1e400 1e-400 1e99999999999999999999 0e99999999999999999999
    1e-99999999999999999999 9007199254740992 9007199254740993 18446744073709551616 123456789012345678901234567890.5
    150.0 1.5e2 0.0016150000000000001 2.9999999999999997e-05 0.0038000000000000 0E-20 0E-12 5e-13 15e-13 25e-13
    5.1e-13 0.000000000000500000000000000000000000001 999999999999999999.9999999999994
    999999999999999999.9999999999995 1e-400 9999999999999999999999999999999999999e-19
    9999999999999999999999999999999999999 1e-38 1e-39 1e-52 86400000 86400000.0 86400000.5 86400001 -3 -0e0 1.e5 1e+5
    1E-05 00.1 0e0 1.7976931348623157e308 1.7976931348623159e308 2.5e-324 5e-324 01 1. .5 +1 0x1 1e 1e+ - --1
"""
NUMBERS = [
    *NUMBER_TEXTS.split(),
    *["9" * 400, "9" * 4300, "9" * 4301, "0." + "3" * 60, "1" + "0" * 40, "0." + "0" * 5000],
]
STRINGS = [
    *(
        '""',
        '" "',
        '"a b"',
        '"a\\u0020b"',
        '"\\u00e9"',
        '"é"',
        '"😀"',
        '"\\ud83d\\ude00"',
        '"\\ud800"',
        '"\\udc00x"',
    ),
    *('"\x7f"', '"\\u007f"', '"\\u0000"', '"\x00"', '"\n"', '"\t"', '"\\n"', '"\\/"', '"\\x"', '"\\u12"', '"\\'),
    *('"usd"', '"USD "', '"ÀB"', '"١٢"', '"success"', '"Success"', '"hanzo.stream.v2"', '"other.type"', '"0.0038"'),
    *(
        '"2025-01-15T10:30:60Z"',
        '"2025-01-15t10:30:00.9z"',
        '"1970-01-01T00:00:00+00:01"',
        '"2025-02-29T00:00:00Z"',
    ),
    *(f'"{letter * length}"' for letter in "xX" for length in (16, 17, 128, 129, 256, 257)),
    *(f'"{letter * 256}"' for letter in "é😀"),
]
OTHERS = [
    *("null", "true", "false", "NaN", "Infinity", "-Infinity", "nul", "{}", "[]", "[1,]", '{"a":1,}', "", "{1:1}"),
    *('{"a":{"b":[1,2,{"c":"\x01"}]}}', '{"\\ud800":1}', '{"é":["é"]}', "undefined", "'a'", "1 2", '"a" "b"'),
    *("[" * depth + "]" * depth for depth in (300, 398, 399, 400, 401, 402, 10_000)),
    *('{"a":' * depth + "1" + "}" * depth for depth in (399, 400, 401, 10_000)),
    f'"{"[" * 2_000}"',
]
TEXTS = st.text(max_size=20).map(json.dumps) | st.text(max_size=20).map(
    lambda text: json.dumps(text, ensure_ascii=False)
)
VALUES = st.sampled_from([*NUMBERS, *STRINGS, *OTHERS]) | TEXTS | st.decimals(allow_nan=False, places=6).map(str)


def spell(envelope: Pairs, data: Pairs, *, end: str = "") -> bytes:
    inner = ",".join(f"{key}:{value}" for key, value in data)
    pairs = [*envelope, ('"data"', "{" + inner + "}")]
    text = "{" + ",".join(f"{key}:{value}" for key, value in pairs) + "}" + end
    return text.encode("utf-8", "surrogatepass")


@st.composite
def odd_events(
    draw: st.DrawFn,
    envelope: Pairs,
    data: Pairs,
    optional: Pairs,
    others: Pairs,
    replaced: st.SearchStrategy[str] = VALUES,
    added: st.SearchStrategy[str] = VALUES,
) -> bytes:
    """A valid event with up to three fields removed, repeated, moved, added, or given another value.

    `others`: keys that it does not have; `replaced`, `added`: values instead of a field's own, and of fields that come.
    """
    envelope, data = list(envelope), [*data, *draw(st.lists(st.sampled_from(optional), max_size=3))]
    for _ in range(draw(st.integers(0, 3))):
        pairs = draw(st.sampled_from([envelope, data, data]))
        at = draw(st.integers(0, len(pairs) - 1))
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "repeat", "add", "move"])):
            case "replace":
                pairs[at] = (pairs[at][0], draw(replaced))
            case "remove" if len(pairs) > 1:
                del pairs[at]
            case "repeat":
                pairs.append((pairs[at][0], draw(added)))
            case "add":
                pairs.insert(at, (draw(st.sampled_from(others))[0], draw(added)))
            case _:
                pairs.append(pairs.pop(at))
    return spell(envelope, data)


def events() -> st.SearchStrategy[bytes]:
    return odd_events(ENVELOPE, DATA, OPTIONAL_DATA, OTHER_KEYS)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """The bytes of an event with some of them replaced, removed, inserted or cut off."""
    raw = bytearray(draw(events()))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        piece = draw(
            st.binary(min_size=1, max_size=2) | st.sampled_from([b'"', b"\\", b"{", b"}", b",", b"\xc3", b"0"])
        )
        match draw(st.sampled_from(["replace", "insert", "remove", "cut"])):
            case "replace":
                raw[at : at + len(piece)] = piece
            case "insert":
                raw[at:at] = piece
            case "remove":
                del raw[at : at + len(piece)]
            case _:
                del raw[at:]
    return bytes(raw)


def same(raw: bytes) -> Usage | Rejected:
    """What `decode_usage` says, after holding its fast reader to the models."""
    verdict = judge_usage(raw)
    fast = decode_usage(raw, judge=lambda _: FAST_REFUSES)
    if fast is not FAST_REFUSES:
        # repr, because 0 == 0.0 == Decimal("0E-12"): digits, exponents and types have to agree as well.
        assert repr(fast) == repr(verdict)
    assert repr(decode_usage(raw)) == repr(verdict)
    if (read := read_plain(raw)) is not None:
        assert isinstance(verdict, Usage), f"the fast path takes what is refused: {verdict}"
        assert read == PlainUsage.of(verdict)
    return verdict


@given(events())
@examples(2_000)
def test_events_with_odd_fields_are_judged_alike(raw: bytes) -> None:
    same(raw)


@given(damaged())
@examples(800)
def test_damaged_bytes_are_judged_alike(raw: bytes) -> None:
    same(raw)


@given(st.binary(max_size=60))
@examples(400)
def test_any_bytes_give_a_verdict(raw: bytes) -> None:
    assert isinstance(same(raw), Rejected)


@pytest.mark.parametrize("key", [key for key, _ in DATA + OPTIONAL_DATA + OTHER_KEYS])
def test_every_odd_value_in_every_data_field(key: str) -> None:
    others = [pair for pair in DATA if pair[0] != key]
    for value in (*NUMBERS, *STRINGS, *OTHERS):
        same(spell(ENVELOPE, [*others, (key, value)]))


@pytest.mark.parametrize("key", [key for key, _ in ENVELOPE + OTHER_KEYS])
def test_every_odd_value_in_every_envelope_field(key: str) -> None:
    others = [pair for pair in ENVELOPE if pair[0] != key]
    for value in (*NUMBERS, *STRINGS, *OTHERS):
        same(spell([*others, (key, value)], DATA))


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**12 - 1), st.integers(0, 12))
@examples(400)
def test_costs_are_read_to_the_last_digit(whole: int, fraction: int, places: int) -> None:
    text = f"{whole}.{fraction:012d}"[: -places or None].rstrip(".")
    usage = same(spell(ENVELOPE, [pair if pair[0] != '"cost_usd"' else (pair[0], text) for pair in DATA]))
    assert isinstance(usage, Usage)
    cost = usage.data.cost_usd
    units = int(text.replace(".", "").ljust(len(str(whole)) + 12, "0"))
    assert cost.as_tuple().exponent == -12
    assert int(cost.scaleb(12, EXACT)) == units


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
@examples(400)
def test_latencies_are_the_nearest_float(latency_ms: float) -> None:
    usage = same(spell(ENVELOPE, [*DATA, ('"latency_ms"', repr(latency_ms))]))
    assert isinstance(usage, Usage)
    assert usage.data.latency_ms == (latency_ms if latency_ms <= MEASURED_MAX_MS else UNUSABLE)


def hand_rounded(digits: str, places: int, exponent: int) -> int:
    """The number digits × 10^(exponent - places) in units of 10^-12, half to even, by integers alone."""
    number, shift = int(digits), 12 - places + exponent
    unit = int("1" + "0" * abs(shift))
    if shift >= 0:
        return number * unit
    whole, rest = divmod(number, unit)
    return whole + (2 * rest > unit or (2 * rest == unit and whole % 2 == 1))


@given(
    st.from_regex(r"[0-9]{1,45}", fullmatch=True) | st.from_regex(r"[0-9]{1,12}5(0{0,20})", fullmatch=True),
    st.integers(0, 45),
    st.none() | st.integers(-60, 30),
    st.sampled_from(["e", "E"]),
)
@examples(1_500)
def test_costs_are_rounded_half_to_even_by_every_reader(digits: str, places: int, exponent: int | None, e: str) -> None:
    places = min(places, len(digits) - 1)
    whole, fraction = digits[: len(digits) - places].lstrip("0") or "0", digits[len(digits) - places :]
    text = whole + (f".{fraction}" if fraction else "") + ("" if exponent is None else f"{e}{exponent}")
    units = hand_rounded(digits, places, exponent or 0)
    usage = same(spell(ENVELOPE, [pair if pair[0] != '"cost_usd"' else (pair[0], text) for pair in DATA]))
    if units >= 10**30:
        assert isinstance(usage, Rejected)
        return
    assert isinstance(usage, Usage)
    assert int(usage.data.cost_usd.scaleb(12, EXACT)) == units
    assert usage.is_rounded == (Decimal(units).scaleb(-12, EXACT) != Decimal(text))


@given(st.floats(min_value=0, max_value=1e6, allow_nan=False))
@examples(400)
def test_what_a_float_writes_is_billed_by_the_fast_path(cost: float) -> None:
    raw = spell(ENVELOPE, [pair if pair[0] != '"cost_usd"' else (pair[0], repr(cost)) for pair in DATA])
    assert isinstance(same(raw), Usage)
    if abs(Decimal(repr(cost)).adjusted()) < 100:
        assert read_plain(raw) is not None, raw


@given(st.text(max_size=300), st.sampled_from(['"user_id"', '"model"', '"provider"', '"request_id"']), st.booleans())
@examples(400)
def test_texts_are_kept(text: str, key: str, ascii_only: bool) -> None:
    raw = spell(ENVELOPE, [*DATA, (key, json.dumps(text, ensure_ascii=ascii_only))])
    usage = same(raw)
    fits = len(text) <= 256 and (text or key in ('"user_id"', '"request_id"'))
    assert isinstance(usage, Usage) == bool(fits)
    if isinstance(usage, Usage):
        assert getattr(usage.data, key.strip('"')) == text


@pytest.mark.parametrize("end", [" ", "\n\t\r", "\x00", "x", "{}", "null", ",", "}", "\ufeff"])
def test_nothing_may_follow(end: str) -> None:
    assert isinstance(same(spell(ENVELOPE, DATA, end=end)), Usage) == (end.strip(" \n\t\r") == "")


def test_what_is_usual_is_taken_by_the_fast_reader() -> None:
    usual = [
        spell(ENVELOPE, DATA),
        spell(ENVELOPE[:-1], [*DATA, *OPTIONAL_DATA]),
        spell([*ENVELOPE, ('"unknown"', '{"é":[1,{"b":null}]}')], DATA),
        spell(ENVELOPE, [*DATA, ('"model"', '"モデル \\"7\\""'), ('"cost_usd"', "0")]),
        spell(ENVELOPE, [*DATA, ('"cost_usd"', "2")]),
        spell(ENVELOPE, [*DATA, ('"org_id"', "null"), ('"latency_ms"', "null"), ('"cost_usd"', "0.000")]),
    ]
    for raw in usual:
        assert isinstance(decode_usage(raw, judge=lambda _: FAST_REFUSES), Usage), raw


def test_what_is_usual_is_taken_by_the_fast_path() -> None:
    usual = [
        spell(ENVELOPE, DATA),
        spell(ENVELOPE, [*reversed(DATA), *OPTIONAL_DATA]),
        spell(
            [*ENVELOPE, ('"unknown"', '{"e": [1.5, -2, {"b": null, "c": "d", "f": {}}], "g": [], "h": false}')], DATA
        ),
        spell(ENVELOPE, DATA).replace(b'":', b'" : ').replace(b",", b" , ").replace(b"}}", b" } } "),
        *(
            spell(ENVELOPE, [*(pair for pair in DATA if pair[0] != key), (key, text)])
            for key, texts in {
                '"cost_usd"': (
                    "0.0016150000000000001",
                    "2.9999999999999997e-05",
                    "0E-20",
                    "0",
                    "0.0",
                    "2",
                    "1.000000000000",
                    "999999999999999999.999999999999",
                ),
                '"latency_ms"': ("null", "0.25", "-3", '"fast"', "1000000000000", "[]"),
                '"total_tokens"': ("623",),
                '"cache_hit"': ("null", "true"),
                '"status"': ("null", '"timeout"', '"rate_limited"', '"success"', '"failure"'),
                '"currency"': ("null", '"AI"'),
                '"model"': (f'"{"m" * 256}"',),
            }.items()
            for text in texts
        ),
        *(
            spell([pair if pair[0] != '"timestamp"' else (pair[0], f'"{stamp}"') for pair in ENVELOPE], DATA)
            for stamp in ("2024-02-29T23:59:59Z", "2025-12-31T00:00:00.9Z", "2025-01-15T10:30:00.999999999Z")
        ),
    ]
    for raw in usual:
        same(raw)
        assert read_plain(raw) is not None, raw


@given(st.integers(31_536_000, 253_370_764_799), st.integers(0, 999_999))
@examples(400)
def test_moments_are_read_alike(second: int, fraction: int) -> None:
    stamp = f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:06d}Z".encode()
    raw = spell(ENVELOPE, DATA).replace(b"2025-01-15T10:30:00.123Z", stamp)
    same(raw)
    assert read_plain(raw) is not None


def test_a_field_cannot_set_what_is_computed() -> None:
    for value in ("7", '"x"', "null", "[]", "true"):
        usage = same(spell([*ENVELOPE, ('"at_ms"', value), ('"is_rounded"', value)], DATA))
        assert isinstance(usage, Usage)
        assert (usage.at_ms, usage.is_rounded) == (1_736_937_000_123, False)


def test_bytes_that_are_not_utf8_inside_of_unknown_fields() -> None:
    for piece in (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\xaf"):
        raw = spell([('"x"', '"@"'), *ENVELOPE], DATA).replace(b"@", piece)
        assert same(raw) == Rejected(Reason.MALFORMED_JSON, "the value is not UTF-8 at byte 6")


def test_depth_has_one_limit_however_much_stack_is_left() -> None:
    fits, deeper = (spell([('"x"', "[" * depth + "]" * depth), *ENVELOPE], DATA) for depth in (399, 400))

    def at_depth(frames: int) -> None:
        if frames:
            at_depth(frames - 1)
        else:
            assert isinstance(decode_usage(fits), Usage)
            assert isinstance(decode_usage(deeper), Rejected)

    assert sys.getrecursionlimit() == 1_000
    at_depth(0)
    at_depth(300)


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
@pytest.mark.parametrize("closing", ["", "]", "}"])
def test_ten_thousand_levels_are_malformed(opening: str, closing: str) -> None:
    levels = opening * 10_000 + "1" + closing * 10_000
    for raw in (
        levels.encode(),
        spell([*ENVELOPE, ('"x"', levels)], DATA),
        spell(ENVELOPE, [*DATA, ('"cost_usd"', levels)]),
    ):
        verdict = same(raw)
        assert isinstance(verdict, Rejected)
        assert verdict.reason is Reason.MALFORMED_JSON


def test_random_damage_is_judged_alike() -> None:
    """Seeded, and far more of it than a shrinking search would try in the time."""
    rng = random.Random(30)
    base = spell(ENVELOPE, [*DATA, *OPTIONAL_DATA])
    accepted = 0
    for _ in range(20_000):
        raw = bytearray(base)
        for _ in range(rng.randint(1, 3)):
            raw[rng.randrange(len(raw))] = (
                rng.randrange(256) if rng.random() < 0.5 else rng.choice(b'"\\{}[],:0-.eE 19')
            )
        accepted += isinstance(same(bytes(raw)), Usage)
    assert accepted > 1_000
