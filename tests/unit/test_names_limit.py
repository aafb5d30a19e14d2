"""So many models a bill and methods an account tell apart: the first ones of the log, and the rest counts together."""

from __future__ import annotations

import json
from decimal import Decimal
from time import process_time

import pytest
from largest import HUGE, largest_account, largest_row, largest_statement, names, wide
from plain_open_calls import PlainCalls
from rpc_log import Calls, call
from usage_log import Rec, Table, event, without_lane
from verify_logs import HOUR_MS, TEN, Logs
from verify_sides import audit

from streamapp.lane.ids import CompactSeen
from streamapp.meters.calls import rpc_codec, settled
from streamapp.meters.calls.lane import CompiledCalls
from streamapp.meters.stated import BYTES_MAX
from streamapp.meters.usage import codec, statement
from streamapp.meters.usage.correction import _shaped
from streamapp.schemas.fields import NAME_MAX
from streamapp.settings import BillingSettings, SettlementSettings
from streamapp.topics.registry import changelog, message_bytes_max
from streamapp.verify.read.settlement import METHODS_MIN, Count, agree
from tables.calls.settlement import Account, CallsKey, HourCalls, Payment, settle
from tables.outcome import Outcome
from tables.usage.hourly import OTHER, HourKey, UsageRow
from tables.window import Rules

TWO = Rules(names_max=2)
TWO_METHODS = Rules(retention_ms=7 * 24 * HOUR_MS, names_max=2)


def made(table: Table, model: str, when: str = "10:00", **more: str) -> Rec:
    return event(when, model=model, cost="0.1", **more)


def lines(outcome: Outcome) -> list[dict[str, int]]:
    """The bills' lines: model → requests."""
    return [{model: counters.requests for _, model, counters in one.lines} for one in outcome.statements]


@pytest.mark.parametrize("lane", [True, False])
def test_the_first_names_have_lines_and_the_rest_is_counted_together(lane: bool) -> None:
    table = Table(TWO)
    if not lane:
        without_lane(table)
    outcome = table.apply(*(made(table, model) for model in ("c", "a", "b", "a", "z", "b")))
    assert outcome.others == 3
    bill = table.apply(event("11:05", "team_b"))
    assert lines(bill) == [{"c": 1, "a": 2, "other": 3}]
    _, value = statement.event(bill.statements[0], "llm_usage", 0)
    stated = json.loads(value)["data"]
    assert [(line["provider"], line["model"], line["cost"]) for line in stated["lines"]] == [
        ("", "other", "0.300000000000"),
        ("openai", "a", "0.200000000000"),
        ("openai", "c", "0.100000000000"),
    ]
    assert stated["totals"]["cost"] == "0.600000000000"


def test_a_model_that_is_called_other_is_another_one() -> None:
    table = Table(TWO)
    table.apply(*(made(table, model, provider="other") for model in ("other", "b", "c", "other")))
    bill = table.apply(event("11:05", "team_b")).statements[0]
    assert [(*names, counters.requests) for *names, counters in bill.lines] == [
        ("other", "other", 2),
        ("other", "b", 1),
        ("", "other", 1),
    ]


def test_a_revision_keeps_the_lines_and_a_late_name_counts_with_the_others() -> None:
    table = Table(TWO)
    table.apply(made(table, "a"), made(table, "b"), event("11:05", "team_b"))
    table.restart()
    table.apply(made(table, "c", "10:59"), made(table, "a", "10:59"))
    table.restart()
    assert lines(table.apply(event("11:11", "team_b"))) == [{"a": 2, "b": 1, "other": 1}]


def test_a_row_that_is_older_than_the_limit_keeps_its_lines_and_gets_no_more() -> None:
    table = Table(Rules())
    table.apply(*(made(table, model) for model in "abcd"))
    table.rules = TWO
    table.restart()
    assert table.apply(*(made(table, model) for model in "dea")).others == 1
    assert lines(table.apply(event("11:05", "team_b"))) == [{"a": 2, "b": 1, "c": 1, "d": 2, "other": 1}]


def test_a_row_with_the_line_of_the_others_gets_no_more_lines_when_the_limit_is_raised() -> None:
    table = Table(TWO)
    table.apply(*(made(table, model) for model in "abc"))
    table.rules = Rules()
    table.restart()
    table.apply(*(made(table, model) for model in "de"))
    assert lines(table.apply(event("11:05", "team_b"))) == [{"a": 1, "b": 1, "other": 3}]


