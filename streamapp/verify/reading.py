"""How a check looks at Kafka, and when. Every pair follows the same rule of moments:

1  what the group has committed: what lies below is judged, what lies behind it is waiting, whatever it is
2  the right side: ends of the topics that the group writes, tables before statements before letters
3  the ends of the left side, the topic that the group reads: it then holds all that the right side can count
4  the records up to these ends, and the rows of a destination
5  what replaced a row that step 4 misses: a newer copy may have taken its place in between

`LogReader` refuses step 1 after step 2 or 3. A pair that differs all the same is read once more from step 1 on
(`verify_pairs.look`), and only what both readings find is a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from streamapp.kafka.admin import Admin
from streamapp.kafka.log.reader import Record, Span, read
from streamapp.kafka.log.settled import settled
from streamapp.kafka.security import confluent_config
from streamapp.schemas.judging.letter import TOPIC as LETTERS
from streamapp.settings import KafkaSettings
from streamapp.verify.batches import Refused, as_refused, refused_batches

Shown = Callable[[Iterator[Record], str, int], Iterator[Record]]
"""Shows how far a reading is: (records, topic, offsets there are) → the same records."""


def unseen(records: Iterator[Record], topic: str, offsets: int) -> Iterator[Record]:
    """Shows nothing."""
    return records


class LogReader:
    """The topics of a cluster, for one check. Everything raises `Unavailable` or `Misconfigured` as `Admin` does."""

    def __init__(self, kafka: KafkaSettings, shown: Shown = unseen) -> None:
        self._admin = Admin(kafka)
        self._config = confluent_config(kafka)
        self._transaction_s = kafka.transaction_timeout_seconds
        self._shown = shown
        self._looked = False

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """partition → the offset that the group reads next; a partition it never committed is missing.

        To be asked for before anything else is: what lies below is done, whatever lies behind it may only be waiting.
        """
        assert not self._looked, "committed offsets are asked for before the ends of any topic"
        wanted = [(topic, number) for number in range(self._admin.partitions(topic))]
        return {number: offset for (_, number), offset in self._admin.committed(group, wanted).items()}

    def spans(self, topic: str) -> dict[int, Span]:
        """What each partition holds; all that was committed before the call is within."""
        self._looked = True
        return settled(self._admin, topic, self._admin.partitions(topic), self._transaction_s)

    def refused(self, group: str, topic: str, upto: Mapping[int, Span] | None = None) -> Refused:
        """The batches of `topic` that the group refused as a whole, by its letters in these spans (default: all there
        are now)."""
        spans = self.spans(LETTERS) if upto is None else upto
        return refused_batches(read(self._config, LETTERS, spans), group, topic)

    def since(self, topic: str, spans: Mapping[int, Span], at_ms: int) -> dict[int, Span]:
        """The parts of these spans from the first record of that timestamp on."""
        begins = self._admin.offsets_at([(topic, number) for number in spans], at_ms)
        cut = {}
        for number, span in spans.items():
            begin = begins[topic, number]
            cut[number] = Span(max(span.start, span.end if begin < 0 else min(begin, span.end)), span.end)
        return cut

    def records(
        self, topic: str, upto: Mapping[int, Span], *, headers: bool = False, refused: Refused | None = None
    ) -> Iterator[Record]:
        """The committed records of these spans, in offset order within a partition; each batch of `refused` as one."""
        offsets = sum(span.end - span.start for span in upto.values())
        records = self._shown(read(self._config, topic, upto, headers=headers), topic, offsets)
        return as_refused(records, refused) if refused else records
