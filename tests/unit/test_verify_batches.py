"""What a dead letter about a whole batch covers is refused, even if the check itself can read it."""

from __future__ import annotations

from letters_fake import record as letter_record

from streamapp.kafka.log.reader import Record
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.verify.read.letters import as_refused, refused_batches

GROUP, TOPIC = "billing-agg", "llm_usage"


def record(partition: int, offset: int, value: bytes = b"{}") -> Record:
    return Record(TOPIC, partition, offset, 5, b"team_a", value)


def letters(*spans: tuple[int, int, int], group: str = GROUP, reason: str = "unreadable_batch") -> list[Record]:
    return [
        letter_record(
            number, reason=reason, group=group, partition=partition, offset=first, last_offset=last, value=b"batch"
        )
        for number, (partition, first, last) in enumerate(spans)
    ]


def test_what_a_letter_covers_is_one_record_with_the_letters_bytes() -> None:
    refused = refused_batches(letters((0, 2, 4), (0, 7, 7), (1, 0, 1)), GROUP, TOPIC)
    log = [record(partition, offset) for partition in (0, 1) for offset in range(9)]
    seen = list(as_refused(log, refused))
    assert [one.offset for one in seen if one.partition == 0] == [0, 1, 2, 5, 6, 7, 8]
    assert [one.offset for one in seen if one.partition == 1] == [0, *range(2, 9)]
    lost = [one for one in seen if isinstance(one.value, UnreadableBatch)]
    assert [(one.partition, one.offset, one.key, one.value) for one in lost] == [
        (0, 2, None, b"batch"),
        (0, 7, None, b"batch"),
        (1, 0, None, b"batch"),
    ]


def test_a_batch_whose_beginning_retention_has_deleted_is_still_the_letters() -> None:
    (seen,) = as_refused([record(0, 3), record(0, 4)], refused_batches(letters((0, 2, 4)), GROUP, TOPIC))
    assert seen.offset == 2


def test_other_groups_and_other_reasons_refuse_no_batch() -> None:
    assert not refused_batches(letters((0, 2, 4), group="llm-metrics"), GROUP, TOPIC)
    assert not refused_batches(letters((0, 2, 4), reason="malformed_json"), GROUP, TOPIC)
    assert not refused_batches(letters((0, 2, 4)), GROUP, "audit_log")
    assert not refused_batches([Record("dead_letter", 0, 0, 5, None, b"no dead letter")], GROUP, TOPIC)
