"""The fast reader of metered calls accepts what the models accept, refuses what they refuse, with equal values."""

from __future__ import annotations

import json
import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_calls import PlainCall, read_plain_call
from test_decode import NUMBERS, OTHERS, STRINGS, VALUES, Pairs, examples, odd_events, spell

from streamapp.schemas.judging.decode_metering import decode_metering
from streamapp.schemas.judging.judge import judge_metering
from streamapp.schemas.judging.metering import Metering
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.values.money import EXACT

FAST_REFUSES = Rejected(Reason.MALFORMED_JSON, "the fast reader does not take it")
ENVELOPE: Pairs = [
    ('"schema"', '"hanzo.stream.v1"'),
    ('"id"', '"evt_01HQ3X7K8M2N4P5R6S7T8U9V0W"'),
    ('"type"', '"agent.rpc.metered"'),
    ('"source"', '"bot-gateway"'),
    ('"timestamp"', '"2025-01-15T10:30:00.123Z"'),
    ('"team_id"', '"team_abc123"'),
    ('"org_id"', '"org_hanzo"'),
]
DATA: Pairs = [
    ('"agent_id"', '"agent_1"'),
    ('"consumer_id"', '"consumer_1"'),
    ('"method"', '"chat.send"'),
    ('"request_id"', '"req_xyz789"'),
    ('"unit"', '"per_token"'),
    ('"quantity"', "3"),
    ('"price"', '"0.001"'),
    ('"currency"', '"AI"'),
    ('"status"', '"success"'),
    ('"free_tier"', "false"),
]
OPTIONAL: Pairs = [
    ('"latency_ms"', "80.5"),
    ('"model"', '"zen-72b"'),
    ('"prompt_tokens"', "1"),
    ('"completion_tokens"', "0"),
    ('"chain"', '"base"'),
    ('"chain_id"', "8453"),
    ('"agent_wallet"', '"0xA"'),
    ('"consumer_wallet"', '"0xC"'),
]
ODD: Pairs = [('"unknown"', "0"), ('"at_ms"', "7"), ('"amount"', '"9"'), ('"\\u0064ata"', "0"), ('"data"', "{}")]
PRICES = [json.dumps(text) for text in NUMBERS if len(text) < 100]
PRICES += [
    '"-0"',
    '"1_0"',
    '" 1"',
    '"1 "',
    '"NaN"',
    '"Infinity"',
    '"sNaN"',
    '"\u0661"',
    '"1e-0012"',
    '"1e+17"',
    '"0x1"',
]


def same(raw: bytes) -> Metering | Rejected:
    """What `decode_metering` says, after holding its fast reader to the models."""
    verdict = judge_metering(raw)
    fast = decode_metering(raw, judge=lambda _: FAST_REFUSES)
    if fast is not FAST_REFUSES:
        # repr, because 0 == 0.0 == Decimal("0E-12"): digits, exponents and types have to agree as well.
        assert repr(fast) == repr(verdict)
    assert repr(decode_metering(raw)) == repr(verdict)
    if (plain := read_plain_call(raw)) is not None:
        assert isinstance(verdict, Metering), f"the fast path takes what is refused: {verdict}"
        assert repr(plain) == repr(PlainCall.of(verdict))
    return verdict


def events() -> st.SearchStrategy[bytes]:
    return odd_events(ENVELOPE, DATA, OPTIONAL, ODD, VALUES | st.sampled_from(PRICES))


@given(events())
@examples(1_000)
def test_events_with_odd_fields_are_judged_alike(raw: bytes) -> None:
    same(raw)


@pytest.mark.parametrize("key", [key for key, _ in DATA + OPTIONAL + ODD])
def test_every_odd_value_in_every_data_field(key: str) -> None:
    others = [pair for pair in DATA if pair[0] != key]
    for value in (*NUMBERS, *STRINGS, *OTHERS, *PRICES):
        same(spell(ENVELOPE, [*others, (key, value)]))


@pytest.mark.parametrize("key", [key for key, _ in ENVELOPE + ODD])
def test_every_odd_value_in_every_envelope_field(key: str) -> None:
    others = [pair for pair in ENVELOPE if pair[0] != key]
    for value in (*NUMBERS, *STRINGS, *OTHERS):
        same(spell([*others, (key, value)], DATA))


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**12 - 1), st.integers(0, 12), st.integers(0, 2**53))
@examples(400)
def test_amounts_are_right_to_the_last_digit(whole: int, fraction: int, places: int, quantity: int) -> None:
    text = f"{whole}.{fraction:012d}"[: -places or None].rstrip(".")
    data = dict(DATA) | {'"price"': f'"{text}"', '"quantity"': str(quantity)}
    call = same(spell(ENVELOPE, list(data.items())))
    units = int(text.replace(".", "").ljust(len(str(whole)) + 12, "0")) * quantity
    if units >= 10**30:
        assert isinstance(call, Rejected)
        assert call.reason == Reason.INVALID_PRICE
        return
    assert isinstance(call, Metering)
    assert call.amount.as_tuple().exponent == -12
    assert int(call.amount.scaleb(12, EXACT)) == units


def test_what_is_usual_is_taken_by_the_fast_reader() -> None:
    for data in (DATA, DATA + OPTIONAL, [pair for pair in DATA if pair[0] in KEPT]):
        call = decode_metering(spell(ENVELOPE, data), judge=lambda _: FAST_REFUSES)
        assert isinstance(call, Metering)
        assert call.amount == Decimal("0.003")


def test_what_is_usual_is_taken_by_the_fast_path() -> None:
    usual = [
        spell(ENVELOPE, DATA),
        spell(ENVELOPE, [*reversed(DATA), *OPTIONAL]),
        spell([pair for pair in ENVELOPE if pair[0] != '"team_id"'], [pair for pair in DATA if pair[0] in KEPT]),
        spell([*ENVELOPE, ('"unknown"', '{"e": [1.5, -2, {"b": null}], "h": false}')], DATA),
        *(
            spell(ENVELOPE, [*(pair for pair in DATA if pair[0] != key), (key, text)])
            for key, texts in {
                '"price"': ('"0"', '"0.0"', '"1"', '"0.000000000001"', '"99999999.999999999999"'),
                '"quantity"': ("0", "1000000000"),
                '"status"': ("null", '"error"'),
                '"free_tier"': ("null", "true"),
                '"unit"': ("null", '"per_request"'),
                '"chain_id"': ("null", "0"),
                '"agent_wallet"': ("null", '""'),
            }.items()
            for text in texts
        ),
    ]
    for raw in usual:
        same(raw)
        assert read_plain_call(raw) is not None, raw


KEPT = ('"agent_id"', '"consumer_id"', '"method"', '"quantity"', '"price"', '"currency"')


def test_random_damage_is_judged_alike() -> None:
    """Seeded, and far more of it than a shrinking search would try in the time."""
    rng = random.Random(25)
    base = spell(ENVELOPE, [*DATA, *OPTIONAL])
    accepted = 0
    for _ in range(8_000):
        raw = bytearray(base)
        for _ in range(rng.randint(1, 3)):
            raw[rng.randrange(len(raw))] = (
                rng.randrange(256) if rng.random() < 0.5 else rng.choice(b'"\\{}[],:0-.eE 19')
            )
        accepted += isinstance(same(bytes(raw)), Metering)
    assert accepted > 500
