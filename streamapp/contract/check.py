"""What is wrong with the records of a producer, as they stand in the log. Pure.

Consumers say of a refused record that it was refused. This says what its producer does wrong, and also what no consumer
can refuse: a cost that was a float, an id for each attempt, a clock that is behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NamedTuple
from zlib import crc32

from streamapp.schemas.catalog import JUDGES
from streamapp.schemas.judging.rejected import Reason, Rejected
from streamapp.schemas.values.money import DECIMALS
from streamapp.schemas.values.strict_json import object_of
from streamapp.schemas.values.timestamp import parse_ms
from streamapp.topics.partitioner import murmur2, partition_for
from streamapp.topics.registry import Topic

AHEAD_MS = 5 * 60_000  # decision 9
BEHIND_MS = 3_600_000

FLOAT, PARTITIONER, KEY = "float_money", "wrong_partitioner", "wrong_key"
AHEAD, BEHIND, REUSED, TWICE = "clock_ahead", "clock_behind", "id_reused", "sent_twice"

ADVICE: Mapping[str, str] = {
    FLOAT: "cost_usd has more than 12 decimals, as a sum of floats has: compute in decimals, and send their digits",
    KEY: "the record key is not the field that the topic is keyed by",
    AHEAD: "the event is more than 5 minutes ahead of its record: its producer's clock or time zone is wrong",
    BEHIND: "the event is more than an hour behind its record: a clock or time zone is wrong, or it waited that long",
    REUSED: "another event has this id: make an id for each event (a ULID, or a UUID of version 7)",
    TWICE: "the event was sent before, and counts once: turn idempotence on, send nothing again that was acknowledged",
}


Place = Callable[[bytes, int], int]


def _fnv1a(key: bytes, partitions: int) -> int:
    value = 0x811C9DC5
    for byte in key:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    signed = value - (1 << 32) if value >> 31 else value
    return abs(signed) % partitions  # Go's remainder has the sign of the number


OTHERS: Mapping[str, Place] = {
    "CRC32, which librdkafka's clients use by themselves: set partitioner=murmur2_random": (
        lambda key, partitions: crc32(key) % partitions
    ),
    "FNV-1a, which sarama uses by itself: give it a murmur2 partitioner": _fnv1a,
    "murmur2 without Java's mask, which @platformatic/kafka uses by itself: give it compatibilityPartitioner": (
        lambda key, partitions: murmur2(key) % partitions
    ),
}
"""Which function put a record on its partition, where it was not murmur2: what to say → the partition by it."""


class Seen(NamedTuple):
    """A record as it was read back. The timestamp is the record's, in UTC milliseconds."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class Finding(NamedTuple):
    """One fault of one producer: how often, and where first. `source` is empty where the value does not tell."""

    fault: str
    source: str
    records: int
    partition: int
    offset: int
    sentence: str


class Check:
    """The faults among the records of a topic that are shown to it, in their order."""

    def __init__(self, topic: Topic, partitions: int) -> None:
        self._topic, self._partitions = topic, partitions
        self._found: dict[tuple[str, str], Finding] = {}
        self._ids: dict[tuple[int, str], bytes] = {}
        self._placed: dict[str, set[str]] = {}  # source → what puts all of its records where they are
        self.sources: Counter[str] = Counter()  # source → its records; empty where the value does not tell

    def look(self, seen: Seen) -> None:
        """Take a record."""
        tree = object_of(seen.value)
        named = tree.get("source")
        source = named if isinstance(named, str) else ""
        self.sources[source] += 1
        for fault, sentence in self._faults(seen, tree, source):
            old = self._found.get((fault, source))
            first = Finding(fault, source, 0, seen.partition, seen.offset, sentence) if old is None else old
            self._found[fault, source] = first._replace(records=first.records + 1)

    def findings(self) -> list[Finding]:
        """What was found, by producer, the most frequent fault first."""
        told = [
            one._replace(sentence=self._partitioner(one.source)) if one.fault == PARTITIONER else one
            for one in self._found.values()
        ]
        return sorted(told, key=lambda one: (one.source, -one.records, one.fault))

    def _faults(self, seen: Seen, tree: Mapping[str, Any], source: str) -> Iterator[tuple[str, str]]:
        verdict = JUDGES[self._topic.name](seen.value)
        if isinstance(verdict, Rejected):
            yield verdict.reason, verdict.error
        data = tree.get("data")
        fields = data if isinstance(data, dict) else {}
        cost = fields.get("cost_usd")
        if isinstance(cost, Decimal) and cost.is_finite() and _decimals(cost) > DECIMALS:
            yield FLOAT, ADVICE[FLOAT]
        yield from self._place(seen, tree.get(self._topic.key) or fields.get(self._topic.key), source)
        yield from self._clock(seen, parse_ms(str(tree.get("timestamp"))))
        yield from self._id(seen, tree.get("id"))

    def _place(self, seen: Seen, wanted: object, source: str) -> Iterator[tuple[str, str]]:
        key = seen.key or b""
        if isinstance(wanted, str) and key != wanted.encode(errors="replace"):
            yield KEY, f"{ADVICE[KEY]}, {self._topic.key}"
        if seen.partition != partition_for(key, self._partitions):
            yield PARTITIONER, ""
        fits = {name for name, place in OTHERS.items() if place(key, self._partitions) == seen.partition}
        self._placed[source] = self._placed.get(source, fits) & fits

    def _partitioner(self, source: str) -> str:
        known = sorted(self._placed[source])
        guess = f"it is {known[0]}" if len(known) == 1 else "set the producer's partitioner to murmur2"
        return f"the record is not on the partition that murmur2 gives its key; {guess}"

    def _clock(self, seen: Seen, at_ms: int | None) -> Iterator[tuple[str, str]]:
        if seen.timestamp_ms <= 0:
            yield Reason.RECORD_TIMESTAMP_MISSING, "the record has no timestamp"
        elif at_ms is not None and at_ms - seen.timestamp_ms > AHEAD_MS:
            yield AHEAD, ADVICE[AHEAD]
        elif at_ms is not None and seen.timestamp_ms - at_ms > BEHIND_MS:
            yield BEHIND, ADVICE[BEHIND]

    def _id(self, seen: Seen, name: object) -> Iterator[tuple[str, str]]:
        if not isinstance(name, str) or seen.value is None:
            return
        digest = blake2b(seen.value, digest_size=16).digest()
        known = self._ids.setdefault((seen.partition, name), digest)
        if known is not digest:
            fault = TWICE if known == digest else REUSED
            yield fault, ADVICE[fault]


def _decimals(number: Decimal) -> int:
    """How many decimals the number has by value. By its digits: a context rounds, and has an end of exponents."""
    _, digits, exponent = number.as_tuple()
    last = next((place for place, digit in enumerate(reversed(digits)) if digit), None)
    return 0 if last is None or not isinstance(exponent, int) else -exponent - last
