"""How the independent check reads `dead_letter`: which records were refused, by whom, why, and with which bytes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any, NamedTuple

from streamapp.kafka.log.reader import Record
from streamapp.verify.report import Report
from streamapp.verify.usage import Poison, parse, plausible


class Letter(NamedTuple):
    """One refusal of one record by one group."""

    where: str
    group: str
    reason: str
    key: bytes | None
    value: bytes | None
    truncated: bool


Letters = dict[tuple[int, int], list[Letter]]
"""(source partition, source offset) → its letters."""


def gather(records: Iterable[Record], topic: str, report: Report) -> Letters:
    """The letters about `topic`. What cannot be read, and what one group wrote twice, goes into the report."""
    letters: Letters = {}
    for record in records:
        where = f"{record.topic}[{record.partition}]@{record.offset}"
        event = parse(record.value or b"")
        data = None if isinstance(event, Poison) else event.get("data")
        if isinstance(event, Poison) or not isinstance(data, dict) or event.get("type") != "stream.event.rejected":
            report.wrong.add(where, "is not a dead letter that can be read")
            continue
        if data.get("source_topic") != topic or data.get("source_offset") is None:
            continue  # about another topic, or refused at the door before it had an offset
        _gather_one(where, data, letters, report)
    return letters


def _gather_one(where: str, data: dict[str, Any], letters: Letters, report: Report) -> None:
    at = (data.get("source_partition"), data["source_offset"])
    try:
        key, value = _bytes(data.get("key_b64")), _bytes(data.get("value_b64"))
    except (TypeError, ValueError, binascii.Error):
        report.wrong.add(where, "key_b64 or value_b64 is not base64")
        return
    group, reason = data.get("group"), data.get("reason")
    if not (isinstance(at[0], int) and isinstance(at[1], int) and isinstance(group, str) and isinstance(reason, str)):
        report.wrong.add(where, "lacks source_partition, source_offset, group or reason")
        return
    report.letters += 1
    same = letters.setdefault((at[0], at[1]), [])
    if any(letter.group == group for letter in same):
        report.doubled.add(where, f"second letter of {group} about partition {at[0]}, offset {at[1]}")
    same.append(Letter(where, group, reason, key, value, data.get("truncated") is True))


def check(letters: list[Letter], record: Record, conflicting: bool | None, report: Report) -> None:
    """Whether the letters carry the record's own bytes and a reason that can be true.

    `conflicting`: the record's id was accepted before with other bytes; None when that cannot be known any more.
    """
    for letter in letters:
        same = (
            (record.value or b"").startswith(letter.value or b"") and (record.key or b"").startswith(letter.key or b"")
            if letter.truncated
            else (letter.key, letter.value) == (record.key, record.value)
        )
        if not same:
            report.wrong.add(
                letter.where, f"does not carry the bytes of {record.topic}[{record.partition}]@{record.offset}"
            )
        elif letter.reason == "conflicting_duplicate":
            if conflicting is False:
                report.wrong.add(letter.where, "the id was not accepted before with other bytes")
        elif not plausible(letter.reason, record):
            report.wrong.add(letter.where, f"the record is not refusable as {letter.reason}")


def _bytes(text: object) -> bytes | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise TypeError
    return base64.b64decode(text, validate=True)
