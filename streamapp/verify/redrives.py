"""What the independent check knows of records that were sent again: each letter's record stands in the log once.

It counts like any other record, so the check of bills expects it there once. Here is the rest: that every receipt
tells the truth, and that no letter was sent twice as two different events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from streamapp.kafka.log.reader import Record
from streamapp.verify.report import Report
from streamapp.verify.usage import Poison, parse

LETTER_HEADER = "hanzo-letter"
RECEIPTS_TOPIC = "dead-letter-monitor-letters_done-changelog"


class _Sent(NamedTuple):
    """A record that says which letter it was sent again for."""

    where: tuple[str, int, int]
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
                    letter = content.decode(errors="replace")
                    where = (record.topic, record.partition, record.offset)
                    self._sent.setdefault(letter, []).append(_Sent(where, _event(record)))
            yield record

    def check(
        self, receipts: Iterable[Record], topic: str, starts: Mapping[tuple[str, int], int], report: Report
    ) -> None:
        """Compare with the receipts about `topic`. `starts`: where retention has moved the log's start to."""
        report.redriven = len(self._sent)
        for letter, sent in self._sent.items():
            for other in sent[1:]:
                if other.event != sent[0].event or other.where[1] != sent[0].where[1]:
                    report.doubled.add(_at(other.where), f"letter {letter} was sent again twice, as different events")
        newest: dict[bytes, bytes | None] = {record.key or b"": record.value for record in receipts}
        for value in newest.values():
            receipt = {} if value is None else _read(value)
            where = tuple(receipt.get("sent") or ())
            if receipt.get("state") != "redriven" or len(where) != 3 or where[0] != topic:
                continue
            in_log = any(where == sent.where for sent in self._sent.get(receipt["letter"], ()))
            if not in_log and where[2] >= starts.get((topic, where[1]), 0):
                report.lost.add(_at(where), f"letter {receipt['letter']} was sent again to here; it is not in the log")


def _event(record: Record) -> object:
    event = parse(record.value or b"")
    return record.value if isinstance(event, Poison) or "id" not in event else event["id"]


def _read(value: bytes) -> dict[str, Any]:
    receipt = msgspec.json.decode(value)
    return receipt if isinstance(receipt, dict) else {}


def _at(where: tuple[Any, ...]) -> str:
    return f"{where[0]}[{where[1]}]@{where[2]}"
