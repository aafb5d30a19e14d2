"""The independent check of any hourly statements: silent about what is right, and it finds what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from operator import attrgetter
from typing import Any, NamedTuple

import pytest
from memory_store import MemoryStore
from usage_log import OUTPUTS, NowProducer, Rec, at, event, make_admission, now
from verify_sides import sides

from streamapp.exact.partition.chunk import Send
from streamapp.exact.partition.place import Place
from streamapp.kafka.log.reader import Record
from streamapp.meters.hourly.codec import RowTable
from streamapp.meters.hourly.statements import Statements
from streamapp.meters.hourly.table import KeyedTask, keyed_parts
from streamapp.verify.hourly import Fact, pair
from streamapp.verify.read import usage
from streamapp.verify.read.event import Poison
from streamapp.verify.report import PairReport
from tables.counters import EXACT, NOTHING
from tables.keyed import KeyedStatement, Recipe
from tables.window import Rules

TOPIC, GROUP, KINDS = "llm_usage", "spending", ("billing.spent.hourly", "billing.spent.revised")


class Key(NamedTuple):
    start_ms: int
    org_id: str
    team_id: str


class Whose(NamedTuple):
    start_ms: int
    org_id: str
    team_id: str | None


@dataclass
class Row:
    cost: Decimal = NOTHING
    models: dict[str, int] = field(default_factory=dict)

    def count(self, event: Any) -> None:
        self.cost = EXACT.add(self.cost, event.data.cost_usd)
        self.models[event.data.model] = self.models.get(event.data.model, 0) + 1

    def totals(self) -> dict[str, Any]:
        return {"cost": self.cost, "models": self.models}


def read(record: Record) -> Fact | Poison:
    found = usage.read(record)
    if isinstance(found, Poison):
        return found
    amounts: dict[str, Decimal | int] = {"cost": found.counted.cost, f"models.{found.model}": 1}
    return Fact(found.id, found.time_ms, found.team, found.org, (found.team,), amounts)


PAIR = pair("usage=spent", GROUP, TOPIC, kinds=KINDS, names=("team_id",), read=read)
STATEMENTS = Statements("billing_events", *KINDS, Row.totals)
TABLE = RowTable("spent", Key, Row, attrgetter("team_id"), STATEMENTS)
RECIPE = Recipe(lambda start_ms, org, event: Key(start_ms, org, event.team_id), Row, Row.count, states=True)


class Logs(NamedTuple):
    source: list[Record]
    bills: list[Record]
    letters: list[Record]

    def report(self, **more: Any) -> PairReport:
        topics = {TOPIC: self.source, "billing_events": self.bills, "dead_letter": self.letters}
        made = sides(PAIR, topics, **more)
        PAIR.judge(made)
        report: PairReport = made.report
        return report

    def found(self, **more: Any) -> tuple[int, int, int]:
        report = self.report(**more)
        return report.lost.count, report.doubled.count, report.wrong.count


def stated(*chunks: list[Rec] | str) -> Logs:
    """What a partition makes of chunks of records; a text is the wall clock of an idle close."""
    place = Place(GROUP, TOPIC, 0, "topic-id", 1, OUTPUTS, entropy=bytes)
    parts = keyed_parts(TABLE, RECIPE, Rules(), make_admission())
    task = KeyedTask(parts, place, MemoryStore(TABLE.table.unsettled), NowProducer(0), None)
    log: list[Rec] = []
    sends: list[Send] = []
    for chunk in chunks:
        if isinstance(chunk, str):
            transaction = task.tick(at(chunk))
        else:
            placed = [replace(one, offset=len(log) + number) for number, one in enumerate(chunk)]
            log += placed
            transaction = task.fold(placed, placed[-1].timestamp)
        assert transaction is not None
        sends += transaction.sends
        now(task.commit(transaction))
    source = [Record(TOPIC, 0, one.offset, one.timestamp, one.key, one.value) for one in log]
    return Logs(source, _sent(sends, "billing_events"), _sent(sends, "dead_letter"))


def _sent(sends: list[Send], topic: str) -> list[Record]:
    wanted = [send for send in sends if send.topic == topic]
    return [Record(topic, 0, number, 0, send.key, send.value) for number, send in enumerate(wanted)]


def some() -> Logs:
    """Two hours of two teams, a repeat, poison, a late event and an idle close."""
    first = event("10:10")
    return stated(
        [first, event("10:20", model="o3"), event("10:30", team="team_b"), first, event("10:40", cost="-1")],
        [event("11:06"), event("10:50"), event("11:12")],
        [event("11:14", team="team_b")],
        "12:05",
    )


def test_what_is_right_is_left_alone() -> None:
    logs = some()
    assert [json.loads(one.value or b"")["data"]["revision"] for one in logs.bills] == [0, 0, 1, 0, 0]
    report = logs.report()
    assert logs.found() == (0, 0, 0), report.as_json()
    assert (report.events, report.waiting) == (7, 0)
    assert report.differing_hours() == []


def test_a_key_without_a_team_states_that_there_is_none() -> None:
    one = KeyedStatement(Whose(at("10:00"), "org", None), 0, at("11:05"), Row(), None, 1, 3, 3)
    made = STATEMENTS.event(one, Place(GROUP, TOPIC, 0, "topic-id", 1, OUTPUTS, entropy=bytes))
    assert b'"team_id":null,"org_id":"org","data":' in made
    assert json.loads(made)["data"]["team_id"] is None


def test_what_is_not_due_yet_waits() -> None:
    logs = stated([event("10:10"), event("10:50")], [event("11:04")])
    assert (logs.bills, logs.report().waiting, logs.found()) == ([], 3, (0, 0, 0))
    late = stated([event("10:10"), event("11:06")], [event("10:50"), event("11:09")])
    assert (len(late.bills), late.report().waiting, late.found()) == (1, 3, (0, 0, 0))


def rewritten(record: Record, change: Callable[[dict[str, Any]], object]) -> Record:
    event = json.loads(record.value or b"")
    change(event["data"])
    return record._replace(value=json.dumps(event).encode())


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda data: data["totals"].update(cost="0.200000000001"), "wrong"),
        (lambda data: data["totals"].update(cost=0.2), "wrong"),
        (lambda data: data["totals"]["models"].update({"o3": 2}), "wrong"),
        (lambda data: data["delta"].update(cost="0.200000000001"), "wrong"),
        (lambda data: data["coverage"].update(first_offset=1), "wrong"),
        (lambda data: data["coverage"].update(events=9), "doubled"),
        (lambda data: data["coverage"].update(events=1), "lost"),
        (lambda data: data.update(billing_id="evt_1"), "wrong"),
        (lambda data: data.update(supersedes=None), "wrong"),
        (lambda data: data.update(revision=2), "wrong"),
        (lambda data: data.update(period_end="2025-01-15T12:00:00.000Z"), "wrong"),
        (lambda data: data.pop("coverage"), "wrong"),
    ],
)
def test_a_statement_that_says_something_else(change: Callable[[dict[str, Any]], object], kind: str) -> None:
    logs = some()
    logs.bills[2] = rewritten(logs.bills[2], change)
    report = logs.report()
    assert getattr(report, kind).count, report.as_json()


def test_a_statement_that_is_gone_or_there_twice() -> None:
    logs = some()
    assert logs._replace(bills=[]).report().lost.count == 4, "the hour that the watermark closed"
    assert logs._replace(bills=logs.bills[:2] + logs.bills[3:]).report().lost.count == 1
    assert logs._replace(bills=logs.bills[1:]).report().wrong.count, "the revision before is missing"
    again = logs.bills[0]._replace(offset=9)
    assert logs._replace(bills=[*logs.bills, again]).found() == (0, 1, 0)


def test_an_event_that_is_counted_and_not_in_the_log() -> None:
    logs = some()
    assert logs._replace(source=logs.source[1:]).report().doubled.count == 0, "its repeat is there"
    assert logs._replace(source=[*logs.source[:1], *logs.source[2:]]).report().doubled.count == 1


def test_poison_needs_its_letter_and_a_letter_its_record() -> None:
    logs = some()
    assert logs._replace(letters=[]).found() == (1, 0, 0)
    astray = rewritten(logs.letters[0], lambda data: data.update(source_offset=99))
    assert logs._replace(letters=[*logs.letters, astray]).found() == (0, 0, 1)
    sound = rewritten(logs.letters[0], lambda data: data.update(source_offset=1, reason="malformed_json"))
    assert logs._replace(letters=[*logs.letters, sound]).report().wrong.count


def test_a_log_that_begins_later_and_a_bucket_on_two_partitions_are_out_of_reach() -> None:
    logs = some()
    report = logs._replace(source=logs.source[3:]).report(starts={(TOPIC, 0): 3})
    assert (report.difference, report.out_of_reach) == (0, 2)
    both = logs.source[1]._replace(partition=1, offset=0)
    assert logs._replace(source=[*logs.source, both]).report().out_of_reach == 1
