"""The letters table as the task of a partition: letters become rows, and what people must be told.

A notice's way, and what a failure costs at each step:

    1  a chunk or a tick finds it; it is in the cause's row, with the destinations it is owed to
    2  the row is committed                 before: nothing happened, the chunk is folded again
    3  the courier carries it               a crash: the next owner reads the row and carries it again
    4  a later chunk or tick writes down    a crash before: it is carried again; its incident is the same, so
       that it has arrived                  a pager shows one incident
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from streamapp.exact.chunk import Transaction
from streamapp.exact.place import Place, Producer
from streamapp.meters.letters import codec
from streamapp.meters.letters.courier import Carries, Receipt
from streamapp.meters.letters.letter_facts import letter_facts
from streamapp.sinks.notices.alerts import Notice
from streamapp.store.position import POSITION_KEY, StoredPosition, pack_position
from streamapp.store.rows import Overlay, Store, Writes
from tables.cause import Cause
from tables.incident import Alert, AlertRules
from tables.letters import LIMITS, Letters, LettersOutcome, Limits, Told


class LettersTask:
    """Counts letters and says what must be written and told. Rebuilt from the store at every takeover."""

    def __init__(
        self,
        place: Place,
        store: Store,
        producer: Producer,
        position: StoredPosition | None,
        rules: AlertRules,
        courier: Carries,
        link: str | None,
        limits: Limits = LIMITS,
    ) -> None:
        self.place = place
        self.store = store
        self.producer = producer
        self.courier = courier
        self.told: Counter[tuple[str, str]] = Counter()  # destination, outcome: written down since the takeover
        self.active_ms = 0 if position is None else position.active_ms
        self._rows = Overlay(store)
        self._link = link
        self._folded: list[tuple[LettersOutcome, list[Receipt]]] = []
        start, watermark_ms = (0, -1) if position is None else (position.next_offset, position.watermark_ms)
        self.letters = Letters(rules, letter_facts, start, watermark_ms, limits)
        self.letters.restore(
            (codec.unpack_cause(value) for _, value in store.scan(b"k", b"l")),
            ((codec.unpack_window_key(key), codec.unpack_count(value)) for key, value in store.scan(b"w", b"x")),
            ((codec.unpack_tally_key(key), codec.unpack_count(value)) for key, value in store.scan(b"t", b"u")),
            (codec.unpack_ids(key, value) for key, value in store.scan(b"i", b"j")),
        )
        for cause, alert in self.letters.owed():
            self._offer(cause, alert)

    def fold(self, records: Sequence[Any], now_ms: int) -> Transaction:
        """One chunk of letters."""
        self.active_ms = now_ms
        receipts = self.courier.take()
        outcome = self.letters.apply(records, map(_told, receipts), now_ms)
        return self._written(outcome, receipts, records[-1].offset + 1)

    def tick(self, now_ms: int) -> Transaction | None:
        """What has arrived, and what the clock finds quiet."""
        if not self.tick_due(now_ms):
            return None
        receipts = self.courier.take()
        return self._written(self.letters.tick(map(_told, receipts), now_ms), receipts, None)

    def tick_due(self, now_ms: int) -> bool:
        return self.courier.done or self.letters.due(now_ms)

    async def commit(self, transaction: Transaction) -> None:
        checkpoint = await self.producer.commit(transaction)
        outcome, receipts = self._folded.pop(0)
        if checkpoint is not None:  # only now: the store is never ahead of the changelog
            self._rows.land(checkpoint)
        self.told.update((receipt.destination, receipt.outcome) for receipt in receipts)
        for cause, alert in outcome.due:
            self._offer(cause, alert)

    def stop_waiting(self) -> None:
        pass  # commits wait for nobody else

    async def close(self) -> None:
        await self.courier.close()
        await self.producer.stop()
        self.store.close()

    def _offer(self, cause: Cause, alert: Alert) -> None:
        incident = f"{cause.id}-{alert.number}"
        times = alert.at_ms, alert.due_ms, alert.letters
        link = None if self._link is None else f"{self._link}?cause={cause.id}"
        self.courier.offer(Notice(incident, alert.kind, *times, *cause, link), alert.owed)

    def _written(self, outcome: LettersOutcome, receipts: list[Receipt], next_offset: int | None) -> Transaction:
        """What the chunk changed, as bytes, now: the next chunk's fold goes on changing the rows."""
        writes: Writes = {}
        for name, row in outcome.causes.items():
            writes[codec.cause_key(name)] = None if row is None else codec.pack_cause(row)
        for window, count in outcome.windows.items():
            writes[codec.window_key(window)] = None if count is None else codec.pack_count(count)
        for tally, count in outcome.tallies.items():
            writes[codec.tally_key(tally)] = codec.pack_count(count)
        if outcome.ids:
            writes[codec.ids_key(outcome.chunk)] = codec.pack_ids(outcome.chunk, outcome.ids)
        for chunk in outcome.old_ids:
            writes[codec.ids_key(chunk)] = None
        at, place = self.letters, self.place
        position = StoredPosition(at.next_offset, at.watermark_ms, -1, place.topic_id, place.partitions, self.active_ms)
        writes[POSITION_KEY] = pack_position(position)
        self._folded.append((outcome, receipts))
        self._rows.push(writes)
        return Transaction(writes, (), next_offset)


def _told(receipt: Receipt) -> Told:
    cause, _, number = receipt.incident.rpartition("-")
    return Told(cause, int(number), receipt.kind, receipt.destination)
