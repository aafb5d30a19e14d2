"""Dead letters by hand, and an in-memory twin of what the pages read them from."""

from __future__ import annotations

from typing import Any

from streamapp.dead_letters.done import Done, Receipt
from streamapp.dead_letters.read import Coordinates, Letter, parse
from streamapp.dead_letters.recent import Letters, Recent, entry
from streamapp.kafka.log.reader import Record
from streamapp.schemas.judging.letter import Refused
from streamapp.schemas.judging.letter import letter as written

NOW_MS = 1_737_110_537_000  # 2025-01-17T10:42:17Z
GOOD = (
    b'{"schema":"hanzo.stream.v1","id":"evt_1","type":"llm.usage.completed","source":"gateway",'
    b'"timestamp":"2025-01-17T10:00:00Z","team_id":"team_a","org_id":"org_a","data":{"provider":"p","model":"m",'
    b'"prompt_tokens":10,"completion_tokens":5,"cost_usd":0.00380000000000000001,"total_tokens":15}}'
)


def record(at: int = 0, now_ms: int = NOW_MS, **facts: Any) -> Record:
    """A record of `dead_letter`: `facts` as of `Refused`."""
    given: dict[str, Any] = {
        "topic": "llm_usage",
        "partition": 3,
        "offset": 1000 + at,
        "group": "billing-agg",
        "reason": "tokens_mismatch",
        "error": "data.total_tokens is 99, not 15",
        "key": b"team_a",
        "value": GOOD,
        "timestamp_ms": now_ms,
        **facts,
    }
    made = written(Refused(**given), now_ms)
    return Record("dead_letter", 0, at, now_ms, made.key, made.value)


def letter(at: int = 0, now_ms: int = NOW_MS, **facts: Any) -> Letter:
    """The same, read."""
    read = parse(record(at, now_ms, **facts))
    assert isinstance(read, Letter)
    return read


class FakeLetters(Letters):
    """What `RecentLetters` answers, from a list; newest last."""

    def __init__(self, letters: list[Letter], receipts: list[Receipt] | None = None, before: int = 0) -> None:
        self.letters, self.receipts, self.before = letters, receipts or [], before
        self.unreadable = 0
        self.failure: Exception | None = None

    async def recent(self) -> Recent:
        if self.failure is not None:
            raise self.failure
        done = Done()
        for receipt in self.receipts:
            done.add(receipt)
        entries = tuple(entry(one) for one in reversed(self.letters))
        return Recent(entries, done, self.before + len(entries) + self.unreadable, self.unreadable)

    async def whole(self, at: Coordinates) -> Letter | None:
        return next((one for one in self.letters if one.at == at), None)
