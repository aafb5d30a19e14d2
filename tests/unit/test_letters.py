"""Dead letters are counted by cause; incidents open, grow, and end in silence; whoever must be told is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from letters_log import NOON, RULES, Monitor, Rec, refusal, run

from streamapp.meters.letters import codec
from streamapp.meters.letters.letter_facts import UNREADABLE, letter_facts
from streamapp.schemas.judging.cause import cause_of
from streamapp.schemas.judging.rejected import UnreadableBatch
from streamapp.store.position import POSITION_KEY
from tables.cause import Cause
from tables.letters.fold import LetterFacts, Letters, Limits
from tables.outcome import Position
from tables.window import DAY_MS, MINUTE_MS


def late(*numbers: int) -> list[bytes]:
    return [refusal(number) for number in numbers]


# -- incidents -------------------------------------------------------------------------------------------------------


def test_an_incident_opens_at_the_letter_that_reaches_the_threshold() -> None:
    monitor = Monitor()
    monitor.read(*late(1, 2))
    assert monitor.courier.heard() == []
    monitor.read(*late(3, 4, 5))
    assert monitor.courier.heard() == [("opened", 3)]
    ((notice, owed),) = monitor.courier.offered
    assert owed == ("log", "pager")
    assert (notice.topic, notice.by, notice.reason) == ("llm_usage", "billing-agg", "too_late")
    assert notice.shape == "it is … days old"
    assert notice.at_ms == NOON


def test_the_link_leads_to_the_letters_of_the_cause() -> None:
    monitor = Monitor(link="https://stream.example/letters")
    monitor.read(*late(1, 2, 3))
    ((notice, _),) = monitor.courier.offered
    cause = cause_of("llm_usage", "billing-agg", "too_late", "it is 9 days old").id
    assert notice.link == f"https://stream.example/letters?cause={cause}"
    assert notice.incident == f"{cause}-1"


def test_letters_of_two_windows_do_not_add_up() -> None:
    monitor = Monitor()
    monitor.read(*late(1, 2), at=4.9)
    monitor.read(*late(3, 4), at=5)
    assert monitor.courier.heard() == []


def test_some_reasons_are_told_at_once() -> None:
    monitor = Monitor()
    monitor.read(refusal(1, "conflicting_duplicate"))
    assert monitor.courier.heard() == [("opened", 1)]


def test_each_cause_is_one_incident() -> None:
    monitor = Monitor()
    errors = ["cost '1' is negative", "cost '2' is negative", "tokens are 3, not 4"]
    monitor.read(*(refusal(n, error=errors[n % 3]) for n in range(30)))
    assert monitor.courier.heard() == [("opened", 3), ("opened", 3)]
    assert len({notice.incident for notice, _ in monitor.courier.offered}) == 2


def test_silence_by_the_clock_resolves_it_at_the_moment_that_its_last_letter_says() -> None:
    monitor = Monitor()
    monitor.read(*late(1, 2, 3), at=1)
    monitor.courier.bring("log", "pager")
    assert monitor.tick(2)  # the receipts
    assert not monitor.tick(10.9)
    assert monitor.tick(40)
    ((notice, _),) = monitor.courier.offered
    assert (notice.kind, notice.letters, notice.at_ms) == ("resolved", 3, NOON + 11 * MINUTE_MS)
    assert not monitor.tick(41)


def test_silence_of_one_cause_is_noticed_while_another_goes_on() -> None:
    monitor = Monitor()
    monitor.read(*late(1, 2, 3))
    monitor.read(refusal(4, "invalid_cost"), at=10)
    assert monitor.courier.heard() == [("opened", 3), ("resolved", 3)]
    monitor.read(*late(5, 6, 7), at=11)
    assert [notice.incident[-2:] for notice, _ in monitor.courier.offered] == ["-1", "-1", "-2"]


def test_a_growing_incident_is_told_again_but_not_often_and_not_before_it_was_told() -> None:
    monitor = Monitor(replace(RULES, update_ms=5 * MINUTE_MS))
    monitor.read(*late(1, 2, 3))
    monitor.read(*late(4), at=6)
    assert monitor.courier.heard() == [("opened", 3)]  # the first notice has not arrived yet
    monitor.courier.bring("log", "pager")
    for minute in range(7, 17):
        monitor.read(refusal(minute), at=minute)
    assert monitor.courier.heard() == [("grown", 5)]
    monitor.courier.bring("log", "pager")
    monitor.read(refusal(99), at=17)
    assert monitor.courier.heard() == [("grown", 15)]


def test_nobody_to_tell_leaves_nothing_to_be_told() -> None:
    monitor = Monitor(replace(RULES, destinations=()))
    monitor.read(*late(1, 2, 3))
    assert (monitor.courier.offered, len(monitor.task.memory.letters.open)) == ([], 1)


# -- what must be told survives --------------------------------------------------------------------------------------


def test_what_was_not_delivered_is_offered_by_the_next_process_to_those_it_is_owed_to() -> None:
    monitor = Monitor()
    monitor.read(*late(1, 2, 3))
    monitor.courier.bring("log")
    assert monitor.tick(1)
    monitor.restart()
    assert [(notice.kind, owed) for notice, owed in monitor.courier.offered] == [("opened", ("pager",))]
    monitor.courier.bring("pager")
    assert monitor.tick(2)
    monitor.restart()
    assert monitor.courier.offered == []


def test_a_receipt_is_written_down_by_the_next_chunk_too() -> None:
    monitor = Monitor()
    monitor.read(*late(1, 2, 3))
    monitor.courier.bring("log", "pager")
    monitor.read(*late(4))
    monitor.restart()
    assert monitor.courier.offered == []


def test_a_notice_is_counted_as_delivered_when_that_is_written_down() -> None:
    monitor = Monitor()
    monitor.read(*late(1, 2, 3))
    monitor.courier.bring("log", "pager")
    transaction = monitor.task.tick(NOON)
    assert transaction is not None
    assert monitor.task.memory.told == {}
    run(monitor.task.commit(transaction))
    assert monitor.task.memory.told == {("log", "delivered"): 1, ("pager", "delivered"): 1}


def test_both_ends_of_an_incident_are_told_although_the_pager_was_away_all_the_time() -> None:
    monitor = Monitor()
    monitor.read(*late(1, 2, 3))
    assert monitor.tick(20)
    monitor.restart()
    assert monitor.courier.heard() == [("opened", 3), ("resolved", 3)]


# -- exactly once ----------------------------------------------------------------------------------------------------


def test_a_repeated_letter_counts_once() -> None:
    monitor = Monitor()
    monitor.read(*late(1, 1, 2))
    monitor.restart()
    monitor.read(*late(2, 1, 3))
    assert monitor.counts() == {"too_late": 3}


def test_records_below_the_position_are_passed_over() -> None:
    monitor = Monitor()
    records = [Rec(n, NOON, None) for n in range(5)]  # unreadable: without ids
    monitor.apply(records[:3])
    monitor.restart()
    monitor.apply(records)
    assert monitor.counts() == {"unreadable_letter": 5}


def test_ids_are_forgotten_after_so_many_letters() -> None:
    monitor = Monitor(limits=Limits(remembered=10))
    for number in range(30):
        monitor.read(refusal(number))
    rows = list(monitor.store.scan(b"i", b"j"))
    assert [codec.unpack_ids(key, value)[0] for key, value in rows] == list(range(20, 30))
    monitor.read(refusal(20))  # 10 dead letters ago
    assert monitor.counts() == {"too_late": 30}
    monitor.read(refusal(19))
    assert monitor.counts() == {"too_late": 31}


def test_fingerprints_do_not_change_and_do_not_run_into_each_other() -> None:
    assert Cause("llm_usage", "billing-agg", "too_late", "x").id == "164a564d419b36eb"
    different = {Cause("a", "bc", "d", "e").id, Cause("ab", "c", "d", "e").id, Cause("a", "b", "cd", "e").id}
    assert len(different) == 3


# -- limits ----------------------------------------------------------------------------------------------------------


def facts(value: bytes) -> LetterFacts:
    topic, reason, error = value.decode().split("/")
    return LetterFacts(None, topic, "by", reason, error)


def test_a_flood_of_shapes_stays_a_few_rows() -> None:
    words = [f"t/r/{'x' * n}" for n in range(50)] + ["t/s/x", "t/u/x", "t/v/x", "t/w/x"]
    table = Letters(RULES, facts, Position(), Limits(causes=5, shapeless=2))
    table.apply([Rec(n, NOON, word.encode()) for n, word in enumerate(words)], (), NOON)
    causes = {row.cause: row.letters for row in table.causes.values()}
    assert len(causes) == 8
    assert causes[Cause("t", "by", "r", "other")] == 45
    assert causes[Cause("t", "by", "s", "other")] == 1
    assert causes[Cause("other", "other", "other", "other")] == 3
    assert sum(causes.values()) == sum(table.tallies.values()) == 54


def test_windows_and_causes_go_when_they_are_old() -> None:
    monitor = Monitor()
    monitor.read(*late(1))
    monitor.read(refusal(2, "invalid_cost"), at=100)
    monitor.read(refusal(3, "invalid_cost"), at=130)
    assert len(list(monitor.store.scan(b"w", b"x"))) == 2
    monitor.read(refusal(4, "invalid_cost"), at=30 * DAY_MS / MINUTE_MS + 5)
    causes = [codec.unpack_cause(value).cause.reason for _, value in monitor.store.scan(b"k", b"l")]
    assert causes == ["invalid_cost"]
    assert monitor.counts() == {"too_late": 1, "invalid_cost": 3}


def test_a_letter_that_is_older_than_the_windows_counts_in_the_oldest() -> None:
    monitor = Monitor()
    monitor.read(*late(1), at=1000)
    monitor.read(*late(2, 3, 4), at=0)
    assert monitor.courier.heard() == [("opened", 3)]


# -- dead letters that are none
# -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"[]", b'{"id":"x"}', b"[" * 100_000, b'{"type":"x","id":"y"}'])
def test_what_is_no_letter_is_counted_and_not_refused(value: bytes | None) -> None:
    assert letter_facts(value) == UNREADABLE


def test_a_batch_of_letters_that_cannot_be_read_is_a_cause_by_its_own_name() -> None:
    facts = letter_facts(UnreadableBatch.of(bytes(70), 5, 9, "does not match its checksum"))
    assert facts == (
        None,
        "dead_letter",
        "dead-letter-monitor",
        "unreadable_batch",
        "the record batch of offsets … to … does not match its checksum",
    )


def test_a_letter_is_read_without_its_payload() -> None:
    read = letter_facts(refusal(7, error="e" * 900))
    assert (read.topic, read.by, read.reason, read.shape) == ("llm_usage", "billing-agg", "too_late", "e" * 160)
    assert read.id is not None
    other = refusal(7).replace(b"stream.event.rejected", b"llm.usage.completed  ")
    assert letter_facts(other) == UNREADABLE


# -- rows ------------------------------------------------------------------------------------------------------------


def test_every_row_can_be_read_and_asked_for() -> None:
    monitor = Monitor()
    monitor.read(*late(1, 2, 3), None)
    rows = [(key, value) for key, value in monitor.store.scan(codec.LETTERS.first, codec.LETTERS.last)]
    assert {key[:1] for key, _ in rows} == {b"i", b"k", b"p", b"t", b"w"}
    for key, value in rows:
        parts, _ = codec.LETTERS.readable(key, value)
        assert codec.LETTERS.readable_key(parts) == key
    assert rows[-1][0] > POSITION_KEY
    with pytest.raises(ValueError, match="not the key"):
        codec.LETTERS.readable_key(("hour", 1))