def test_a_flood_of_names_is_counted_on_the_lane() -> None:
    table = Table(TWO)
    ledger = table.task.memory
    slow, folded = ledger._fold, list[object]()

    def fold(record: object) -> None:
        folded.append(record)
        slow(record)  # type: ignore[arg-type]

    ledger._fold = fold  # type: ignore[method-assign]
    log = [made(table, f"m{number}") for number in range(500)]
    assert table.apply(*log).others == 498
    assert len(folded) <= 2
    table.restart()
    assert table.apply(*(made(table, f"n{number}") for number in range(500))).others == 500


def test_recomputing_with_another_limit_gives_a_row_the_lines_it_has() -> None:
    shadow, table = UsageRow(HourKey(0, "o", "t", "USD")), UsageRow(HourKey(0, "o", "t", "USD"))
    for row, models in ((shadow, "abcd"), (table, "ab")):
        for name in models:
            row.line("p", name).requests += 1
    table.line(*OTHER).requests += 2
    shaped = _shaped(shadow, table, 200)
    assert shaped is not None
    assert {names: line.numbers() for names, line in shaped.lines.items()} == {
        names: line.numbers() for names, line in table.lines.items()
    }
    of_none = _shaped(shadow, None, 3)
    assert of_none is not None
    assert list(of_none.lines) == [("p", "a"), ("p", "b"), ("p", "c"), OTHER]


# -- settlements --------------------------------------------------------------------------------------------------


def without_their_lane(calls: Calls) -> None:
    def prepare(task: object) -> None:
        ledger = calls.task.memory
        ledger.lane = PlainCalls(ledger.rules.names_max)

    calls.prepare = prepare
    calls.restart()


@pytest.mark.parametrize("lane", [True, False])
def test_the_first_methods_are_told_apart_and_the_rest_is_settled_together(lane: bool) -> None:
    table = Calls(TWO_METHODS)
    if not lane:
        without_their_lane(table)
    outcome = table.apply(*(call("10:10", method=method, price="0.1") for method in ("c", "b", "a", "b", "a")))
    assert outcome.others == 2
    table.apply(call("11:10", method="d", price="0.001"))
    (one,) = table.events()
    assert one["data"]["methods"] == {
        "": {"count": 2, "cost": "0.200000000000"},
        "b": {"count": 2, "cost": "0.200000000000"},
        "c": {"count": 1, "cost": "0.100000000000"},
    }
    assert one["data"]["amount"] == "0.500000000000"


def test_what_waits_over_many_hours_and_what_was_settled_stays_bounded() -> None:
    table = Calls(TWO_METHODS, min_amount=Decimal(10))
    for hour in range(10, 20):
        table.apply(*(call(f"{hour}:10", method=f"m{hour}-{number}", price="0.1") for number in range(3)))
    table.apply(call("20:10", method="late", price="20"), call("21:10"))
    (account,) = rpc_codec.accounts_of(table.store)
    assert set(account.settled) == {"m10-0", "m10-1", ""}
    assert sum(sums.calls for sums in account.settled.values()) == 31


def test_methods_in_descending_order_cost_what_they_cost_in_any_other() -> None:
    """Inserting each into a sorted list took the square: sixteen times as long for four times as many."""

    def seconds(count: int) -> float:
        calls = CompiledCalls(CompactSeen(bytes(16)), 0, 1, 0)
        calls.open(0, HOUR_MS)
        key, payment = CallsKey(0, Account("o", "a", "c", "AI")), Payment("hanzo", 1, None, None)
        began = process_time()
        for number in range(count, 0, -1):
            calls.add(key, f"{number:06d}", Decimal(1), number, payment)
        ((_, value),) = calls.changed().items()
        took = process_time() - began
        methods = rpc_codec.unpack_hour(rpc_codec.hour_key(key), value).methods
        assert list(methods) == [f"{number:06d}" for number in range(1, count + 1)]
        return took

    few, many = (min(seconds(count) for _ in range(3)) for count in (10_000, 40_000))
    assert many < 8 * few


# -- what fits ----------------------------------------------------------------------------------------------------


def limit(settings: object, field: str) -> int:
    (bound,) = (one.le for one in type(settings).model_fields[field].metadata if hasattr(one, "le"))  # type: ignore[attr-defined]
    return int(bound)


def test_the_largest_statement_and_row_of_a_bill_fit() -> None:
    most = limit(BillingSettings(), "lines_max")
    assert most == statement.LINES_MAX
    assert len(largest_statement(most)) <= BYTES_MAX < message_bytes_max("billing_events") - 6 * NAME_MAX
    for name_of in (names, wide):
        row = largest_row(name_of, most)
        row.stated = row.totals()
        value = codec.pack_hour(row)
        assert len(value) + len(codec.hour_key(row.key)) <= message_bytes_max(changelog("billing-agg", "usage_hourly"))


