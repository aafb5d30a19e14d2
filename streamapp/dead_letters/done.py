"""What was done about dead letters: a receipt for each that was sent again or dropped, for all who look.

Receipts are the rows of an internal topic, by the letter's id. A receipt of a redrive is written in the transaction
that sends the record, so that neither is there without the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from streamapp.dead_letters.read import Coordinates, Letter
from streamapp.kafka.log.reader import Span, read, spans
from streamapp.kafka.produce.transacted import Outgoing
from streamapp.topics.registry import changelog

DONE_TOPIC = changelog("dead-letter-monitor", "letters_done")

State = Literal["waiting", "redriven", "dropped"]


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was done about a dead letter, when, and where its record went."""

    letter: str
    state: Literal["redriven", "dropped"]
    at_ms: int
    record: Coordinates | None = None  # what the dead letter is about
    sent: Coordinates | None = None  # where the record stands now
    attempt: int = 0  # of the dead letter
    changed: tuple[str, ...] = ()  # what was changed before it was sent
    reason: str = ""  # why it was dropped
    run: str = ""  # the run that sent it, as its file of receipts names it


_decode = msgspec.json.Decoder(Receipt).decode


@dataclass
class Done:
    """Every receipt there is."""

    by_letter: dict[str, Receipt] = field(default_factory=dict)
    by_record: dict[Coordinates, Receipt] = field(default_factory=dict)

    def add(self, receipt: Receipt) -> None:
        self.by_letter[receipt.letter] = receipt
        if receipt.record is not None and receipt.state == "redriven":
            self.by_record[receipt.record] = receipt

    def state(self, letter: Letter) -> State:
        """What became of a letter."""
        receipt = self.by_letter.get(letter.id)
        return "waiting" if receipt is None else receipt.state

    def sent_already(self, letter: Letter) -> Receipt | None:
        """The redrive of this dead letter, or of another one about the same record."""
        receipt = self.by_letter.get(letter.id)
        if receipt is not None and receipt.state == "redriven":
            return receipt
        return None if letter.record is None else self.by_record.get(letter.record)


def row(receipt: Receipt) -> Outgoing:
    """The receipt as a record of its topic."""
    return Outgoing(DONE_TOPIC, 0, receipt.letter.encode(), msgspec.json.encode(receipt))


def tombstone(letter_id: str) -> Outgoing:
    """Takes a receipt back."""
    return Outgoing(DONE_TOPIC, 0, letter_id.encode(), None)


class Rows:
    """The topic's rows, read once and then only what is new."""

    def __init__(self) -> None:
        self._rows: dict[bytes, Receipt] = {}
        self._next = 0

    def refresh(self, config: Mapping[str, Any], there: Span) -> None:
        """Read up to the end of `there`, what the topic holds now. Raises `Unavailable` or `Misconfigured`."""
        if there.end < self._next:  # the topic was made again
            self._rows, self._next = {}, 0
        for record in read(config, DONE_TOPIC, {0: Span(max(self._next, there.start), there.end)}):
            key = record.key or b""
            if record.value is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = _decode(record.value)
        self._next = there.end

    def done(self) -> Done:
        """What was done, as of the last refresh."""
        done = Done()
        for receipt in self._rows.values():
            done.add(receipt)
        return done


def read_done(config: Mapping[str, Any]) -> Done:
    """Every committed receipt. Raises `Unavailable` or `Misconfigured`."""
    rows = Rows()
    rows.refresh(config, spans(config, DONE_TOPIC)[0])
    return rows.done()
