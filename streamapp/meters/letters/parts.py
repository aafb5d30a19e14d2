"""The table of dead letters: outcomes become rows, and what people must be told.

A notice's way, and what a failure costs at each step:

    1  a chunk or a tick finds it; it is in the cause's row, with the destinations it is owed to
    2  the row is committed                 before: nothing happened, the chunk is folded again
    3  the courier carries it               a crash: the next owner reads the row and carries it again
    4  a later chunk or tick writes down    a crash before: it is carried again; its incident is the same, so
       that it has arrived                  a pager shows one incident
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from streamapp.exact.partition.task import Opening, Parts, TableTask
from streamapp.meters.letters import codec
from streamapp.meters.letters.courier import Courier, Receipt
from streamapp.meters.letters.letter_facts import letter_facts
from streamapp.notices.alerts import Notice
from streamapp.store.ids import ids_key
from streamapp.store.rows import Store, Writes
from tables.cause import Cause
from tables.letters.fold import LIMITS, Letters, LettersOutcome, Limits, Told
from tables.letters.incident import Alert, AlertRules
from tables.outcome import Position


class ToldLetters:
    """The dead letters of a partition, and the courier that tells people of them."""

    def __init__(self, letters: Letters, courier: Courier, link: str | None) -> None:
        self.letters = letters
        self.courier = courier
        self.told: Counter[tuple[str, str]] = Counter()  # destination, outcome: written down since the takeover
        self._link = link
        self._receipts: list[list[Receipt]] = []  # of each chunk that has not committed yet
        for cause, alert in letters.owed():
            self._offer(cause, alert)

    @property
    def position(self) -> Position:
        return self.letters.position

    def apply(self, records: Sequence[Any], now_ms: int) -> LettersOutcome:
        """Count consecutive dead letters, and note who was told."""
        return self.letters.apply(records, self._arrived(), now_ms)

    def idle(self, now_ms: int) -> LettersOutcome:
        """What has arrived, and what the clock finds quiet."""
        return self.letters.tick(self._arrived(), now_ms)

    def idle_due(self, now_ms: int) -> bool:
        return self.courier.done or self.letters.due(now_ms)

    def committed(self, outcome: LettersOutcome) -> None:
        """Carry what the chunk has found."""
        self.told.update((receipt.destination, receipt.outcome) for receipt in self._receipts.pop(0))
        for cause, alert in outcome.due:
            self._offer(cause, alert)

    async def close(self) -> None:
        await self.courier.close()

    def _arrived(self) -> list[Told]:
        receipts = self.courier.take()
        self._receipts.append(receipts)
        return list(map(_told, receipts))

    def _offer(self, cause: Cause, alert: Alert) -> None:
        incident = f"{cause.id}-{alert.number}"
        times = alert.at_ms, alert.due_ms, alert.letters
        link = None if self._link is None else f"{self._link}?cause={cause.id}"
        self.courier.offer(Notice(incident, alert.kind, *times, *cause, link), alert.owed)


LettersTask = TableTask[ToldLetters, LettersOutcome]


def letters_parts(
    rules: AlertRules, courier: Callable[[], Courier], link: str | None, limits: Limits = LIMITS
) -> Parts[ToldLetters, LettersOutcome]:
    """A partition of dead letters. Each has a courier of its own."""

    def memory(at: Opening) -> ToldLetters:
        letters = Letters(rules, letter_facts, at.position, limits)
        _restore(letters, at.rows.store)
        return ToldLetters(letters, courier(), link)

    # Its ids are its own (`tables/letters/fold.py`).
    return Parts(memory, changed, remembers=False, after=ToldLetters.committed, close=ToldLetters.close)


def changed(outcome: LettersOutcome) -> Writes:
    """Causes, windows, tallies and ids."""
    writes: Writes = {}
    for name, row in outcome.causes.items():
        writes[codec.cause_key(name)] = None if row is None else codec.pack_cause(row)
    for window, count in outcome.windows.items():
        writes[codec.window_key(window)] = None if count is None else codec.pack_count(count)
    for tally, count in outcome.tallies.items():
        writes[codec.tally_key(tally)] = codec.pack_count(count)
    if outcome.digests:
        writes[ids_key(outcome.chunk)] = codec.pack_ids(outcome.chunk, outcome.digests)
    return writes


def _restore(letters: Letters, store: Store) -> None:
    letters.restore(
        (codec.unpack_cause(value) for _, value in store.scan(b"k", b"l")),
        ((codec.unpack_window_key(key), codec.unpack_count(value)) for key, value in store.scan(b"w", b"x")),
        ((codec.unpack_tally_key(key), codec.unpack_count(value)) for key, value in store.scan(b"t", b"u")),
        (codec.unpack_ids(key, value) for key, value in store.scan(b"i", b"j")),
    )


def _told(receipt: Receipt) -> Told:
    cause, _, number = receipt.incident.rpartition("-")
    return Told(cause, int(number), receipt.kind, receipt.destination)