def test_the_largest_settlement_and_account_fit() -> None:
    most = limit(SettlementSettings(), "methods_max")
    assert most == settled.METHODS_MAX
    room = message_bytes_max(changelog("rpc-billing", "rpc_hourly"))
    for name_of in (names, wide):
        account = largest_account(name_of, most)
        hour = HourCalls(CallsKey(TEN, account.account))
        hour.absorb(account.pending)
        assert len(rpc_codec.pack_hour(hour)) + len(rpc_codec.hour_key(hour.key)) <= room
        assert len(rpc_codec.pack_account(account)) + len(rpc_codec.account_key(account.account)) <= room
        _, value = settled.event(settle(account, TEN + HOUR_MS, TEN), "agent_rpc_metering", 7)
        assert len(value) <= BYTES_MAX


def test_an_older_row_with_too_many_lines_is_stated_with_its_first_ones() -> None:
    value = largest_statement(400)
    assert len(value) <= BYTES_MAX
    data = json.loads(value)["data"]
    assert len(data["lines"]) == statement.LINES_MAX + 1
    rest = data["lines"][0]
    assert (rest["provider"], rest["model"], rest["prompt_tokens"]) == ("", "other", HUGE * 151)
    assert sum(line["requests"] for line in data["lines"]) == data["totals"]["requests"]
    account = largest_account(names, 900)
    _, value = settled.event(settle(account, TEN + HOUR_MS, TEN), "agent_rpc_metering", 7)
    data = json.loads(value)["data"]
    assert len(value) <= BYTES_MAX
    assert len(data["methods"]) == settled.METHODS_MAX + 1
    assert sum(one["count"] for one in data["methods"].values()) == data["request_count"]


# -- the independent check ------------------------------------------------------------------------------------------


def many(upto: int) -> Logs:
    """Five models, `upto` of which have a line."""
    logs = Logs()
    for model in ("e", "a", "d", "a", "c", "b"):
        logs.use(TEN + 1, model=model)
    logs.use(TEN + HOUR_MS + 300_000)
    bill = logs.state(TEN, upto=6)
    data = json.loads(bill.value or b"")["data"]
    order = ["e", "a", "d", "c", "b"]
    own = [line for line in data["lines"] if line["model"] in order[:upto]]
    rest = [line for line in data["lines"] if line["model"] in order[upto:]]
    other = {name: sum(line[name] for line in rest) for name in rest[0] if name not in ("provider", "model", "cost")}
    cost = sum((Decimal(line["cost"]) for line in rest), Decimal(0))
    logs.rewrite(bill, lines=[{"provider": "", "model": "other", **other, "cost": f"{cost:.12f}"}, *own])
    return logs


@pytest.mark.parametrize("upto", [2, 3, 4])
def test_verify_needs_no_limit_to_know_which_lines_there_must_be(upto: int) -> None:
    logs = many(upto)
    report = audit(logs.usage, logs.bills, [], lines_min=2)
    assert report.ok, report.as_json()


def test_verify_finds_lines_that_are_not_the_first_ones_or_count_something_else() -> None:
    logs = many(3)
    assert not audit(logs.usage, logs.bills, [], lines_min=4).ok, "so few lines need no others"
    for change in ({"model": "c"}, {"requests": 2}, {"provider": "other"}):
        logs = many(3)
        data = json.loads(logs.bills[0].value or b"")["data"]
        at = next(number for number, line in enumerate(data["lines"]) if line["model"] == "d")
        data["lines"][at] |= change
        data["lines"].sort(key=lambda line: (line["provider"], line["model"]))
        logs.rewrite(logs.bills[0], lines=data["lines"])
        assert not audit(logs.usage, logs.bills, [], lines_min=2).ok, change


def test_verify_of_settlements_lets_the_rest_be_the_rest_and_no_more() -> None:
    must = {"a": Count(2, Decimal(2)), "b": Count(1, Decimal(1)), "c": Count(4, Decimal(5))}
    assert agree({"a": Count(2, Decimal(2)), "": Count(5, Decimal(6))}, must, 1)
    assert agree({"a": Count(1, Decimal(1)), "": Count(6, Decimal(7))}, must, 1), "of several hours"
    assert not agree({"a": Count(2, Decimal(2)), "": Count(5, Decimal(6))}, must, 2)
    assert not agree({"a": Count(3, Decimal(2)), "": Count(4, Decimal(6))}, must, 1)
    assert not agree({"a": Count(2, Decimal(2)), "": Count(5, Decimal(7))}, must, 1)
    assert not agree({"x": Count(2, Decimal(2)), "": Count(5, Decimal(6))}, must, 1)
    assert not agree({"a": Count(2, Decimal(2))}, must, 1)
    assert SettlementSettings().methods_max >= METHODS_MIN
