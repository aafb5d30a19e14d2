"""What sending a dead letter again would do, and which dead letters are meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st
from letters_fake import GOOD, NOW_MS, letter

from streamapp.dead_letters.done import Done, Receipt
from streamapp.dead_letters.plan import Fix, Resend, Rules, Stays, Wanted, plan
from streamapp.dead_letters.read import Letter, Unreadable, parse
from streamapp.kafka.log.reader import Record
from streamapp.schemas.catalog import JUDGES
from streamapp.topics.partitioner import partition_for

HOME = partition_for(b"team_a", 8)
UNSENT: dict[str, Any] = {
    "topic": "events_plugin_ingestion",
    "partition": None,
    "offset": None,
    "group": None,
    "producer": "llm-gateway",
}
Org = Callable[[str], str | None]


def rules(fix: Fix | None = None, org_of: Org = lambda team: None, **more: Any) -> Rules:
    return Rules({"llm_usage": 8, "events_plugin_ingestion": 16}, org_of, fix or Fix(), **more)


def patch(*operations: dict[str, Any]) -> Fix:
    return Fix(patch=jsonpatch.JsonPatch(list(operations)))


def sent(step: Resend | Stays) -> Resend:
    assert isinstance(step, Resend), step
    return step


def stays(step: Resend | Stays) -> str:
    assert isinstance(step, Stays), step
    return step.why


def done(*receipts: Receipt) -> Done:
    made = Done()
    for receipt in receipts:
        made.add(receipt)
    return made


def test_a_record_goes_as_it_came_with_two_headers_more() -> None:
    headers = [("trace", b"\x00"), ("hanzo-attempt", b"1"), ("hanzo-letter", b"evt_old")]
    one = letter(headers=headers)
    step = sent(plan(one, Done(), rules()))
    assert (step.record.topic, step.record.partition) == ("llm_usage", HOME)
    assert (step.record.key, step.record.value) == (b"team_a", GOOD)
    assert step.record.headers == (("trace", b"\x00"), ("hanzo-attempt", b"2"), ("hanzo-letter", one.id.encode()))
    assert step.changed == (() if one.partition == HOME else ("partition",))


def test_a_wrong_partition_is_put_right_by_the_event_itself() -> None:
    one = letter(reason="wrong_partition", key=b"somebody", partition=partition_for(b"somebody", 8))
    step = sent(plan(one, Done(), rules()))
    assert (step.record.key, step.record.partition, step.record.value) == (b"team_a", HOME, GOOD)
    assert "key" in step.changed
    assert "does not name its team_id" in stays(plan(letter(reason="wrong_partition", value=b"[]"), Done(), rules()))


def test_other_letters_keep_their_key_whatever_the_event_says() -> None:
    assert sent(plan(letter(key=b"somebody"), Done(), rules())).record.key == b"somebody"
    keyless = sent(plan(letter(key=None, partition=6), Done(), rules())).record
    assert (keyless.key, keyless.partition) == (None, 6)


def test_a_patch_changes_what_it_names_and_no_other_digit() -> None:
    step = sent(plan(letter(), Done(), rules(patch({"op": "replace", "path": "/data/total_tokens", "value": 16}))))
    assert step.record.value == GOOD.replace(b'"total_tokens":15', b'"total_tokens":16')
    assert "value" in step.changed
    moved = sent(plan(letter(), Done(), rules(patch({"op": "replace", "path": "/team_id", "value": "team_b"}))))
    assert (moved.record.key, moved.record.partition) == (b"team_b", partition_for(b"team_b", 8))


@pytest.mark.parametrize(
    ("facts", "fix", "why"),
    [
        ({"value": b"not json"}, patch({"op": "remove", "path": "/x"}), "is not JSON"),
        ({"value": b'{"x":NaN}'}, patch({"op": "remove", "path": "/x"}), "NaN"),
        ({}, patch({"op": "remove", "path": "/nowhere"}), "the patch does not fit"),
        ({}, patch({"op": "test", "path": "/team_id", "value": "team_b"}), "the patch does not fit"),
        ({"topic": "not_ours"}, Fix(), "there is no event topic not_ours"),
        ({"value": b"x" * 3_000_000}, Fix(), "it was cut"),
        ({"value": b"x" * 2_000_000}, Fix(), "larger than llm_usage takes"),
        ({"attempt": 5}, Fix(), "refused 5 times"),
        ({"reason": "org_unresolved"}, Fix(), "does not know its team"),
        ({"reason": "unreadable_batch", "last_offset": 1009}, Fix(), "whole record batch"),
        ({"reason": "unreadable_batch", "last_offset": 1009}, Fix(value=GOOD), "whole record batch"),
        ({**UNSENT, "value": b'{"event":"x"}'}, Fix(), "left no whole event"),
    ],
)
def test_what_would_not_help_stays_and_says_why(facts: dict[str, Any], fix: Fix, why: str) -> None:
    assert why in stays(plan(letter(**facts), Done(), rules(fix)))


VALUES = {
    "llm_usage": GOOD.replace(b'"total_tokens":15', b'"total_tokens":9'),
    "agent_rpc_metering": b"{}",
    "audit_log": b'{"schema":"hanzo.stream.v1"}',
    "events_plugin_ingestion": b"not json",
}


@pytest.mark.parametrize("topic", sorted(JUDGES))
def test_a_value_that_its_topic_still_refuses_stays(topic: str) -> None:
    there = Rules(dict.fromkeys(JUDGES, 8), lambda team: None)
    value = VALUES.get(topic, b"{}")
    assert "would be refused again: " in stays(plan(letter(topic=topic, value=value), Done(), there))


def test_what_would_be_refused_again_is_one_reason_for_all_and_quotes_no_value() -> None:
    values = [GOOD.replace(b'"completion_tokens":5', b'"completion_tokens":%d' % many) for many in (50, 600)]
    assert len({stays(plan(letter(value=value), Done(), rules())) for value in values}) == 1
    strange = GOOD.replace(b"llm.usage.completed", b"anna@example.com")
    assert "anna" not in stays(plan(letter(value=strange), Done(), rules()))


@pytest.mark.parametrize("reason", ["wrong_partition", "timestamp_in_future", "record_timestamp_missing"])
def test_a_reason_that_passes_does_not_hold_a_letter_back(reason: str) -> None:
    assert sent(plan(letter(reason=reason), Done(), rules())).record.value == GOOD


@pytest.mark.parametrize(
    ("reason", "what_to_do"), [("too_late", "bill it by hand"), ("conflicting_duplicate", "patch the id")]
)
def test_a_reason_that_stands_holds_a_letter_back_until_its_bytes_are_others(reason: str, what_to_do: str) -> None:
    """An id is forgotten after a day: the duplicate would then be billed as well."""
    why = stays(plan(letter(reason=reason), Done(), rules()))
    assert reason in why
    assert what_to_do in why
    for other in (patch({"op": "add", "path": "/org_id", "value": "org_b"}), Fix(value=GOOD)):
        assert stays(plan(letter(reason=reason), Done(), rules(other))) == why
    fields = {"too_late": ("/timestamp", "2025-01-15T10:00:00Z"), "conflicting_duplicate": ("/id", "evt_other")}
    path, value = fields[reason]
    assert sent(plan(letter(reason=reason), Done(), rules(patch({"op": "replace", "path": path, "value": value}))))


def test_the_event_s_own_id_is_known_of_a_letter() -> None:
    assert letter().event_id == "evt_1"
    assert letter(value=b'{"event":"x","uuid":"u-1"}').event_id == "u-1"
    assert letter(value=b'{"id":7}').event_id is letter(value=b"not json").event_id is None


def test_letters_that_one_patch_does_not_fit_stay_for_one_reason() -> None:
    fix = rules(patch({"op": "test", "path": "/team_id", "value": "team_b"}))
    values = [GOOD, GOOD.replace(b"team_a", b"team_c"), GOOD.replace(b"team_a", b"anna@example.com")]
    assert len({stays(plan(letter(value=value), Done(), fix)) for value in values}) == 1


def test_a_value_in_its_place_mends_what_a_patch_cannot() -> None:
    for value in (b"not json", b"x" * 3_000_000):
        assert sent(plan(letter(value=value), Done(), rules(Fix(value=GOOD)))).record.value == GOOD


def test_a_team_that_the_directory_knows_now_goes_as_it_is() -> None:
    one = letter(reason="org_unresolved")
    assert sent(plan(one, Done(), rules(org_of={"team_a": "org_a"}.get))).record.value == GOOD
    assert sent(plan(one, Done(), rules(patch({"op": "add", "path": "/org_id", "value": "org_b"}))))


def test_the_limit_of_attempts_is_a_choice() -> None:
    assert sent(plan(letter(attempt=5), Done(), rules(attempts_max=6)))


def test_what_was_done_is_not_done_again() -> None:
    one, other = letter(), letter(group="llm-metrics")
    assert one.id != other.id
    again = done(Receipt(one.id, "redriven", NOW_MS, one.record, ("llm_usage", HOME, 7)))
    assert "already sent again" in stays(plan(one, again, rules()))
    assert "already sent again" in stays(plan(other, again, rules()))  # the record is the same
    dropped = done(Receipt(one.id, "dropped", NOW_MS, one.record, reason="known"))
    assert "dropped" in stays(plan(one, dropped, rules()))
    assert sent(plan(other, dropped, rules()))


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (Wanted(), True),
        (Wanted(topic="llm_usage", reason="tokens_mismatch", group="billing-agg", team="team_a"), True),
        (Wanted(topic="audit_log"), False),
        (Wanted(reason="too_late"), False),
        (Wanted(group="llm-metrics"), False),
        (Wanted(team="team_b"), False),
        (Wanted(since_ms=NOW_MS, until_ms=NOW_MS + 1), True),
        (Wanted(since_ms=NOW_MS + 1), False),
        (Wanted(until_ms=NOW_MS), False),
        (Wanted(ids=frozenset({"evt_other"})), False),
        (Wanted(state="waiting"), True),
        (Wanted(state="redriven"), False),
        (Wanted(cause=letter(offset=1, error="data.total_tokens is 7, not 8").cause), True),
        (Wanted(cause=letter(error="data.total_tokens is missing").cause), False),
    ],
)
def test_which_letters_are_meant(wanted: Wanted, takes: bool) -> None:
    assert wanted.takes(letter(), Done()) is takes


def test_the_team_is_the_event_s_else_the_key() -> None:
    assert letter(key=b"somebody").team == "team_a"
    assert letter(value=b"not json").team == "team_a"
    assert letter(value=b"not json", key=None).team is None


@given(st.none() | st.binary())
def test_any_record_of_dead_letter_can_be_read_or_is_said_not_to_be(value: bytes | None) -> None:
    assert isinstance(parse(Record("dead_letter", 0, 1, 0, b"", value)), Unreadable)


@pytest.mark.parametrize("value", [b'{"id":"evt_1","type":"x","data":{}}', b"[]", b'{"id":1}', b"", None])
def test_what_is_no_letter_says_where_it_is(value: bytes | None) -> None:
    found = parse(Record("dead_letter", 0, 7, 0, b"", value))
    assert isinstance(found, Unreadable)
    assert found.where == "dead_letter[0]@7"


def test_every_byte_comes_back() -> None:
    everything = bytes(range(256))
    one = letter(value=everything, key=everything, headers=[("h", everything), ("h", None)])
    assert isinstance(one, Letter)
    assert (one.value, one.key, one.headers) == (everything, everything, (("h", everything), ("h", None)))
