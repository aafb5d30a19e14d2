"""What a reader of bills was given and has not given out yet, and how far it is. Knows no connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping

from confluent_kafka import KafkaError, Message

from streamapp.errors import Misconfigured, Refused
from streamapp.kafka.bills.event import Stated, event_of
from streamapp.kafka.log.reader import DAMAGED, Span


class Pending:
    """The messages of a reader in their order. `next`: partition → the offset to read next."""

    def __init__(self, position: Mapping[int, int]) -> None:
        self.next: dict[int, int] = dict(position)
        self.left: dict[int, int] = {}  # partition with something to give out → where it ended as reading began
        self._messages: deque[Message] = deque()

    def __bool__(self) -> bool:
        return bool(self._messages)

    def begin(self, position: Mapping[int, int]) -> None:
        """Read these partitions, from these offsets."""
        self.next = dict(position)

    def drop(self, partitions: Collection[int]) -> None:
        """Others read these partitions now."""
        self.next = {partition: offset for partition, offset in self.next.items() if partition not in partitions}
        self._messages = deque(one for one in self._messages if one.partition() not in partitions)

    def poll(self, consume: Callable[[], list[Message]]) -> None:
        """Take what the client gives. While it is asked, `begin` and `drop` may be called."""
        given = consume()
        self._messages.extend(given)

    def take(self, trouble: Callable[[KafkaError, int, int | None], None]) -> Stated | None:
        """The next event; None where a message has none that is known here.

        What raises stays in its place and raises again: nobody passes over a bill by asking once more. `trouble` raises
        for an error of a partition at an offset, or passes it over.
        """
        stated = self._judged(self._messages[0], trouble)
        self._messages.popleft()
        return stated

    def _judged(self, message: Message, trouble: Callable[[KafkaError, int, int | None], None]) -> Stated | None:
        partition, offset, error = message.partition(), message.offset(), message.error()
        assert partition is not None
        if error is not None and error.code() == KafkaError._PARTITION_EOF:
            # Its offset is the end of what is stable: behind markers and aborted records, which nobody is given.
            self.left.pop(partition, None)
            if partition in self.next and offset is not None:
                self.next[partition] = max(self.next[partition], offset)
            return None
        if error is not None and not (error.code() in DAMAGED and offset is not None):
            trouble(error, partition, offset)
            return None
        assert offset is not None
        if offset < self.next.get(partition, offset + 1):  # fetched before the partition went to another reader
            return None
        if error is not None:
            trouble(error, partition, offset)
            return None
        event = event_of(partition, offset, message.value())
        self.next[partition] = offset + 1
        if offset + 1 >= self.left.get(partition, offset + 2):
            del self.left[partition]
        return None if event is None else Stated(partition, offset, event)


def begin_at(topic: str, partition: int, span: Span, kept: Mapping[int, int]) -> int:
    """Where to begin; at the start of the log where nothing was read before.

    A position that was saved behind the last bill is before its transaction's marker. Where the log is empty and begins
    one offset further on, that marker is all that was deleted: a bill there would have its own marker behind it.
    Raises `Refused` where more may have been deleted, `Misconfigured` behind the end of the log.
    """
    offset = kept.get(partition, span.start)
    if offset + 1 == span.start == span.end:
        return span.start
    if offset < span.start:
        raise Refused(
            f"{topic} partition {partition} begins at offset {span.start} now, and was read up to {offset}: "
            f"{span.start - offset:,} offsets were deleted unread. Take those bills from the ledger (`streamapp "
            f"bills`), then begin at {span.start}"
        )
    if offset > span.end:
        raise Misconfigured(
            f"{topic} partition {partition} ends at offset {span.end}, and was read up to {offset}: the "
            "topic was made anew. Begin without a position, and count no bill twice"
        )
    return offset
