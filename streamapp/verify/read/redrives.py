"""How a check reads records that were sent again: the record of each dead letter is in the log once.

It counts like any other record, so the check of bills expects it there once. Here is the rest: that every receipt
is true, and that no dead letter was sent twice as two different events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from streamapp.kafka.log.reader import Record
from streamapp.verify.read.event import Poison, at, parse
from streamapp.verify.report import BillsReport

LETTER_HEADER = "hanzo-letter"
RECEIPTS_TOPIC = "dead-letter-monitor-letters_done-changelog"


class _Sent(NamedTuple):
    """A record that says which dead letter it was sent again for."""

    where: str
    at: tuple[str, int, int]
    event: object  # its id, or its bytes when it has none


class Redrives:
    """Watches the usage log go by, then compares it with the receipts."""

    def __init__(self) -> None:
        self._sent: dict[str, list[_Sent]] = {}

    def watch(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records; those that were sent again are remembered. They must come with their headers."""
        for record in records:
            for name, content in record.headers:
                if name == LETTER_HEADER and content is not None:
                    sent = _Sent(at(record), (record.topic, record.partition, record.offset), _event(record))
                    self._sent.setdefault(content.decode(errors="replace"), []).append(sent)
            yield record

    def check(
        self, receipts: Iterable[Record], topic: str, start: Callable[[str, int], int], report: BillsReport
    ) -> None:
        """Compare with the receipts about `topic`. `start`: (topic, partition) → where its log begins."""
        report.numbers["redriven"] = len(self._sent)
        for letter, (first, *others) in self._sent.items():
            for other in others:
                if other.event != first.event or other.at[1] != first.at[1]:
                    report.doubled.add(other.where, f"dead letter {letter} was sent again twice, as different events")
        newest: dict[bytes, bytes | None] = {record.key or b"": record.value for record in receipts}
        for value in newest.values():
            receipt: Any = {} if value is None else msgspec.json.decode(value)
            if not isinstance(receipt, dict) or receipt.get("state") != "redriven":
                continue
            sent, letter = tuple(receipt.get("sent") or ()), receipt["letter"]
            if len(sent) != 3 or sent[0] != topic:
                continue
            in_log = any(sent == one.at for one in self._sent.get(letter, ()))
            if not in_log and sent[2] >= start(topic, sent[1]):
                where = f"{topic}[{sent[1]}]@{sent[2]}"
                report.lost.add(where, f"dead letter {letter} was sent again to here; it is not in the log")


def _event(record: Record) -> object:
    event = parse(record.value)
    return record.value if isinstance(event, Poison) or "id" not in event else event["id"]
