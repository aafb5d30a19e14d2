"""Dead letters for tests, and the table of one partition on a store that can be killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from memory_store import MemoryStore

from streamapp.exact.partition.chunk import Transaction
from streamapp.exact.partition.place import Place
from streamapp.meters.letters.courier import Courier, Patience, Receipt
from streamapp.meters.letters.parts import LettersTask, letters_parts
from streamapp.notices.alerts import Notice
from streamapp.schemas.judging.letter import Refused, letter
from streamapp.store.rows import Store, always_settled, stored_position
from tables.letters.fold import Limits
from tables.letters.incident import AlertRules
from tables.window import MINUTE_MS

NOON = 1_736_942_400_000  # 2025-01-15T12:00:00Z
RULES = AlertRules(
    threshold=3, at_once=frozenset({"conflicting_duplicate"}), quiet_ms=10 * MINUTE_MS, destinations=("log", "pager")
)


@dataclass(frozen=True)
class Rec:
    """A record of the log."""

    offset: int
    timestamp: int
    value: bytes | None
    key: bytes | None = None
    headers: tuple[Any, ...] = ()


def refusal(number: int, reason: str = "too_late", error: str = "it is 7 days old", topic: str = "llm_usage") -> bytes:
    """The dead letter about record `number` of a topic."""
    refused = Refused(
        topic=topic, partition=0, offset=number, group="billing-agg", reason=reason, error=error, key=None,
        value=b"{}", timestamp_ms=NOON,
    )  # fmt: skip
    return letter(refused, NOON).value


class CourierInHand(Courier):
    """A courier that brings nothing by itself: tests do."""

    def __init__(self) -> None:
        super().__init__((), Patience(1, 0), lambda: 0, lambda: 0.0)
        self.offered: list[tuple[Notice, tuple[str, ...]]] = []
        self.receipts: list[Receipt] = []

    @property
    def done(self) -> bool:
        return bool(self.receipts)

    def offer(self, notice: Notice, owed: tuple[str, ...]) -> None:
        self.offered.append((notice, owed))

    def take(self) -> list[Receipt]:
        taken, self.receipts = self.receipts, []
        return taken

    async def close(self) -> None:
        pass

    def bring(self, *names: str) -> None:
        """Everything offered arrives at these destinations."""
        for notice, owed in self.offered:
            self.receipts += [
                Receipt(notice.incident, notice.kind, name, "delivered") for name in owed if name in names
            ]
        self.offered = []

    def heard(self) -> list[tuple[str, int]]:
        """Kind and dead letters of what was offered."""
        return [(notice.kind, notice.letters) for notice, _ in self.offered]


class NowProducer:
    """Commits at once."""

    def __init__(self, end: int) -> None:
        self.end = end
        self.offset: int | None = None

    async def commit(self, transaction: Transaction) -> int | None:
        self.end += len(transaction.writes) + 1
        self.offset = transaction.next_offset
        return self.end if transaction.writes else None

    async def stop(self) -> None:
        pass


@dataclass
class Monitor:
    """One partition's dead letters. `restart` forgets what is in memory."""

    rules: AlertRules = RULES
    store: Store = field(default_factory=lambda: MemoryStore(always_settled))
    limits: Limits = field(default_factory=Limits)
    link: str | None = None
    end: int = 0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new process on the same store."""
        self.courier = CourierInHand()
        self.producer = NowProducer(self.store.checkpoint())
        place = Place("dead-letter-monitor", "dead_letter", 0, "topic-id", 1, {})
        position = stored_position(self.store)
        parts = letters_parts(self.rules, lambda: self.courier, self.link, self.limits)
        self.task = LettersTask(parts, place, self.store, self.producer, position)

    def read(self, *letters: bytes | None, at: float = 0.0) -> None:
        """Dead letters whose records are `at` minutes after noon, as one chunk."""
        records = [Rec(self.end + n, NOON + int(at * MINUTE_MS), value) for n, value in enumerate(letters)]
        self.end += len(records)
        self.apply(records)

    def apply(self, records: Sequence[Rec]) -> None:
        """A chunk as it stands."""
        run(self.task.commit(self.task.fold(records, records[-1].timestamp)))

    def tick(self, at: float) -> bool:
        """The clock's turn, `at` minutes after noon. Whether there was anything."""
        transaction = self.task.tick(NOON + int(at * MINUTE_MS))
        if transaction is not None:
            run(self.task.commit(transaction))
        return transaction is not None

    def counts(self) -> dict[str, int]:
        """Reason → dead letters, ever."""
        return {reason: count for (_, _, reason), count in self.task.memory.letters.tallies.items()}


def run(coroutine: Any) -> None:
    """Run what never really waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")
