"""The latency table as the task of a partition: outcomes become rows. It sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from streamapp.exact.chunk import Transaction
from streamapp.exact.place import Place, Producer
from streamapp.lane.ids import CompactSeen
from streamapp.meters.latency import codec
from streamapp.meters.latency.lane import CompiledTally
from streamapp.meters.usage.codec import ids_key, pack_ids
from streamapp.meters.usage.store import remembered
from streamapp.store.position import POSITION_KEY, StoredPosition, pack_position, secret_of
from streamapp.store.rows import Overlay, Store, Writes
from tables.door import Door
from tables.latency import LIMITS, Latency, Limits
from tables.latency_windows import LatencyOutcome, WindowKey
from tables.outcome import Position
from tables.tally import Tally
from tables.window import Rules


class WindowOverlay(Overlay):
    """The table's windows, with those that are on their way to the store."""

    def window(self, key: WindowKey) -> Tally | None:
        value = self.get(codec.window_key(key))
        return None if value is None else codec.unpack_tally(value)

    def windows_between(self, span: str, start_ms: int, stop_ms: int) -> Iterable[bytes]:
        return self.scan(codec.window_prefix(span, start_ms), codec.window_prefix(span, stop_ms))


class LatencyTask:
    """Counts usage and says what must be written. Rebuilt from the store at every takeover."""

    def __init__(
        self,
        place: Place,
        store: Store,
        producer: Producer,
        position: StoredPosition | None,
        rules: Rules,
        door: Door,
        limits: Limits = LIMITS,
    ) -> None:
        self.place = place
        self.store = store
        self.producer = producer
        self.active_ms = 0 if position is None else position.active_ms
        self.landed: Callable[[LatencyOutcome], None] = lambda outcome: None  # told of each chunk that has committed
        self.duplicates = self.rejected = 0  # since the takeover
        self._rows = WindowOverlay(store)
        self._folded: list[LatencyOutcome] = []
        start = Position() if position is None else position.position()
        seen = CompactSeen(secret_of(position, place.entropy), place.folder)
        lane = CompiledTally(seen, place.partition, place.partitions, rules.future_ms)
        self.latency = Latency(rules, door, self._rows, start, seen, lane, limits)
        frequent = store.get(codec.FREQUENT_KEY)
        self.latency.restore(
            ((codec.unpack_total_key(key), codec.unpack_tally(value)) for key, value in store.scan(b"t", b"u")),
            ((key[1:].decode(), codec.unpack_count(value)) for key, value in store.scan(b"r", b"s")),
            ((codec.unpack_name_key(key), codec.unpack_count(value)) for key, value in store.scan(b"n", b"o")),
            () if frequent is None else codec.unpack_frequent(frequent).items(),
            remembered(store),
        )

    def fold(self, records: Sequence[Any], now_ms: int) -> Transaction:
        """One chunk of usage."""
        self.active_ms = now_ms
        outcome = self.latency.apply(records)
        self._folded.append(outcome)
        next_offset = records[-1].offset + 1
        if outcome.skipped == len(records):
            return Transaction({}, (), next_offset)
        writes = self._written(outcome)
        self._rows.push(writes)
        return Transaction(writes, (), next_offset)

    def tick(self, now_ms: int) -> Transaction | None:
        """Nothing here is due by the wall clock."""
        return None

    def tick_due(self, now_ms: int) -> bool:
        return False

    async def commit(self, transaction: Transaction) -> None:
        checkpoint = await self.producer.commit(transaction)
        outcome = self._folded.pop(0)
        if checkpoint is not None:  # only now: the store is never ahead of the changelog
            self._rows.land(checkpoint)
        self.duplicates += outcome.duplicates
        self.rejected += len(outcome.refusals)
        self.landed(outcome)

    def stop_waiting(self) -> None:
        pass  # commits wait for nobody else

    async def close(self) -> None:
        await self.producer.stop()
        self.store.close()

    def _written(self, outcome: LatencyOutcome) -> Writes:
        """What the chunk changed, as bytes, now: the next chunk's fold goes on changing the rows."""
        writes: Writes = dict.fromkeys(outcome.gone)
        for key, tally in outcome.windows.items():
            writes[codec.window_key(key)] = None if tally is None else codec.pack_tally(tally)
        for series, tally in outcome.totals.items():
            writes[codec.total_key(series)] = None if tally is None else codec.pack_tally(tally)
        for name, earned in outcome.places.items():
            writes[codec.name_key(name)] = None if earned is None else codec.pack_count(earned)
        if outcome.candidates is not None:
            writes[codec.FREQUENT_KEY] = codec.pack_frequent(outcome.candidates)
        for reason, count in outcome.passed_over.items():
            writes[codec.refused_key(reason)] = codec.pack_count(count)
        if outcome.ids:
            writes[ids_key(outcome.chunk)] = pack_ids(outcome.ids)
        for chunk in outcome.old_ids:
            writes[ids_key(chunk)] = None
        writes[POSITION_KEY] = pack_position(self._position())
        return writes

    def _position(self) -> StoredPosition:
        at, place = self.latency.position, self.place
        return StoredPosition(
            at.next_offset,
            at.watermark_ms,
            at.expired_ms,
            place.topic_id,
            place.partitions,
            self.active_ms,
            secret=self.latency.seen.secret,
        )
