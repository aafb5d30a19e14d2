"""Inputs that other systems of this kind went wrong on, each with what is right for it. The inputs stand in
`tests/golden/reports`: what arrives over HTTP is given to capture, what arrives in Kafka to its topic's reader.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from capture_calls import TOKEN, InMemory, directory_in

from streamapp.schemas.judging.audit_line import Line, audit_line
from streamapp.schemas.judging.cause import cause_of
from streamapp.schemas.judging.decode import Usage, decode_usage
from streamapp.schemas.judging.decode_metering import decode_metering
from streamapp.schemas.judging.judge import judge_metering, judge_usage
from streamapp.schemas.judging.metering import Metering
from streamapp.schemas.judging.rejected import Rejected
from streamapp.sinks.clickhouse.events import queryable
from tables.cause import Cause

REPORTS = Path(__file__).parents[1] / "golden" / "reports"


class Taken(NamedTuple):
    """What capture does with a body. `refused` are the indexes of events; `times` None: not looked at."""

    status: int
    events: list[str]
    refused: tuple[int, ...] = ()
    letters: int = 0
    times: list[str] | None = None


TWO = ["page opened", "page opened"]
ONE_REFUSED = Taken(200, TWO, (1,), 1)
CAPTURED = {
    "batch_with_nan.json": ONE_REFUSED,
    "batch_with_minus_infinity.json": ONE_REFUSED,
    "batch_with_raw_tab.json": ONE_REFUSED,
    "batch_with_bad_utf8.json": Taken(200, ["page opened", "searched", "page opened"]),
    "gzip_two_members.json.gz": Taken(200, ["page opened", "page closed"]),
    "gzip_two_bodies.json.gz": Taken(400, [], (), 1),
    "gzip_then_garbage.json.gz": Taken(400, [], (), 1),
    "javascript_dates.json": Taken(
        200, ["clicked 0", "clicked 1", "clicked 2"], times=["2024-01-15T15:30", "2024-01-15T05:00", "2024-01-15T09:30"]
    ),
    "zones_by_name.json": Taken(200, ["clicked"] * 2, times=["2024-01-15T07:30", "2024-01-15T18:30"]),
    "uuid_without_timestamp.json": Taken(200, ["invoice sent"]),
    "php_empty_arrays.json": Taken(200, ["signed in", "$identify"]),
    "numbers_beyond_doubles.json": Taken(200, ["ordered", "ordered"]),
}
COSTS = {
    "cost_float_noise.json": ("0.001615000000", True),
    "cost_small_float.json": ("0.000030000000", True),
    "cost_trailing_zeros.json": ("0.003800000000", False),
    "cost_zero_with_exponent.json": ("0", False),
    "total_with_thoughts.json": ("0.001", False),
    "latency_negative.json": ("0.1", False),
    "latency_text.json": ("0.1", False),
    "latency_enormous.json": ("0.1", False),
    "latency_missing.json": ("0.1", False),
    "status_failure.json": ("0.1", False),
    "cache_hit_null.json": ("0.1", False),
}
OTHERS = {"forwarded_for.txt", "type_with_quote.json", "price_with_zeros.json", "audit_secrets_in_texts.json"}


def body(name: str) -> bytes:
    return (REPORTS / name).read_bytes()


@pytest.fixture
def capture(tmp_path: Path) -> InMemory:
    return InMemory(directory_in(tmp_path))


def send(capture: InMemory, name: str) -> Any:
    gzipped = {"content-encoding": "gzip"} if name.endswith(".gz") else {}
    return capture.call(body(name), path="/batch/", headers=gzipped)


def properties(capture: InMemory, name: str) -> list[dict[str, Any]]:
    send(capture, name)
    return [event["data"]["properties"] for event in capture.events()]


def test_every_input_has_an_outcome() -> None:
    assert {path.name for path in REPORTS.iterdir()} == {*CAPTURED, *COSTS, *OTHERS}


@pytest.mark.parametrize("name", CAPTURED)
def test_what_capture_does_with_it(capture: InMemory, name: str) -> None:
    right = CAPTURED[name]
    reply = send(capture, name)
    assert reply.status == right.status, reply.body
    assert [event["data"]["event"] for event in capture.events()] == right.events
    assert [one["index"] for one in reply.json.get("refused", [])] == list(right.refused)
    assert len(capture.letters()) == right.letters
    if right.times is not None:
        assert [event["timestamp"] for event in capture.events()] == [f"{time}:00.000Z" for time in right.times]


def test_a_refused_body_stands_whole_in_its_letter(capture: InMemory) -> None:
    for name in ("gzip_two_bodies.json.gz", "gzip_then_garbage.json.gz"):
        send(capture, name)
        assert capture.letters()[-1][1] == body(name)


def test_a_refused_event_stands_alone_in_its_letter(capture: InMemory) -> None:
    send(capture, "batch_with_nan.json")
    value = b'{"event":"scrolled","distinct_id":"visitor_2","properties":{"depth":NaN}}'
    assert capture.letters() == [("malformed_json", value)]


def test_broken_utf8_is_replaced(capture: InMemory) -> None:
    assert properties(capture, "batch_with_bad_utf8.json")[1] == {"words": "\ufffd\ufffd"}


def test_an_empty_list_of_php_is_an_empty_map(capture: InMemory) -> None:
    assert properties(capture, "php_empty_arrays.json") == [{}, {"$lib": "posthog-php"}]


def test_one_uuid_is_one_event_without_a_timestamp_too(capture: InMemory) -> None:
    send(capture, "uuid_without_timestamp.json")
    capture.outside.now_ms += 86_400_000
    send(capture, "uuid_without_timestamp.json")
    first, again = capture.events()
    assert first["id"] == again["id"]


def test_an_address_is_read_as_proxies_write_it(tmp_path: Path) -> None:
    found = []
    for line in body("forwarded_for.txt").decode().splitlines():
        capture = InMemory(directory_in(tmp_path), proxies=1)
        capture.call({"api_key": TOKEN, "event": "e", "distinct_id": "d"}, headers={"x-forwarded-for": line})
        found.append(capture.events()[0]["data"].get("ip"))
    assert found == ["203.0.113.7", "2001:db8::1", None]


def test_numbers_beyond_those_of_clickhouse_keep_their_digits(capture: InMemory) -> None:
    raw = body("numbers_beyond_doubles.json").decode()
    send(capture, "numbers_beyond_doubles.json")
    written = [value.decode() for topic, _, value in capture.pipeline.written if topic == "events_plugin_ingestion"]
    for number, value in zip(("18446744073709551616", "1e400"), written, strict=True):
        assert number in raw
        assert f":{number}" in value  # capture passes the client's own bytes on
        assert f'"{number}"' in queryable(value)


@pytest.mark.parametrize("read", [decode_usage, judge_usage])
@pytest.mark.parametrize("name", COSTS)
def test_usage_is_billed(name: str, read: Any) -> None:
    usage = read(body(name))
    assert isinstance(usage, Usage), usage
    assert (usage.data.cost_usd, usage.is_rounded) == (Decimal(COSTS[name][0]), COSTS[name][1])
    assert usage.data.total_tokens == (623 if name == "total_with_thoughts.json" else 218)
    assert usage.data.status == ("failure" if name == "status_failure.json" else "success")
    assert usage.data.cache_hit is False


@pytest.mark.parametrize("read", [decode_metering, judge_metering])
def test_a_price_with_zeros_behind_it_is_settled(read: Any) -> None:
    call = read(body("price_with_zeros.json"))
    assert isinstance(call, Metering), call
    assert call.data.price == Decimal("0.001")
    assert call.data.currency == "USDC.e"


def test_words_of_a_record_are_in_no_cause() -> None:
    def cause(words: bytes) -> Cause:
        refused = decode_usage(body("type_with_quote.json").replace(b"words of one record", words))
        assert isinstance(refused, Rejected)
        return cause_of("llm_usage", "billing-agg", refused.reason, refused.error)

    causes = {cause(words) for words in (b"words of one record", b"it's", b"ends in '", rb"a\"b\"", b"`c`", b"1 2 3")}
    assert len(causes) == 1
    assert "words" not in causes.pop().shape


def test_no_secret_of_a_text_is_archived() -> None:
    class Record(NamedTuple):
        value: bytes = body("audit_secrets_in_texts.json")
        key: bytes = b"org_a"
        headers: tuple[tuple[str, bytes | None], ...] = ()
        offset: int = 0
        timestamp: int = 1_794_997_800_123

    made = audit_line("audit_log", 0, Record())
    assert isinstance(made, Line), made
    assert b"hunter2" not in made.text
    assert json.loads(made.text)["event"]["data"]["email"] == "someone@example.com"
