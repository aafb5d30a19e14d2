"""When records were written, found without reading any: by asking which offset the first record of a timestamp has.

Pure: questions come out, answers go in (`kafka.groups.Dating`). Kafka answers to whoever may DESCRIBE the topic.

For an offset x, the first record with a timestamp of t or later lies at or before x exactly while t is not above the
highest timestamp up to x. So that timestamp is between two questions, and each round halves what is between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from streamapp.kafka.groups import Target
from streamapp.kafka.partitions import Partition

EXACT_MS = 1000  # a date may be so much too early
STRIDE = 4  # the search goes back from now in strides that grow so fast


@dataclass(slots=True)
class _Search:
    """One offset's timestamp is at least `low` and below `high`. `low` None: not known yet, `stride` goes back."""

    offset: int
    low: int | None
    high: int
    stride: int = EXACT_MS
    at: int = 0
    done: bool = False

    def ask(self) -> int:
        back = self.high - self.stride
        self.at = max(0, back) if self.low is None or back > self.low else (self.low + self.high) // 2
        self.stride *= STRIDE
        return self.at

    def told(self, offset: int, timestamp: int) -> None:
        if offset == self.offset:
            self.low, self.done = timestamp, True
        elif 0 <= offset < self.offset:
            self.low, self.stride = max(self.at, timestamp), self.high  # from here on it halves
        elif self.at == 0:  # no record up to there has a timestamp: that of the first one behind
            self.low, self.done = (timestamp if offset >= 0 else None), True
        else:
            self.high = self.at
        if self.low is not None and self.high - self.low <= EXACT_MS:
            self.done = True


class Dates:
    """Timestamps of the records at `wanted` (where one is gone: of the next or the one before). `known`: an offset at
    or before the wanted one, and its timestamp, from an earlier look."""

    def __init__(
        self, wanted: Mapping[Target, int], now_ms: int, known: Mapping[Target, tuple[int, int]] | None = None
    ) -> None:
        self._found: dict[Target, int] = {}
        self._searches: dict[Target, _Search] = {}
        for target, offset in wanted.items():
            before = (known or {}).get(target)
            if before is not None and before[0] == offset:
                self._found[target] = before[1]
            else:
                low = before[1] if before is not None and before[0] < offset else None
                self._searches[target] = _Search(offset, low, now_ms)
        self._asked: list[dict[Partition, Target]] = []

    def asks(self) -> Sequence[Mapping[Partition, int]]:
        """A question for each group: Kafka takes a partition once in a request."""
        by_group: dict[str, dict[Partition, Target]] = {}
        for group, partition in self._searches:
            by_group.setdefault(group, {})[partition] = group, partition
        self._asked = list(by_group.values())
        return [{at: self._searches[target].ask() for at, target in asked.items()} for asked in self._asked]

    def told(self, answers: Sequence[Mapping[Partition, tuple[int, int]]]) -> None:
        for asked, answer in zip(self._asked, answers, strict=True):
            for partition, target in asked.items():
                self._told(target, answer.get(partition))

    def _told(self, target: Target, answer: tuple[int, int] | None) -> None:
        search = self._searches[target]
        if answer is not None:
            search.told(*answer)
        if answer is None or search.done:
            del self._searches[target]
            if answer is not None and search.low is not None:
                self._found[target] = search.low

    def found(self) -> Mapping[Target, int]:
        """What was found; a target that is not there has no timestamp, or Kafka did not say."""
        return self._found
