"""How a check looks at Kafka, and when. Every pair follows the same rule of moments:

1  what the group has committed: records below are judged, records from there on are waiting
2  the right side: ends of the topics that the group writes, tables before statements before dead letters
3  the ends of the left side, the topic that the group reads: it then holds all that the right side can count
4  the records up to these ends, the rows of a destination, and the directory: it knows every team that a worker knew
5  what replaced a row that step 4 misses: a newer copy may have taken its place in between

`LogReader` refuses step 1 after step 2 or 3, and step 2 after step 3. A pair that still differs is read once
more from step 1 on (`pairs.look`), and only what both readings find is a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

from streamapp.directory.teams import Directory, Limit, open_directory
from streamapp.kafka.admin import Admin
from streamapp.kafka.clients.security import confluent_config
from streamapp.kafka.log.reader import Record, Span, read
from streamapp.kafka.log.settled import Ends, settled
from streamapp.kafka.partitions import Partition
from streamapp.settings import KafkaSettings
from streamapp.verify.read.letters import Batches, as_refused

LOADED_MS = 60_000  # a large directory takes half a minute to be read

Shown = Callable[[Iterator[Record], str, int], Iterator[Record]]
"""Shows how far a reading is: (records, topic, offsets there are) → the same records."""

OrgOf = Callable[[str], str | None]
"""Team → its org, of events that name none."""


class Limits(NamedTuple):
    """What teams may spend in a month by the directory as it is now, and since when every worker knows it (ms)."""

    of: Callable[[str], Sequence[Limit]]
    since_ms: int = 0


def unseen(records: Iterator[Record], topic: str, offsets: int) -> Iterator[Record]:
    """Shows nothing."""
    return records


@lru_cache(maxsize=1)
def _directory(path: Path | None) -> Directory:
    """Kept between two checks: a large file is only read again when it has changed."""
    return open_directory(path)


class Cluster(Ends, Protocol):
    """What a check asks of Kafka. Every call is a moment of its own. Raises as `Admin` and `reader.read` do."""

    def partitions(self, topic: str) -> int: ...

    def committed(self, group: str, partitions: Iterable[Partition]) -> dict[Partition, int]: ...

    def offsets_at(self, partitions: Iterable[Partition], at_ms: int) -> dict[Partition, int]: ...

    def read(self, topic: str, upto: Mapping[int, Span], headers: bool = False) -> Iterator[Record]: ...


class _Kafka(Admin):
    def __init__(self, kafka: KafkaSettings) -> None:
        super().__init__(kafka)
        self._reading = confluent_config(kafka)

    def read(self, topic: str, upto: Mapping[int, Span], headers: bool = False) -> Iterator[Record]:
        return read(self._reading, topic, upto, headers=headers)


class LogReader:
    """The topics of a cluster, for one check of what must agree with the topic `left`. Everything raises `Unavailable`
    or `Misconfigured` as `Admin` does. `cluster`: by default the one of the settings."""

    def __init__(self, kafka: KafkaSettings, left: str, shown: Shown = unseen, cluster: Cluster | None = None) -> None:
        self._cluster: Cluster = _Kafka(kafka) if cluster is None else cluster
        self._transaction_s = kafka.transaction_timeout_seconds
        self._left = left
        self._shown = shown
        self._asked: list[str] = []  # topics whose ends are taken, in order

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """partition → the offset that the group reads next; a partition it never committed is missing.

        Asked for before anything else: records below are done, records from there on may be waiting.
        """
        assert not self._asked, "committed offsets are asked for before the ends of any topic"
        wanted = [(topic, number) for number in range(self._cluster.partitions(topic))]
        return {number: offset for (_, number), offset in self._cluster.committed(group, wanted).items()}

    def spans(self, topic: str) -> dict[int, Span]:
        """What each partition holds; all that was committed before the call is within."""
        assert self._left not in self._asked, f"the ends of {self._left} are taken last"
        self._asked.append(topic)
        return settled(self._cluster, topic, self._cluster.partitions(topic), self._transaction_s)

    def org_of(self, directory: Path | None) -> OrgOf:
        """What the directory file says now. Asked for after the ends of the left side. The reader is the one that
        the workers use: the file is an input of both, and must mean the same to both."""
        return self._fresh(directory).org_of

    def limits(self, directory: Path | None) -> Limits:
        """What the directory file says now, like `org_of`."""
        found = self._fresh(directory)
        changed_ms = 0 if directory is None else directory.stat().st_mtime_ns // 1_000_000 + LOADED_MS
        return Limits(found.limits_of, changed_ms)

    def _fresh(self, directory: Path | None) -> Directory:
        assert self._left in self._asked, f"the directory is read after the ends of {self._left} are taken"
        found = _directory(directory)
        found.refresh()
        return found

    def since(self, topic: str, spans: Mapping[int, Span], at_ms: int) -> dict[int, Span]:
        """The parts of these spans from the first record of that timestamp on."""
        begins = self._cluster.offsets_at([(topic, number) for number in spans], at_ms)
        cut = {}
        for number, span in spans.items():
            begin = begins[topic, number]
            cut[number] = Span(max(span.start, span.end if begin < 0 else min(begin, span.end)), span.end)
        return cut

    def records(
        self, topic: str, upto: Mapping[int, Span], *, headers: bool = False, refused: Batches | None = None
    ) -> Iterator[Record]:
        """The committed records of these spans, in offset order within a partition; each batch of `refused` as one."""
        offsets = sum(span.end - span.start for span in upto.values())
        records = self._shown(self._cluster.read(topic, upto, headers), topic, offsets)
        return as_refused(records, refused) if refused else records
