"""The independent check knows what was sent again: each letter's record stands in the log once, as its receipt says."""

from __future__ import annotations

import msgspec

from streamapp.dead_letters import done as letters_done
from streamapp.dead_letters import plan as letters_plan
from streamapp.dead_letters.done import Receipt
from streamapp.kafka.log.reader import Record
from streamapp.verify.read.redrives import LETTER_HEADER, RECEIPTS_TOPIC, Redrives
from streamapp.verify.report import BillsReport

TOPIC = "llm_usage"


def usage(offset: int, letter: str | None = None, event: str = "evt_1", partition: int = 0) -> Record:
    headers = () if letter is None else ((LETTER_HEADER, letter.encode()),)
    return Record(TOPIC, partition, offset, 0, b"team_a", f'{{"id":"{event}"}}'.encode(), headers)


def receipt(letter: str, offset: int, partition: int = 0, topic: str = TOPIC) -> Record:
    value = msgspec.json.encode(Receipt(letter, "redriven", 1, None, (topic, partition, offset)))
    return Record(RECEIPTS_TOPIC, 0, 0, 0, letter.encode(), value)


def checked(log: list[Record], receipts: list[Record], starts: dict[tuple[str, int], int] | None = None) -> BillsReport:
    redrives, report = Redrives(), BillsReport()
    assert list(redrives.watch(log)) == log
    redrives.check(receipts, TOPIC, lambda *at: (starts or {}).get(at, 0), report)
    return report


def test_the_names_are_those_that_are_written() -> None:
    assert LETTER_HEADER == letters_plan.LETTER_HEADER
    assert RECEIPTS_TOPIC == letters_done.DONE_TOPIC


def test_a_record_that_was_sent_again_is_where_its_receipt_says() -> None:
    report = checked([usage(0), usage(1, "letter_1"), usage(2)], [receipt("letter_1", 1)])
    assert report.ok
    assert report.numbers["redriven"] == 1


def test_a_receipt_without_its_record_is_a_loss() -> None:
    for log in ([usage(0)], [usage(1)], [usage(1, "letter_2")], [usage(0, "letter_1")]):
        report = checked(log, [receipt("letter_1", 1)])
        assert (report.lost.count, report.doubled.count) == (1, 0)
        assert "letter_1" in report.lost.examples[0].what


def test_what_retention_has_removed_is_no_loss_nor_is_another_topic_s() -> None:
    assert checked([], [receipt("letter_1", 1)], {(TOPIC, 0): 2}).ok
    assert checked([], [receipt("letter_1", 1, topic="audit_log")]).ok


def test_a_letter_that_counts_as_two_events_is_doubled() -> None:
    receipts = [receipt("letter_1", 1)]
    other_id = checked([usage(1, "letter_1"), usage(2, "letter_1", event="evt_2")], receipts)
    other_home = checked([usage(1, "letter_1"), usage(1, "letter_1", partition=3)], receipts)
    assert (other_id.doubled.count, other_home.doubled.count) == (1, 1)


def test_the_same_event_twice_on_its_partition_counts_once_anyway() -> None:
    assert checked([usage(1, "letter_1"), usage(2, "letter_1")], [receipt("letter_1", 1)]).ok


def test_only_the_newest_receipt_of_a_letter_speaks() -> None:
    gone = Record(RECEIPTS_TOPIC, 0, 1, 0, b"letter_1", None)
    assert checked([], [receipt("letter_1", 1), gone]).ok
    dropped = Record(RECEIPTS_TOPIC, 0, 0, 0, b"letter_1", msgspec.json.encode(Receipt("letter_1", "dropped", 1)))
    assert checked([], [dropped]).ok
