"""Where a log ends once the transactions that were open are over."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from streamapp.errors import Unavailable
from streamapp.kafka.log import settled as module
from streamapp.kafka.log.reader import Span
from streamapp.kafka.log.settled import settled
from streamapp.kafka.partitions import Partition


class Log:
    """Two partitions. Each question about stable ends finds them `step` offsets further, and the written ends, too."""

    def __init__(self, stable: int, step: int) -> None:
        self.stable, self.written, self.step = stable, 10, step
        self.asked = 0

    def start_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        return dict.fromkeys(partitions, 2)

    def end_offsets(self, partitions: Iterable[Partition], *, committed: bool = False) -> dict[Partition, int]:
        if not committed:
            return dict.fromkeys(partitions, self.written)
        self.asked += 1
        self.stable, self.written = self.stable + self.step, self.written + self.step
        return dict.fromkeys(partitions, self.stable)


def test_what_was_written_before_the_call_is_within() -> None:
    log = Log(stable=4, step=2)
    assert settled(log, "bills", 2, 60) == {0: Span(2, 10), 1: Span(2, 10)}
    assert log.asked == 3


def test_a_log_without_open_transactions_is_not_waited_for() -> None:
    log = Log(stable=10, step=0)
    assert settled(log, "bills", 1, 60) == {0: Span(2, 10)}
    assert log.asked == 1
    assert settled(log, "bills", 0, 60) == {}


def test_a_transaction_that_does_not_end_is_said() -> None:
    with pytest.raises(Unavailable, match=r"bills, partition 0, 1: a transaction is open"):
        settled(Log(stable=4, step=0), "bills", 2, -module.ABORT_S)
