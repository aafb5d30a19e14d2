"""What a reader of bills holds: nothing is passed over, lost in a rebalance, or given out twice."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, Message
from kept_bills import billed

from streamapp.errors import Misconfigured, Refused
from streamapp.kafka.bills.event import Unreadable
from streamapp.kafka.bills.pending import Pending, begin_at
from streamapp.kafka.log.reader import Span

BILL = billed()[0][1]


def message(partition: int, offset: int, value: bytes = BILL) -> Message:
    return Message(partition=partition, offset=offset, value=value)


def trouble(error: KafkaError, partition: int, offset: int | None) -> None:
    raise Unreadable(partition, offset or 0, error.str(), None)


def taken(pending: Pending) -> list[tuple[int, int]]:
    found = []
    while pending:
        stated = pending.take(trouble)
        if stated is not None:
            found.append((stated.partition, stated.offset))
    return found


def test_a_record_that_cannot_be_read_is_never_passed_over() -> None:
    for bad in (message(0, 1, b"{}"), Message(partition=0, offset=1, error=KafkaError(KafkaError._BAD_MSG))):
        pending = Pending({0: 0})
        pending.poll([message(0, 0), bad, message(0, 2)].copy)
        for _ in range(3):
            with pytest.raises(Unreadable):
                taken(pending)
            assert pending.next == {0: 1}


def test_a_rebalance_while_the_client_is_asked_loses_nothing_and_keeps_nothing_of_others() -> None:
    pending = Pending({0: 0, 1: 0})
    pending.poll(lambda: [message(0, 0), message(1, 0)])

    def consume() -> list[Message]:
        pending.drop({0, 1})
        pending.begin({1: 7, 2: 4})
        damage = Message(partition=0, offset=2, error=KafkaError(KafkaError._BAD_MSG))
        return [message(0, 1), message(1, 6), damage, message(1, 7), message(2, 4)]

    pending.poll(consume)
    assert taken(pending) == [(1, 7), (2, 4)]
    assert pending.next == {1: 8, 2: 5}


def test_at_the_end_the_position_is_behind_the_marker() -> None:
    pending = Pending({0: 0})
    pending.left = {0: 2}
    end = Message(partition=0, offset=2, error=KafkaError(KafkaError._PARTITION_EOF))
    of_another = Message(partition=5, offset=9, error=KafkaError(KafkaError._PARTITION_EOF))
    pending.poll(lambda: [message(0, 0), end, of_another])
    assert taken(pending) == [(0, 0)]
    assert (pending.next, pending.left) == ({0: 2}, {})


def test_a_marker_that_was_deleted_is_no_bill() -> None:
    assert begin_at("bills", 0, Span(12, 12), {0: 11}) == 12, "a bill at 11 would have its marker at 12"
    assert begin_at("bills", 0, Span(12, 30), {0: 12}) == 12
    for span, position in ((Span(12, 13), 11), (Span(12, 12), 10)):
        with pytest.raises(Refused, match="deleted unread"):
            begin_at("bills", 0, span, {0: position})
    with pytest.raises(Misconfigured, match="made anew"):
        begin_at("bills", 0, Span(0, 3), {0: 4})
