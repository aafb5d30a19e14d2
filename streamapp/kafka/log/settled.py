"""Where a log ends for somebody who must not miss what has been committed.

A group's offset and the records of the same transaction do not become visible together: each partition has a marker of
its own, and they are written one after the other. Who sees the offset first would look for the records in vain. So the
ends are taken once every transaction that was open at the call is over.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Protocol

from streamapp.clock import monotonic_s
from streamapp.errors import Unavailable
from streamapp.kafka.log.reader import Span
from streamapp.kafka.partitions import Partition

POLL_S = 0.03
ABORT_S = 20.0  # the broker looks for transactions that took too long every ten seconds


class Ends(Protocol):
    """What `Admin` says of partitions."""

    def start_offsets(self, partitions: Iterable[Partition]) -> dict[Partition, int]: ...

    def end_offsets(self, partitions: Iterable[Partition], *, committed: bool = False) -> dict[Partition, int]: ...


def settled(ends: Ends, topic: str, partitions: int, transaction_s: float) -> dict[int, Span]:
    """The spans of the topic's partitions; whatever was committed before the call is within.

    `transaction_s`: the transaction timeout. A worker that was killed leaves a transaction open for so long, unless
    another one takes its partitions over. Raises `Unavailable` when one is open for longer.
    """
    wanted = [(topic, number) for number in range(partitions)]
    written = ends.end_offsets(wanted)
    until_s = monotonic_s() + transaction_s + ABORT_S
    while True:
        stable = ends.end_offsets(wanted, committed=True)
        unsettled = sorted(number for (_, number), end in written.items() if stable[topic, number] < end)
        if not unsettled:
            starts = ends.start_offsets(wanted)
            return {number: Span(starts[topic, number], end) for (_, number), end in stable.items()}
        if monotonic_s() > until_s:
            numbers = ", ".join(map(str, unsettled))
            raise Unavailable(
                f"{topic}, partition {numbers}: a transaction is open for longer than {transaction_s + ABORT_S:g} s; "
                "try again, and if it stays, see `streamapp broker tool kafka-transactions`"
            )
        threading.Event().wait(POLL_S)
