"""The independent check finds every kind of fault that is planted, and passes logs that are right."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console
from verify_logs import HOUR_MS, TEN, Logs, text
from verify_sides import audit

from streamapp.cli.checks.verify import show
from streamapp.kafka.log.reader import Record
from streamapp.verify.read.event import Poison, time_ms
from streamapp.verify.read.statement import Bucket, statement_id
from streamapp.verify.read.usage import Usage, plausible, read
from streamapp.verify.report import BillsReport

MINUTE_MS = 60_000
ELEVEN, NOON = TEN + HOUR_MS, TEN + 2 * HOUR_MS


def check(logs: Logs, **options: Any) -> BillsReport:
    return audit(logs.usage, logs.bills, logs.letters, **options)


def counts(report: BillsReport) -> tuple[int, int, int]:
    """(lost, doubled, wrong)"""
    return report.lost.count, report.doubled.count, report.wrong.count


def day() -> Logs:
    """A log with everything that is allowed: two teams, an hour closed, revised twice, poison, a repeat, an open hour.

    Offsets of partition 0: 0 to 3 in hour 10, 4 a repeat of 0, 5 poison, 6 closes hour 10, 7 late for hour 10,
    8 brings the next mark, 9 late again, 10 brings the mark after that.
    """
    logs = Logs()
    first = logs.use(TEN + 1, 1)
    logs.use(TEN + 2 * MINUTE_MS, model="zen-8b", status="error")
    logs.use(TEN + 3 * MINUTE_MS, cache_hit=True, currency="EUR")
    logs.use(ELEVEN - 1, provider="fireworks")
    logs.use(TEN + 1, 1, id="evt_0_0", counts=False)
    assert logs.usage[-1].value == first.value
    logs.refuse(logs.use(TEN + 4 * MINUTE_MS, counts=False, total_tokens=1), "tokens_mismatch")
    logs.use(ELEVEN + 5 * MINUTE_MS)
    logs.state(TEN, currency="EUR", upto=6)
    logs.state(TEN, upto=6)
    logs.use(TEN + 9 * MINUTE_MS)
    logs.use(ELEVEN + 10 * MINUTE_MS)
    logs.state(TEN, upto=8)
    logs.use(TEN + 30 * MINUTE_MS, 999_999_999_999_999_999_999_999_999_999)
    logs.use(ELEVEN + 17 * MINUTE_MS)
    logs.state(TEN, upto=10)
    logs.use(TEN + 5, team="team_b", org=None, home="org_2", partition=3)
    logs.use(NOON, team="team_b", org=None, home="org_2", partition=3)
    logs.state(TEN, team="team_b", org="org_2", partition=1)
    return logs


DIRECTORY = {"team_b": "org_2"}


def test_right_logs_pass() -> None:
    report = check(day(), org_of=DIRECTORY.get)
    assert report.ok, report.as_json()
    assert (report.numbers["events_read"], report.numbers["accepted"], report.numbers["duplicates"]) == (13, 11, 1)
    assert (
        report.numbers["bills"],
        report.numbers["revisions"],
        report.numbers["buckets"],
        report.numbers["letters"],
    ) == (5, 2, 5, 1)
    assert report.rejected == {"tokens_mismatch": 1}
    assert (report.numbers["buckets_waiting"], report.numbers["events_waiting"]) == (2, 4)
    for currency in ("USD", "EUR"):
        waiting = report.money["waiting"].get(currency, Decimal(0))
        assert report.money["used"][currency] == report.money["billed"][currency] + waiting
    assert report.money["used"]["USD"] > Decimal("999999999999999999.99")


def test_nothing_at_all_passes() -> None:
    assert check(Logs()).ok


def _bill(logs: Logs, revision: int, org: str = "org_1", currency: str = "USD") -> Record:
    for bill in logs.bills:
        data = json.loads(bill.value or b"")
        same = (data["org_id"], data["data"]["currency"], data["data"]["revision"]) == (org, currency, revision)
        if same:
            return bill
    raise AssertionError("no such bill")


def _change(revision: int, **changes: Any) -> Callable[[Logs], None]:
    return lambda logs: logs.rewrite(_bill(logs, revision), **changes)


def _lost_event(logs: Logs) -> None:
    """An event in the middle of the hour that the bills know nothing of."""
    logs.usage.insert(2, logs.usage[1]._replace(offset=2, value=(logs.usage[1].value or b"").replace(b"_0_1", b"_x")))
    logs.usage[3:] = [
        record._replace(offset=record.offset + 1) if record.partition == 0 else record for record in logs.usage[3:]
    ]
    logs.letters[:] = []
    logs.refuse(next(r for r in logs.usage if b'"total_tokens": 1,' in (r.value or b"")), "tokens_mismatch")
    _shift_coverage(logs, 1)


def _shift_coverage(logs: Logs, by: int) -> None:
    for bill in list(logs.bills):
        covered = json.loads(bill.value or b"")["data"]["coverage"]
        if covered["partition"] == 0:
            covered |= {
                name: covered[name] + by if covered[name] > 1 else covered[name] for name in covered if "_" in name
            }
            logs.rewrite(bill, coverage=covered)


def _twice(logs: Logs) -> None:
    logs.bills.append(_bill(logs, 1)._replace(offset=100))


def _other_bytes(logs: Logs) -> None:
    bill = _bill(logs, 1)
    logs.bills.append(bill._replace(offset=100, value=(bill.value or b"") + b" "))


def _no_bill(revision: int) -> Callable[[Logs], None]:
    return lambda logs: logs.bills.remove(_bill(logs, revision))


def _counted_repeat(logs: Logs) -> None:
    """The bills count offset 4, which repeats offset 0."""
    repeat = logs.usage[4]
    logs.usage[4] = repeat._replace(value=(repeat.value or b"").replace(b"evt_0_0", b"evt_0_4"))
    again = Logs()
    again.usage, again.letters = logs.usage, logs.letters
    again.events = [
        *logs.events[:4],
        logs.events[0].__class__(**{**vars(logs.events[0]), "offset": 4}),
        *logs.events[4:],
    ]
    for currency, upto in (("EUR", 6), ("USD", 6), ("USD", 8), ("USD", 10)):
        again.state(TEN, currency=currency, upto=upto)
    logs.bills = [*again.bills, _bill(logs, 0, "org_2")]
    logs.usage[4] = repeat


def _letter_missing(logs: Logs) -> None:
    logs.letters.clear()


def _letter_twice(logs: Logs) -> None:
    logs.letters.append(logs.letters[0]._replace(offset=9))


def _refused_record(logs: Logs) -> Record:
    return next(record for record in logs.usage if record.offset == 5)


def _letter(**change: Any) -> Callable[[Logs], None]:
    def plant(logs: Logs) -> None:
        logs.letters.clear()
        logs.refuse(_refused_record(logs), change.pop("reason", "tokens_mismatch"), **change)

    return plant


def _letter_of_nothing(logs: Logs) -> None:
    logs.refuse(_refused_record(logs)._replace(offset=77), "tokens_mismatch")


def _garbage_bill(logs: Logs) -> None:
    logs.bills.append(Record("billing_events", 2, 0, 0, b"org_1", b"{"))


def _garbage_letter(logs: Logs) -> None:
    logs.letters.append(Record("dead_letter", 0, 9, 0, b"llm_usage", b"[]"))


def _other_bytes_same_event(logs: Logs) -> None:
    """Offset 4 repeats the id of offset 0 with other bytes and has no dead letter."""
    logs.usage[4] = logs.usage[4]._replace(value=(logs.usage[4].value or b"") + b" ")


def _two_homes(logs: Logs) -> None:
    logs.use(ELEVEN + 18 * MINUTE_MS, partition=2)


LOST, DOUBLED, WRONG = "lost", "doubled", "wrong"

FAULTS: dict[str, tuple[Callable[[Logs], None], str]] = {
    "event lost in the middle": (_lost_event, LOST),
    "hour never stated": (lambda logs: logs.bills.remove(_bill(logs, 0, currency="EUR")), LOST),
    "late events never stated": (_no_bill(2), LOST),
    "bill twice": (_twice, DOUBLED),
    "bill again with other bytes": (_other_bytes, WRONG),
    "repeat counted": (_counted_repeat, DOUBLED),
    "revision 1 missing": (_no_bill(1), WRONG),
    "revision 0 missing": (_no_bill(0), WRONG),
    "twelfth decimal": (
        _change(2, totals__cost="1000000000000000000.011400000001"),
        WRONG,
    ),
    "delta": (_change(1, delta__requests=2), WRONG),
    "running cost": (_change(0, running_total__cost="0.007600000002"), WRONG),
    "running tokens": (_change(1, running_total__total_tokens=1), WRONG),
    "running month": (_change(0, running_total__month="2025-02"), WRONG),
    "first offset": (_change(2, coverage__first_offset=1), WRONG),
    "coverage events": (_change(2, coverage__events=4), LOST),
    "coverage topic": (_change(2, coverage__topic="other"), WRONG),
    "coverage partition": (_change(2, coverage__partition=1), WRONG),
    "supersedes": (_change(1, supersedes=None), WRONG),
    "id": (
        _change(2, envelope__id="evt_01JHMVF0M0AAAAAAAAAAAAAAAA", billing_id="evt_01JHMVF0M0AAAAAAAAAAAAAAAA"),
        WRONG,
    ),
    "billing_id": (_change(2, billing_id="evt_x"), WRONG),
    "type": (_change(1, envelope__type="billing.usage.hourly"), WRONG),
    "money with 11 decimals": (_change(0, totals__cost="0.00760000000"), WRONG),
    "money as a number": (_change(0, totals__cost=0.0076), WRONG),
    "period end": (_change(2, period_end=text(NOON)), WRONG),
    "lines": (_change(2, lines=[]), WRONG),
    "dead letter missing": (_letter_missing, LOST),
    "dead letter twice": (_letter_twice, DOUBLED),
    "dead letter with other value": (_letter(value_b64="e30="), WRONG),
    "dead letter with other key": (_letter(key_b64="e30="), WRONG),
    "dead letter with an impossible reason": (_letter(reason="invalid_cost"), WRONG),
    "letter: not in the future": (_letter(reason="timestamp_in_future"), WRONG),
    "letter: no conflict": (_letter(reason="conflicting_duplicate"), WRONG),
    "dead letter of another group only": (_letter(group="llm-metrics"), LOST),
    "dead letter about no record": (_letter_of_nothing, WRONG),
    "bill that is no JSON": (_garbage_bill, WRONG),
    "dead letter that is no dead letter": (_garbage_letter, WRONG),
    "conflict without a dead letter": (_other_bytes_same_event, LOST),
    "team on two partitions": (_two_homes, WRONG),
}


@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_found(name: str) -> None:
    plant, kind = FAULTS[name]
    logs = day()
    plant(logs)
    report = check(logs, org_of=DIRECTORY.get)
    assert not report.ok
    found = dict(report.faults())[kind]
    assert found.count > 0, report.as_json()
    assert found.examples
    assert all("@" in example.where for example in found.examples)
    shown = report.as_json()
    assert (shown[kind], bool(shown["examples"][kind])) == (found.count, True)
    assert json.loads(json.dumps(shown)) == shown


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("event lost in the middle", (1, 0, 0)),
        ("late events never stated", (1, 0, 0)),
        ("hour never stated", (1, 0, 0)),
        ("bill twice", (0, 1, 0)),
        ("dead letter twice", (0, 1, 0)),
        ("dead letter missing", (1, 0, 0)),
        ("conflict without a dead letter", (1, 0, 0)),
        ("first offset", (0, 0, 1)),
        ("running cost", (0, 0, 1)),
    ],
)
def test_fault_is_counted_once(name: str, expected: tuple[int, int, int]) -> None:
    logs = day()
    FAULTS[name][0](logs)
    assert counts(check(logs, org_of=DIRECTORY.get)) == expected


def test_repeat_counted_is_doubled_once() -> None:
    logs = day()
    _counted_repeat(logs)
    assert check(logs, org_of=DIRECTORY.get).doubled.count == 1


@pytest.mark.parametrize("name", ["cost", "prompt_tokens", "errors", "cache_hits"])
def test_bill_that_is_wrong_and_agrees_with_itself_is_found(name: str) -> None:
    logs = Logs()
    for minute in range(3):
        logs.use(TEN + minute * MINUTE_MS)
    logs.events[1].counters[name] += 1
    logs.state(TEN)
    report = check(logs)
    assert counts(report) == (0, 0, 1)
    assert f"{name} is" in report.wrong.examples[0].what


def test_wrong_org_of_the_directory_shows() -> None:
    assert check(day(), org_of={"team_b": "org_3"}.get).wrong.count == 1
    assert check(day()).lost.count == 2


def test_hour_waits_until_the_watermark_passes_grace() -> None:
    logs = Logs()
    logs.use(TEN)
    logs.use(ELEVEN + 5 * MINUTE_MS - 1)
    assert check(logs).ok
    assert check(logs, grace_ms=299_999).lost.count == 1
    logs.use(ELEVEN + 5 * MINUTE_MS)
    report = check(logs)
    assert counts(report) == (1, 0, 0)
    assert report.lost.examples[0].where == "llm_usage[0]@0"


def test_late_event_waits_until_the_next_mark_above_the_watermark_at_its_arrival() -> None:
    logs = Logs()
    logs.use(TEN)
    logs.use(ELEVEN + 5 * MINUTE_MS)
    logs.state(TEN)
    logs.use(TEN)
    logs.use(ELEVEN + 10 * MINUTE_MS - 1)
    assert check(logs).ok
    logs.use(ELEVEN + 10 * MINUTE_MS)
    assert counts(check(logs)) == (1, 0, 0)
    logs.state(TEN)
    assert check(logs).ok


def test_new_team_in_a_closed_hour_waits_for_the_next_mark() -> None:
    logs = Logs()
    logs.use(NOON + 1)
    logs.use(TEN, team="team_c")
    assert check(logs).ok
    logs.use(NOON + 5 * MINUTE_MS)
    assert counts(check(logs)) == (2 - 1, 0, 0)


def test_hour_closed_by_the_wall_clock_and_revised_later_passes() -> None:
    logs = Logs()
    logs.use(TEN)
    logs.state(TEN)
    logs.use(TEN + 1)
    assert check(logs).ok
    logs.state(TEN)
    assert check(logs).ok
    assert check(logs).numbers["revisions"] == 1


def test_watermarks_are_of_one_partition() -> None:
    logs = Logs()
    logs.use(TEN)
    logs.use(NOON, team="team_z", partition=1)
    assert check(logs).ok


def test_retention_puts_the_past_out_of_reach_and_not_in_the_wrong() -> None:
    logs = day()
    del logs.usage[:2]
    assert not check(logs, org_of=DIRECTORY.get).ok
    report = check(logs, org_of=DIRECTORY.get, starts={("llm_usage", 0): 2})
    assert counts(report) == (0, 0, 0)
    assert report.out_of_reach == 1
    del logs.bills[:3]
    report = check(logs, org_of=DIRECTORY.get, starts={("llm_usage", 0): 3, ("billing_events", 0): 3})
    assert report.out_of_reach == 1


def test_conflict_in_dead_letter_passes() -> None:
    logs = day()
    _other_bytes_same_event(logs)
    logs.refuse(logs.usage[4], "conflicting_duplicate")
    assert check(logs, org_of=DIRECTORY.get).ok


def test_redriven_event_counts_where_it_comes_back() -> None:
    logs = Logs()
    logs.refuse(logs.use(TEN, id="evt_again", counts=False, top={"org_id": None}), "org_unresolved")
    logs.use(TEN, id="evt_again", org=None)
    logs.use(NOON)
    logs.state(TEN)
    assert check(logs, org_of={"team_a": "org_1"}.get).ok


def test_cut_letter_carries_the_beginning() -> None:
    logs = Logs()
    logs.refuse(logs.use(TEN, value=b"x" * 100, counts=False), "malformed_json", value_b64="eHh4", truncated=True)
    assert check(logs).ok
    logs.letters.clear()
    logs.refuse(logs.usage[0], "malformed_json", value_b64="eHh5", truncated=True)
    assert check(logs).wrong.count == 1


def test_other_billing_events_are_left_alone() -> None:
    logs = Logs()
    logs.bill({"org_id": "org_1", "type": "billing.rpc.settled", "data": {}})
    report = check(logs)
    assert report.ok
    assert report.numbers["other_events"] == 1


def test_examples_are_limited_and_counts_are_not() -> None:
    logs = Logs()
    for _ in range(50):
        logs.use(TEN, value=b"{", counts=False)
    report = check(logs)
    assert report.lost.count == 50
    assert len(report.lost.examples) == 20


def test_logs_are_read_in_a_stated_order_and_once() -> None:
    order: list[str] = []

    def told(name: str, records: list[Record]) -> Iterator[Record]:
        order.append(name)
        yield from records

    logs = day()
    audit(told("usage", logs.usage), told("bills", logs.bills), told("letters", logs.letters), org_of=DIRECTORY.get)
    assert order == ["letters", "bills", "usage"]


@pytest.mark.parametrize(
    ("written", "at_ms"),
    [
        ("2025-01-15T10:00:00Z", TEN),
        ("2025-01-15t11:30:00.5+01:30", TEN + 500),
        ("2025-01-15T09:59:59.999999999Z", TEN - 1),
        ("2025-01-15T09:59:60.7Z", TEN),
        ("2025-01-15T00:00:00.000-10:00", TEN),
        ("1970-01-01T00:00:00Z", 0),
    ],
)
def test_time(written: str, at_ms: int) -> None:
    assert time_ms(written) == at_ms


@pytest.mark.parametrize(
    "written",
    [
        "2025-01-15T10:00:00",
        "2025-02-29T10:00:00Z",
        "2025-01-15T24:00:00Z",
        "2025-01-15T10:00Z",
        "",
        None,
        7,
        "٢025-01-15T10:00:00Z",
    ],
)
def test_no_time(written: object) -> None:
    with pytest.raises(ValueError, match=r"time|day"):
        time_ms(written)


def _raw(cost: str, **data: Any) -> Record:
    record = Logs().use(TEN, **data)
    value = (record.value or b"").replace(b"0.003800000000", cost.encode())
    return record._replace(value=value)


@pytest.mark.parametrize(
    ("cost", "value"),
    [("0", "0"), ("1e-12", "1E-12"), ("999999999999999999.999999999999", None), ("3.8E-3", "0.0038"), ("-0.0", "0")],
)
def test_cost_that_counts(cost: str, value: str | None) -> None:
    usage = read(_raw(cost))
    assert isinstance(usage, Usage)
    assert usage.counted.cost == Decimal(value or cost)


@pytest.mark.parametrize(
    "cost",
    [
        "-1",
        "-1e-20",
        "999999999999999999.9999999999995",
        "1e18",
        "NaN",
        "Infinity",
        "true",
        '"1"',
        "null",
        "1e999999999999999999999",
    ],
)
def test_cost_that_is_poison(cost: str) -> None:
    record = _raw(cost)
    assert isinstance(read(record), Poison)
    assert plausible("invalid_cost", record)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"value": b""}, "empty_value"),
        ({"value": b"\xff"}, "malformed_json"),
        ({"value": b"["}, "malformed_json"),
        ({"value": b"\0\0\0\0\7{}"}, "framed_json"),
        ({"value": b"[" * 100_000}, "malformed_json"),
        ({"prompt_tokens": -150, "total_tokens": 80}, "invalid_data"),
        ({"total_tokens": 379}, "tokens_mismatch"),
        ({"status": "x" * 65}, "invalid_data"),
        ({"record_ms": -1}, "record_timestamp_missing"),
        ({"record_ms": 0}, "record_timestamp_missing"),
        ({"top": {"id": ""}}, "invalid_envelope"),
        ({"top": {"id": "a b"}}, "invalid_envelope"),
        ({"top": {"schema": "v2"}}, "invalid_envelope"),
        ({"top": {"type": "llm.other"}}, "unknown_type"),
        ({"key": b"other"}, "wrong_partition"),
        ({"record_ms": TEN - 300_001}, "timestamp_in_future"),
    ],
)
def test_poison_needs_its_letter_and_the_letter_is_plausible(change: dict[str, Any], reason: str) -> None:
    logs = Logs()
    record = logs.use(TEN, counts=False, **change)
    assert isinstance(read(record), Poison)
    assert counts(check(logs)) == (1, 0, 0)
    logs.refuse(record, reason)
    assert check(logs).ok
    assert check(logs).rejected == {reason: 1}


def test_good_event_is_not_refusable_for_a_simple_reason() -> None:
    record = Logs().use(TEN)
    simple = ("empty_value", "malformed_json", "invalid_cost", "tokens_mismatch", "timestamp_in_future", "unknown_type")
    assert not any(plausible(reason, record) for reason in (*simple, "org_unresolved", "framed_json"))
    assert plausible("too_late", record)


def test_five_minutes_ahead_is_not_yet_the_future() -> None:
    assert isinstance(read(Logs().use(TEN, record_ms=TEN - 300_000)), Usage)


def test_statement_id_is_a_ulid_of_period_end_and_hash() -> None:
    made = statement_id("billing.usage.hourly", Bucket("org_ä", "team", "USD", TEN), 0)
    assert len(made) == 30
    other = statement_id("billing.usage.hourly", Bucket("org_ä", "team", "USD", TEN), 1)
    assert made[:14] == other[:14]
    assert made != other


def _printed(report: BillsReport) -> str:
    out = io.StringIO()
    show(report, Console(file=out, width=200))
    return out.getvalue()


def test_report_is_printed_with_all_digits() -> None:
    report = check(day(), org_of=DIRECTORY.get)
    printed = _printed(report)
    assert "All bills are correct." in printed
    assert "1,000,000,000,000,000,000.015200000000" in printed
    assert "tokens_mismatch" in printed


def test_printed_report_names_the_coordinates_of_a_fault() -> None:
    logs = day()
    _twice(logs)
    printed = _printed(check(logs, org_of=DIRECTORY.get))
    assert "doubled: billing_events[0]@100" in printed
    assert "do not agree" in printed
