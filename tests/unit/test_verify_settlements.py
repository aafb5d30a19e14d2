"""The independent check of settlements: silent about what is right, and it finds what is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from recounts import compared, published
from rpc_histories import logs
from rpc_log import METERING, WEEK, Calls, call
from searches import search
from usage_log import Rec
from verify_sides import audit_settlements as audit

from streamapp.exact.partition.chunk import Transaction
from streamapp.kafka.log.reader import Record, Span
from streamapp.meters.calls import rpc_codec
from streamapp.meters.registry import declared
from streamapp.replay.recompute import money
from streamapp.schemas.settlement import RpcSettled
from streamapp.sinks.ledger.rows import Settlement, to_row
from streamapp.verify.bills.ledgers import SETTLED, SETTLEMENTS, KeptSettlements
from streamapp.verify.copies.records import walk
from streamapp.verify.read.settlement import CHANGELOG_TOPIC, Count, Who, gather
from streamapp.verify.report import PairReport
from tables.window import HOUR_MS

LASTING = replace(WEEK, remember_ms=200 * HOUR_MS)  # to the check, an id counts once in the whole log


class Logged(Calls):
    """A table that keeps every log it writes."""

    def commit(self, transaction: Transaction) -> None:
        changelog = self.__dict__.setdefault("changelog", [])
        for key, value in transaction.writes.items():
            changelog.append(Record(CHANGELOG_TOPIC, 0, len(changelog), 0, key, value))
        super().commit(transaction)

    def sent(self, topic: str) -> list[Record]:
        sends = [send for send in self.sends if send.topic == topic]
        return [Record(topic, 0, number, 0, send.key, send.value) for number, send in enumerate(sends)]

    def four(self) -> list[list[Record]]:
        """Changelog, bills, dead letters, metering."""
        calls = [Record(METERING, 0, one.offset, one.timestamp, one.key, one.value) for one in self.log]
        return [list(self.__dict__["changelog"]), self.sent("billing_events"), self.sent("dead_letter"), calls]


def some() -> Logged:
    table = Logged()
    table.apply(*(call("10:10", price="0.05") for _ in range(3)), call("10:20", price="0.05", method="memory.search"))
    table.apply(call("10:30", price="-1"), call("11:10", price="0.05"), call("10:50", price="0.01"))
    table.apply(call("11:20", price="0.2", status="error"), call("12:10"), table.log[0])
    table.apply(call("13:10", agent="agent_b", price="5"), call("12:55", price="0.2"))
    return table


def found(report: PairReport) -> tuple[int, int, int]:
    return report.lost.count, report.doubled.count, report.wrong.count


def test_what_is_right_is_left_alone() -> None:
    table = some()
    report = audit(*table.four())
    assert found(report) == (0, 0, 0), report.as_json()
    assert (len(table.settlements()), report.events, report.waiting) == (1, 10, 6)
    assert report.name == "metering=settlements"
    assert sum(left.events for left, _ in report.hours.values()) == 10
    assert sum(right.events for _, right in report.hours.values()) == 4


@given(logs())
@search(60)
def test_whatever_the_log_the_worker_is_right(log: list[Rec]) -> None:
    table = Logged(rules=LASTING)
    for at in range(0, len(log), 7):
        table.apply(*(Rec(one.key, one.value, one.timestamp, topic=METERING) for one in log[at : at + 7]))
        table.idle_ms(log[min(at + 6, len(log) - 1)].timestamp + 400_000)
    report = audit(*table.four())
    assert found(report) == (0, 0, 0), report.as_json()


def test_nothing_is_due_before_the_group_has_read_it() -> None:
    table = some()
    logs = table.four()
    table.apply(call("14:10", price="3"), call("15:10", price="3"))
    report = audit(logs[0], *table.four()[1:])
    assert found(report) == (0, 0, 0), report.as_json()


def rewritten(record: Record, change: Callable[[dict[str, Any]], object]) -> Record:
    event = json.loads(record.value or b"")
    change(event["data"])
    return record._replace(value=json.dumps(event).encode())


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda data: data.update(amount="0.200000000001"), "wrong"),
        (lambda data: data.update(period_start="2025-01-15T09:00:00.000Z"), "wrong"),
        (lambda data: data["coverage"].update(first_offset=1), "wrong"),
        (lambda data: data["methods"].update({"chat.send": {"count": 4, "cost": "0.15"}}), "wrong"),
        (lambda data: data["coverage"].update(last_offset=2), "doubled"),
        (lambda data: data.update(settlement_id="evt_1"), "wrong"),
        (lambda data: data.pop("coverage"), "wrong"),
    ],
)
def test_a_settlement_that_says_something_else(change: Callable[[dict[str, Any]], object], kind: str) -> None:
    changelog, bills, letters, metering = some().four()
    report = audit(changelog, [rewritten(bills[0], change)], letters, metering)
    assert getattr(report, kind).count, report.as_json()


def test_a_settlement_that_is_gone_or_there_twice() -> None:
    changelog, bills, letters, metering = some().four()
    assert audit(changelog, [], letters, metering).lost.count
    report = audit(changelog, [bills[0], bills[0]._replace(offset=9)], letters, metering)
    assert found(report) == (0, 1, 0)
    assert report.doubled.examples[0].what.endswith(" of consumer_c to agent_a of org_a in AI is in the log twice")


def test_a_call_that_the_group_has_not_counted_or_counted_twice() -> None:
    changelog, bills, letters, metering = some().four()
    more = metering[0]._replace(value=(metering[0].value or b"").replace(b'"id":"call-', b'"id":"more-'))
    assert audit(changelog, bills, letters, [metering[0], more._replace(offset=0), *metering[1:]]).lost.count == 1
    assert audit(changelog, bills, letters, metering[1:]).doubled.count == 1
    assert audit(changelog, bills, letters, [*metering[:6], *metering[7:]]).doubled.count == 1


def test_a_row_that_names_a_method_twice_holds_the_calls_of_both() -> None:
    who = Who("org", "agent", "consumer", "AI")
    row = (0, 9, ("base", 1, "0x1", "0x2"), [("chat", 2, "0.1"), ("chat", 3, "0.2"), ("search", 1, "0")])
    held = gather([Record(CHANGELOG_TOPIC, 0, 0, 0, b"h" + bytes(8) + rpc_codec.pack(who), rpc_codec.pack(row))])[0]
    assert held.waiting == {who: {"chat": Count(5, Decimal("0.3")), "search": Count(1, Decimal(0))}}


def test_poison_needs_its_letter_and_only_poison_has_one() -> None:
    changelog, bills, letters, metering = some().four()
    assert audit(changelog, bills, [], metering).lost.count == 1
    letter = rewritten(letters[0], lambda data: data.update(source_offset=0, reason="malformed_json"))
    assert audit(changelog, bills, [*letters, letter], metering).wrong.count == 1


def test_a_letter_carries_the_bytes_of_its_record() -> None:
    changelog, bills, letters, metering = some().four()
    letter = rewritten(letters[0], lambda data: data.update(value_b64="e30="))
    assert found(audit(changelog, bills, [letter], metering)) == (0, 0, 1)


def test_a_conflict_may_be_with_a_call_on_another_partition() -> None:
    """As after a repartition: the first call is not on the partition of the second."""
    changelog, bills, letters, metering = some().four()
    letter = rewritten(letters[0], lambda data: data.update(reason="conflicting_duplicate"))
    assert found(audit(changelog, bills, [letter], metering)) == (0, 0, 0)


def test_what_retention_took_is_out_of_reach() -> None:
    changelog, bills, letters, metering = some().four()
    report = audit(changelog, bills, letters, metering[5:], starts={(METERING, 0): 5})
    assert (found(report), report.out_of_reach) == ((0, 0, 0), 1)


def test_the_ledger_holds_each_settlement_once() -> None:
    bills = some().sent("billing_events")
    rows = [to_row(one.topic, one.partition, one.offset, one.value) for one in bills]
    kept = [row for row in rows if isinstance(row, Settlement)]

    def check(done: dict[int, int], rows: list[Settlement], log: list[Record], starts: dict[int, int]) -> PairReport:
        report, start = PairReport(SETTLED.name, SETTLED.left, SETTLED.right), starts.get(0, 0)
        with asyncio.Runner() as runner:
            stock = KeptSettlements(None, runner)
            stock.done({})
            stock.all = rows
            walk(log, {0: Span(start, 2)}, done, stock, SETTLEMENTS, report)
        return report

    report = check({0: 1}, kept, bills, {})
    assert (found(report), report.events, report.waiting) == ((0, 0, 0), 1, 0)
    assert found(check({0: 1}, [], bills, {})) == (1, 0, 0)
    assert (found(check({}, [], bills, {})), check({}, [], bills, {}).waiting) == ((0, 0, 0), 1)
    assert found(check({0: 1}, kept, [bills[0]._replace(value=(bills[0].value or b"") + b" ")], {})) == (0, 0, 1)
    assert found(check({0: 1}, kept, [], {})) == (0, 0, 1)
    assert check({0: 1}, kept, [], {0: 1}).out_of_reach == 1
    assert found(check({0: 2}, kept, [bills[0], bills[0]._replace(offset=1)], {})) == (0, 0, 0), (
        "another pair's finding"
    )
    assert found(check({0: 2}, [replace(kept[0], offset=1)], bills, {})) == (0, 0, 1), "a row of another place"


def test_a_settlement_that_was_wrong_and_is_corrected_is_no_difference() -> None:
    table, correction = Logged(), declared("rpc_hourly").correction
    table.apply(*(call("10:10", price="0.05") for _ in range(3)))
    key = next(key for key, _ in table.store.scan(b"h", b"i"))
    hour = rpc_codec.unpack_hour(key, table.store.get(key) or b"")
    hour.methods["chat.send"].add(2, Decimal("0.1"))
    table.store.write({key: rpc_codec.pack_hour(hour)}, table.store.checkpoint() + 1)
    table.restart()
    table.apply(call("11:10", price="0.07", method="memory.search"))
    report = audit(*table.four())
    assert not report.ok, "too much was settled"
    wrong = compared(correction, table.task, table.rules, table.log, admission=table.task.memory.admission)
    assert money([wrong]) == {"AI": Decimal("-0.1")}
    changelog = table.__dict__["changelog"]
    for name, value in published(correction, wrong).writes.items():
        changelog.append(Record(CHANGELOG_TOPIC, 0, len(changelog), 0, name, value))
    table.restart()
    assert audit(*table.four()).ok, "carried: waits for the next settlement"
    table.apply(call("11:20", price="0.2"), call("12:10"))
    last = table.events()[-1]["data"]
    assert (last["amount"], last["request_count"]) == ("0.170000000000", 2)
    assert last["carried"] == {"chat.send": {"count": -2, "cost": "-0.100000000000"}}
    RpcSettled.model_validate(table.events()[-1])
    assert audit(*table.four()).ok, "carried by the settlement"
    table.sends[-1] = table.sends[-1]._replace(
        value=(table.sends[-1].value or b"").replace(b'"count":-2', b'"count":-3')
    )
    assert not audit(*table.four()).ok
